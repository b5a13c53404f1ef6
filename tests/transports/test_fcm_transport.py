from __future__ import annotations

import dataclasses
import json
import time

import pytest
import trio

from campaigns.message import Message
from campaigns.outcome import Death, Outcome
from transports import token_grants
from transports.access_token import AccessToken
from transports.contract import Quota, TransportSettings
from transports.errors import ConnectionLost
from transports.fcm import credentials
from transports.fcm.transport import build


class Google:
    """Token endpoint: what it answers is up to the test; what it was asked is kept."""

    def __init__(self):
        self.asked = 0
        self.answers = []

    async def post(self, url, form, ca, seconds, proxy=None):
        self.asked += 1
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        answer = self.answers.pop(0) if self.answers else (200, {"access_token": f"ya29.{self.asked}"})
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        await trio.lowlevel.checkpoint()
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def google(monkeypatch):
    google = Google()
    monkeypatch.setattr(token_grants, "post_form", google.post)
    return google


@pytest.fixture
def make_fcm(service_account, tmp_path, fast, peer):
    def make(**options):
        path = tmp_path / "account.json"
        path.write_text(json.dumps(service_account))
        settings = TransportSettings(
            channel="android-news",
            platform="fcm",
            app="news-1a2b3",
            credentials={"service_account": str(path)},
            origin=peer.origin,
            ca=peer.ca,
        )
        return build(settings, **fast, **options)

    return make


def refusal(status, code=None, message="", **headers):
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    body = {"error": {"code": status, "message": message, "status": "X", "details": details}}
    return status, headers, json.dumps(body).encode()


OK = (200, {}, b'{"name":"projects/news-1a2b3/messages/1"}')


async def test_every_registration_is_pushed_once_with_its_own_token(peer, google, make_fcm, make_batch, running):
    peer.answer = lambda seen: OK
    message = Message(title='"Flood"', body="⚠", url="https://example.com/flood", data={"story": "7"})
    tokens = [f'APA91b:"{index}\\' for index in range(300)]
    async with running(make_fcm()) as transport:
        outcomes = await transport.send(make_batch(tokens=tokens, message=message))
        fids = await transport.send(make_batch(tokens=["fid-1"], kind="fid"))
        odd = await transport.send(make_batch(tokens=["x"], kind="webpush"))
    assert outcomes.delivered == 300
    assert fids.delivered == 1
    assert odd.exceptions[0].outcome is Outcome.REJECTED
    bodies = [json.loads(seen.body)["message"] for seen in peer.seen]
    assert sorted(body["token"] for body in bodies[:300]) == sorted(tokens)
    assert bodies[300]["fid"] == "fid-1"
    assert bodies[0]["notification"] == {"title": '"Flood"', "body": "⚠"}
    assert bodies[0]["data"] == {"story": "7", "url": "https://example.com/flood"}
    assert bodies[0]["android"]["notification"]["tag"] == "aaaaaaaaaaaah"
    assert bodies[0]["android"]["priority"] == "HIGH"
    assert bodies[0]["android"]["ttl"] == "2419200s"
    headers = peer.seen[0].headers
    assert headers[":path"] == "/v1/projects/news-1a2b3/messages:send"
    assert headers["authorization"] == "Bearer ya29.1"
    assert headers["content-type"] == "application/json"
    assert google.asked == 1


async def test_a_dry_run_asks_google_to_judge_and_to_show_nothing(peer, google, make_fcm, make_batch, running):
    peer.answer = lambda seen: OK
    async with running(make_fcm()) as transport:
        outcomes = await transport.send(dataclasses.replace(make_batch(3), validate_only=True))
        assert outcomes.delivered == 3
        assert [json.loads(seen.body)["validate_only"] for seen in peer.seen] == [True] * 3
        await transport.send(make_batch(1))
        assert "validate_only" not in json.loads(peer.seen[-1].body)


async def test_a_refused_access_token_is_renewed_once_for_all(peer, google, make_fcm, make_batch, running):
    peer.answer = lambda seen: OK if seen.headers["authorization"] == "Bearer ya29.2" else refusal(401)
    async with running(make_fcm()) as transport, trio.open_nursery() as nursery:
        results = []
        for _ in range(3):
            nursery.start_soon(lambda: _collect(results, transport.send(make_batch(50))))
    assert [outcomes.delivered for outcomes in results] == [50, 50, 50]
    assert google.asked == 2


async def _collect(results, awaitable):
    results.append(await awaitable)


async def test_a_token_refused_again_after_renewal_pauses_the_channel(peer, google, make_fcm, make_batch, running):
    peer.answer = lambda seen: refusal(401)
    async with running(make_fcm()) as transport:
        outcomes = await transport.send(make_batch(10))
    assert outcomes.stop is not None
    assert "service account" in outcomes.stop
    assert {e.outcome for e in outcomes.exceptions} == {Outcome.POSTPONED}
    assert len(outcomes.exceptions) == 10


async def test_the_token_is_there_before_the_first_batch(google, make_fcm, running, until):
    async with running(make_fcm()) as transport:
        await until(lambda: transport.token.value == b"Bearer ya29.1")
    assert google.asked == 1


