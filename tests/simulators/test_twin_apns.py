"""The APNs twin's answers: each documented refusal, and each thing it must not refuse."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from simulators import twin_credentials as keys
from simulators.apns.apns_twin import ApnsTwin
from simulators.apns.token_verifier import ProviderKey, TokenVerifier
from simulators.faults.director import Director
from simulators.faults.script import Script
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Ledger, read_ledger
from tests.simulators.conftest import ALERT, StartTwin, token

TOKEN = token(1)
BACKGROUND = b'{"aps":{"content-available":1}}'

Ask = Callable[..., tuple[int, dict[str, object]]]


def make(
    folder: keys.Credentials, apps: tuple[str, ...] = ("org.example.news",), script: Script | None = None
) -> ApnsTwin:
    known = ProviderKey(keys.read_p256_key(folder.apns_key), keys.KEY_ID, keys.TEAM_ID)
    verifier = TokenVerifier([known])
    return ApnsTwin(verifier, Director(script or Script(), time.monotonic), Ledger(), apps)


@pytest.fixture
def ask(folder: keys.Credentials, apns_headers: dict[str, str]) -> Ask:
    """Ask a fresh connection; keywords are header fields with ``_`` for ``-``, None leaves one out."""

    def ask(
        path: str = f"/3/device/{TOKEN}",
        body: bytes = ALERT,
        method: str = "POST",
        twice: str = "",
        **changes: str | None,
    ) -> tuple[int, dict[str, object]]:
        fields: dict[str, str | None] = {":method": method, ":scheme": "https", ":path": path}
        fields |= apns_headers | {name.replace("_", "-"): value for name, value in changes.items()}
        listed = [(name.encode(), value.encode()) for name, value in fields.items() if value is not None]
        listed += [(name, value) for name, value in listed if name == twice.encode()]
        apns = make(folder)
        session = apns.session()
        answer = session.answer(ReceivedRequest(1, listed, body))
        status = int(answer.fields[0][1])
        assert apns.ledger.accepted == (status == 200)
        assert session.streams == (1000 if status == 200 else 1)
        assert uuid.UUID(dict(answer.fields)[b"apns-id"].decode())
        return status, msgspec.json.decode(answer.body) if answer.body else {}

    return ask


def test_a_proper_push_is_accepted(ask: Ask) -> None:
    assert ask() == (200, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"apns_priority": None},
        {"apns_priority": "5"},
        {"apns_priority": "1"},
        {"apns_expiration": None},
        {"apns_expiration": "1800000000"},
        {"apns_push_type": None},
        {"apns_id": "00000000-1111-2222-3333-444444444444"},
        {"apns_collapse_id": None},
        {"apns_collapse_id": "x" * 64},
        {"apns_push_type": "background", "apns_priority": "5", "body": BACKGROUND},
        {"apns_push_type": "voip", "apns_topic": "org.example.news.voip", "body": b"{}".ljust(5120)},
        {"apns_push_type": "location", "apns_topic": "org.example.news.location-query", "body": b"{}"},
        {"apns_push_type": "pushtotalk", "apns_topic": "org.example.news.voip-ptt", "body": b"{}"},
        {"apns_push_type": "complication", "apns_topic": "org.example.news.complication", "body": b"{}"},
        {"apns_push_type": "fileprovider", "apns_topic": "org.example.news.pushkit.fileprovider", "body": b"{}"},
        {
            "apns_push_type": "liveactivity",
            "apns_topic": "org.example.news.push-type.liveactivity",
            "body": b'{"aps":{"event":"update","timestamp":1,"content-state":{}}}',
        },
        {
            "apns_push_type": "widgets",
            "apns_topic": "org.example.news.push-type.widgets",
            "body": b'{"aps":{"content-changed":true}}',
        },
        {"apns_push_type": "controls", "apns_topic": "org.example.news.push-type.controls", "body": b'{"aps":{}}'},
        {"body": ALERT.ljust(4096)},
        {"path": "/3/device/" + "ab" * 100},
    ],
)
def test_what_apple_allows_is_accepted(ask: Ask, changes: dict[str, str]) -> None:
    assert ask(**changes) == (200, {})


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"method": "GET"}, 405, "MethodNotAllowed"),
        ({"path": "/3/devices/" + TOKEN}, 404, "BadPath"),
        ({"path": "/3/device/"}, 400, "MissingDeviceToken"),
        ({"path": "/3/device/xyz"}, 400, "BadDeviceToken"),
        ({"path": "/3/device/abc"}, 400, "BadDeviceToken"),
        ({"path": "/3/device/" + TOKEN.upper()}, 400, "BadDeviceToken"),
        ({"path": "/3/device/" + TOKEN + "/x"}, 400, "BadDeviceToken"),
        ({"twice": "apns-topic"}, 400, "DuplicateHeaders"),
        ({"authorization": None}, 403, "MissingProviderToken"),
        ({"authorization": "basic abc"}, 403, "MissingProviderToken"),
        ({"authorization": "bearer "}, 403, "MissingProviderToken"),
        ({"authorization": "bearer rubbish"}, 403, "InvalidProviderToken"),
        ({"apns_topic": None}, 400, "MissingTopic"),
        ({"apns_topic": "not a topic"}, 400, "BadTopic"),
        ({"apns_topic": "org.example.other"}, 400, "TopicDisallowed"),
        ({"apns_topic": "org.example.news.voip"}, 400, "BadTopic"),
        ({"apns_push_type": "voip"}, 400, "BadTopic"),
        ({"apns_push_type": "liveactivity"}, 400, "BadTopic"),
        ({"apns_push_type": "shout"}, 400, "InvalidPushType"),
        ({"apns_priority": "7"}, 400, "BadPriority"),
        ({"apns_priority": "high"}, 400, "BadPriority"),
        ({"apns_push_type": "background", "body": BACKGROUND}, 400, "BadPriority"),
        ({"apns_push_type": "background", "body": BACKGROUND, "apns_priority": None}, 400, "BadPriority"),
        ({"apns_push_type": "background", "apns_priority": "5"}, 400, "InvalidPushType"),
        ({"apns_expiration": "soon"}, 400, "BadExpirationDate"),
        ({"apns_expiration": "1.5"}, 400, "BadExpirationDate"),
        ({"apns_expiration": "-1"}, 400, "BadExpirationDate"),
        ({"apns_id": "1"}, 400, "BadMessageId"),
        ({"apns_id": "00000000-1111-2222-3333-44444444444X"}, 400, "BadMessageId"),
        ({"apns_collapse_id": "x" * 65}, 400, "BadCollapseId"),
        ({"apns_collapse_id": "é" * 33}, 400, "BadCollapseId"),
        ({"body": b""}, 400, "PayloadEmpty"),
        ({"body": b'{"aps":{}}'}, 400, "PayloadEmpty"),
        ({"body": ALERT.ljust(4097)}, 413, "PayloadTooLarge"),
        ({"body": b'{"aps":{"alert":"x","interruption-level":"loud"}}'}, 400, "BadPayload"),
        ({"body": b'{"aps":{"alert":"x","badge":"3"}}'}, 400, "BadPayload"),
        ({"body": b'{"aps":{"alert":"x","thread-id":7}}'}, 400, "BadPayload"),
        ({"body": b"{"}, 400, "BadPayload"),
        ({"body": b"[]"}, 400, "BadPayload"),
        ({"body": b'{"alert":"x"}'}, 400, "BadPayload"),
        (
            {"apns_push_type": "voip", "apns_topic": "org.example.news.voip", "body": b"{}".ljust(5121)},
            413,
            "PayloadTooLarge",
        ),
    ],
)
def test_what_apple_refuses_is_refused_with_its_reason(
    ask: Ask, changes: dict[str, str | None], status: int, reason: str
) -> None:
    assert ask(**changes) == (status, {"reason": reason})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iat": int(time.time()) - 3700}, "ExpiredProviderToken"),
        ({"iat": int(time.time()) + 86_400}, "InvalidProviderToken"),
        ({"iat": None}, "InvalidProviderToken"),
        ({"iat": "now"}, "InvalidProviderToken"),
        ({"iss": "ANOTHERTEA"}, "InvalidProviderToken"),
        ({"kid": "ANOTHERKEY"}, "InvalidProviderToken"),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "InvalidProviderToken"),
        ({"key": "s" * 32, "algorithm": "HS256"}, "InvalidProviderToken"),
    ],
)
def test_a_provider_token_is_really_verified(
    ask: Ask, provider_token: Callable[..., str], changes: dict[str, object], reason: str
) -> None:
    assert ask(authorization="bearer " + provider_token(**changes)) == (403, {"reason": reason})


def test_a_new_provider_token_too_soon_is_refused_on_its_connection_only(
    folder: keys.Credentials, apns_headers: dict[str, str], provider_token: Callable[..., str]
) -> None:
    apns = make(folder)

    def send(session: object, authorization: str) -> int:
        fields = {":method": "POST", ":path": f"/3/device/{TOKEN}"} | apns_headers | {"authorization": authorization}
        request = ReceivedRequest(1, [(name.encode(), value.encode()) for name, value in fields.items()], ALERT)
        return int(session.answer(request).fields[0][1])  # type: ignore[attr-defined]

    first, second = apns_headers["authorization"], "bearer " + provider_token(iat=int(time.time()) - 5)
    session = apns.session()
    assert [send(session, first), send(session, second), send(session, first)] == [200, 429, 200]
    assert send(apns.session(), second) == 200
    relaxed = make(folder, script=Script(token_update_seconds=0)).session()
    assert [send(relaxed, first), send(relaxed, second)] == [200, 200]


async def test_one_stream_until_a_valid_token_has_succeeded(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    async with start_twin("apns") as twin, twin.connect() as client:
        assert client.limits == [1]
        refused = await client.ask(f"/3/device/{TOKEN}", apns_headers | {"authorization": "bearer x"}, ALERT)
        assert (refused.status, client.limits) == (403, [1])
        ids = {"apns-id": "00000000-1111-2222-3333-444444444444"}
        accepted = await client.ask(f"/3/device/{TOKEN}", apns_headers | ids, ALERT)
        assert (accepted.status, accepted.headers, accepted.body) == (200, ids, b"")
        await client.read_until(lambda: len(client.limits) > 1)
        assert client.limits == [1, 1000]
        streams = [client.request(f"/3/device/{token(n)}", apns_headers, ALERT) for n in range(200)]
        await client.flush()
        assert {(await client.answer(stream)).status for stream in streams} == {200}


async def test_an_accepted_push_is_in_the_ledger_before_its_answer(
    start_twin: StartTwin, apns_headers: dict[str, str], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with start_twin("apns", ledger=ledger, latency_ms=300) as twin, twin.connect() as client:
        stream = client.request(f"/3/device/{TOKEN}", apns_headers, ALERT)
        await client.flush()
        with trio.fail_after(2):
            while not ledger.stat().st_size:  # noqa: ASYNC110
                await trio.sleep(0.005)
        assert stream not in client.answers
        answer = await client.answer(stream)
        (entry,) = read_ledger(ledger)
        assert (entry.token, entry.collapse, entry.app) == (TOKEN, "CAMPAIGN", "org.example.news")
        assert entry.id == answer.headers["apns-id"]
        assert abs(entry.time - time.time() * 1000) < 5000


@pytest.mark.parametrize(
    ("aps", "priority", "asleep"),
    [
        ({"interruption-level": "passive"}, "5", True),
        ({"interruption-level": "passive"}, "1", True),
        ({"interruption-level": "passive"}, "10", False),
        ({"interruption-level": "passive", "sound": "default"}, "5", False),
        ({"interruption-level": "active"}, "5", False),
        ({}, "5", False),
    ],
)
async def test_the_ledger_says_of_a_push_that_woke_nobody_that_it_was_asleep(
    aps: dict[str, str],
    priority: str,
    asleep: bool,
    start_twin: StartTwin,
    apns_headers: dict[str, str],
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    headers = apns_headers | {"apns-priority": priority, "apns-expiration": "4000000000"}
    async with start_twin("apns", ledger=ledger, bodies=True) as twin, twin.connect() as client:
        body = msgspec.json.encode({"aps": {"alert": "x", **aps}})
        assert (await client.ask(f"/3/device/{TOKEN}", headers, body)).status == 200
    (entry,) = read_ledger(ledger)
    assert (entry.asleep, entry.expires, entry.body) == (asleep, 4_000_000_000_000, body.decode())