@pytest.mark.parametrize(("lifetime", "again"), [(3_599, 3_299), (400, 200), (1, 1)])
async def test_a_token_is_renewed_before_it_ends(lifetime, again, google, service_account, tmp_path, autojump_clock):
    path = tmp_path / "account.json"
    path.write_text(json.dumps(service_account))
    google.answers = [(200, {"access_token": "a", "expires_in": lifetime}), (200, {"access_token": "b"})]
    token = AccessToken(credentials.grant(credentials.load({"service_account": str(path)})))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(token.run)
        await trio.sleep(again - 0.1)
        assert token.value == b"Bearer a"
        await trio.sleep(0.2)
        assert token.value == b"Bearer b"
        nursery.cancel_scope.cancel()


async def test_an_outage_of_the_token_endpoint_only_delays(peer, google, make_fcm, make_batch, running):
    google.answers = [ConnectionLost("down"), (500, b"<html>"), (200, b"garbage"), (200, {"access_token": "a\r\nb"})]
    async with running(make_fcm()) as transport:
        outcomes = await transport.send(make_batch(5))
    assert outcomes.delivered == 5
    assert google.asked == 5


async def test_a_refused_service_account_pauses_the_channel_with_a_sentence(
    peer, google, make_fcm, make_batch, running, until
):
    google.answers = [(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})] * 50
    async with running(make_fcm()) as transport:
        outcomes = await transport.send(make_batch(5))
        assert outcomes.stop is not None
        assert "invalid_grant" in outcomes.stop
        assert {e.outcome for e in outcomes.exceptions} == {Outcome.POSTPONED}
        google.answers = []
        await until(lambda: transport.token.fault is None)
        assert (await transport.send(make_batch(5))).delivered == 5


async def test_stopping_frees_those_who_wait_for_a_token(google, make_fcm, make_batch, running, until):
    google.answers = [ConnectionLost("down")] * 1_000
    results = []
    async with trio.open_nursery() as nursery, running(make_fcm()) as transport:
        nursery.start_soon(_collect_send, results, transport, make_batch(5))
        await until(lambda: google.asked > 3)
    assert {e.outcome for e in results[0].exceptions} == {Outcome.POSTPONED}
    assert results[0].stop is None


async def _collect_send(results, transport, batch):
    results.append(await transport.send(batch))


async def test_a_batch_expires_while_google_gives_no_token(google, make_fcm, make_batch, running):
    google.answers = [ConnectionLost("down")] * 1_000
    async with running(make_fcm()) as transport:
        batch = make_batch(5, expires_at=time.time_ns() // 1_000_000 + 100)
        with trio.fail_after(3):
            outcomes = await transport.send(batch)
    assert {e.outcome for e in outcomes.exceptions} == {Outcome.EXPIRED}


async def test_quota_slows_the_channel_and_retry_after_is_kept(peer, google, make_fcm, make_batch, running):
    peer.answer = lambda seen: refusal(429, "QUOTA_EXCEEDED", **{"retry-after": "120"})
    async with running(make_fcm()) as transport:
        outcomes = await transport.send(make_batch(3))
    assert outcomes.slow == 120
    assert outcomes.put_off == 3
    assert len({e.after for e in outcomes.exceptions}) == 1
    assert 120 <= outcomes.exceptions[0].after <= 150


@pytest.mark.parametrize(("others_fine", "expected"), [(True, Death.DOUBTFUL), (False, None)])
async def test_a_malformed_token_is_doubtful_only_if_the_same_payload_got_through(
    others_fine, expected, peer, google, make_fcm, make_batch, running
):
    bad = refusal(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token")
    peer.answer = lambda seen: OK if others_fine and b"good" in seen.body else bad
    async with running(make_fcm()) as transport:
        outcomes = await transport.send(make_batch(tokens=["good", "bad"]))
    (said,) = [e for e in outcomes.exceptions if e.index == 1]
    assert (said.outcome, said.death) == (Outcome.REJECTED, expected)
    assert outcomes.delivered + len(outcomes.exceptions) == 2


@pytest.mark.parametrize(
    ("origin", "held"),
    [(None, True), ("https://fcm.googleapis.com", True), ("https://localhost:1", False), ("https://twin.com", False)],
)
def test_googles_quota_holds_for_google_alone(origin, held, service_account, tmp_path):
    path = tmp_path / "account.json"
    path.write_text(json.dumps(service_account))
    settings = TransportSettings(
        channel="a", platform="fcm", app="", credentials={"service_account": str(path)}, origin=origin
    )
    assert build(settings).quota == (Quota("project news-1a2b3", 600_000, 60.0) if held else None)


async def test_secrets_are_in_no_repr(service_account, tmp_path):
    path = tmp_path / "account.json"
    path.write_text(json.dumps(service_account))
    account = credentials.load({"service_account": str(path)})
    assert "key=" not in repr(account)
    assert repr(AccessToken(credentials.grant(account))) == "AccessToken('push@news-1a2b3.iam.gserviceaccount.com')"
