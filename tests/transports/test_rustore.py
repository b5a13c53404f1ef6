"""RuStore: its answers, its messages, and the whole way to its twin, over either HTTP."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Death, Fault, Outcome
from campaigns.presentation import Presentation
from simulators.ledger import read_ledger
from simulators.serving.service import serve_twin
from transports.contract import TransportSettings
from transports.decision import Then
from transports.errors import CredentialsError, PayloadError, TokenError
from transports.json_texts import rpc_error
from transports.json_texts.body import kept_for
from transports.rustore import outcomes, payload, tokens
from transports.rustore.transport import RustoreTransport, build

APP = payload.RustoreApp()


def said(message: Message, app: payload.RustoreApp = APP, how: Presentation = Presentation.AWAKE) -> dict[str, object]:
    body = payload.render(message, how, app)
    whole = payload.HEADS["token"] + b"T" + kept_for(60, 2_419_200)(body.tail)
    found: dict[str, object] = msgspec.json.decode(whole)["message"]
    return found


def test_a_message_has_the_fields_of_the_page() -> None:
    message = Message(
        title="Flood", body="Leave", url="https://n.example/7", image="https://n.example/7.png", thread="s"
    )
    assert said(message) == {
        "token": "T",
        "notification": {"title": "Flood", "body": "Leave", "image": "https://n.example/7.png"},
        "data": {"url": "https://n.example/7", "thread": "s"},
        "android": {"ttl": "60s", "notification": {"click_action": "https://n.example/7", "click_action_type": 1}},
    }


def test_options_override_and_null_leaves_only_data() -> None:
    options = {"android": {"ttl": "5s", "notification": {"channelId": "hot", "color": "#ff0000"}}}
    found = said(Message(title="T", body="B", options={"rustore": options}))
    assert found["android"] == {"ttl": "5s", "notification": {"channel_id": "hot", "color": "#ff0000"}}
    only = said(Message(title="T", data={"a": "b"}, options={"rustore": {"notification": None}}))
    assert only == {"token": "T", "android": {"ttl": "60s"}, "data": {"a": "b"}}


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (Message(body=""), "message.title: is empty"),
        (Message(title="T", body="x" * 4_090), "too many"),
        (Message(title="T", data={"url": "x"}, url="https://n.example"), 'the key "url" is taken on RuStore'),
        (Message(title="T", options={"rustore": {"priority": 1}}), "unknown field"),
        (Message(title="T", options={"rustore": {"android": {"ttl": "9999999s"}}}), "is not a duration"),
        (Message(title="T", options={"rustore": {"android": {"notification": {"color": "red"}}}}), "is not #rrggbb"),
        (Message(options={"rustore": {"notification": None}}), "message.data: is empty"),
    ],
)
def test_what_rustore_cannot_carry_is_said_before_fire(message: Message, what: str) -> None:
    with pytest.raises(PayloadError, match=what):
        said(message)


def test_asleep_it_goes_to_the_channel_without_sound() -> None:
    with pytest.raises(PayloadError, match="quiet_channel"):
        said(Message(title="T"), how=Presentation.ASLEEP)
    found = said(Message(title="T"), payload.RustoreApp("quiet"), Presentation.ASLEEP)
    assert found["android"] == {"ttl": "60s", "notification": {"channel_id": "quiet"}}


@pytest.mark.parametrize(
    ("status", "error", "outcome", "death"),
    [
        (400, {"status": "INVALID_ARGUMENT", "message": "invalid push token"}, Outcome.REJECTED, None),
        (404, {"status": "NOT_FOUND"}, Outcome.DEAD, Death.LIKELY),
        (429, {"status": "TOO_MANY_REQUESTS"}, Outcome.RETRY, None),
        (500, {"status": "INTERNAL"}, Outcome.RETRY, None),
        (502, {}, Outcome.RETRY, None),
        (413, {}, Outcome.REJECTED, None),
    ],
)
def test_each_answer_has_its_meaning(status: int, error: dict[str, str], outcome: Outcome, death: Death | None) -> None:
    for body in ({"error": error}, error):  # its page shows the error without the word around it
        decision = outcomes.decide(status, rpc_error.parse(json.dumps(body).encode()))
        assert (decision.outcome, decision.death, decision.stop) == (outcome, death, None)


@pytest.mark.parametrize(("status", "word"), [(401, ""), (403, "PERMISSION_DENIED"), (404, "")])
def test_a_wrong_token_or_project_pauses_the_channel_and_kills_no_phone(status: int, word: str) -> None:
    decision = outcomes.decide(status, rpc_error.RpcError(word))
    assert decision.stop
    assert (decision.outcome, decision.fault, decision.then) == (Outcome.POSTPONED, Fault.CHANNEL, Then.NOTHING)


def test_a_quota_slows_the_whole_channel() -> None:
    decision = outcomes.decide(429, rpc_error.RpcError("TOO_MANY_REQUESTS"))
    assert decision.slow == 60
    assert outcomes.decide(429, rpc_error.RpcError("TOO_MANY_REQUESTS"), retry_after=90).slow == 90


def test_a_message_that_is_refused_again_and_again_pauses_the_channel() -> None:
    decision = outcomes.decide(400, rpc_error.RpcError("INVALID_ARGUMENT", "ttl is wrong"))
    assert decision.repeated
    assert "ttl is wrong" in decision.repeated


@pytest.mark.parametrize(
    "text", ["null", "123e4567-e89b-12d3-a456-426614174000", "short", "has a blank in it", "https://x.y"]
)
def test_a_text_that_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenError):
        tokens.TOKENS.token("token", text)
    assert tokens.TOKENS.tokens("token", [text]) is None


def test_tokens_pass_as_they_are() -> None:
    good = ["v" * 70 + "-_:.=", "A" * 120]
    assert tokens.TOKENS.tokens("token", good) is good
    assert [tokens.TOKENS.token("token", f' "{text}"\n') for text in good] == good


@pytest.fixture
def against(tmp_path, fast, running):
    @asynccontextmanager
    async def start(script=None, secret=None, app="news", connections=1, **timing):
        path = tmp_path / "script.json"
        path.write_text(json.dumps(script or {}))
        made = []
        up = trio.Event()

        def announce(ready):
            made.append(ready)
            up.set()

        async def serve():
            await serve_twin(
                "rustore",
                directory=tmp_path / "twin",
                ledger=tmp_path / "ledger",
                script=path,
                announce=announce,
                app=("news",),
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await up.wait()
            credentials = made[0].credentials
            if secret is not None:
                (tmp_path / "secret").write_text(secret)
                credentials = {"service_token": str(tmp_path / "secret")}
            settings = TransportSettings(
                channel="c",
                platform="rustore",
                app=app,
                credentials=credentials,
                origin=made[0].origin,
                ca=Path(made[0].ca),
                connections=connections,
            )
            async with running(build(settings, **fast | {"timing": replace(fast["timing"], **timing)})) as transport:
                yield transport
            nursery.cancel_scope.cancel()

    return start


def pushed(tmp_path: Path) -> Counter[str]:
    return Counter(entry.token for entry in read_ledger(tmp_path / "ledger"))


@pytest.mark.parametrize("http", ["either", "1.1"])
async def test_every_phone_gets_its_push_over_either_http(http, against, make_batch, tmp_path, until):
    async with against({"http": http}, connections=3) as transport:
        outcomes_ = await transport.send(make_batch(200))
        await until(lambda: transport.traffic.connections == 3)  # the pushes may not have needed them all
        assert transport.traffic.streams_allowed == (300 if http == "either" else 3)
    assert (outcomes_.delivered, outcomes_.exceptions) == (200, [])
    assert pushed(tmp_path) == Counter(f"{index:064x}" for index in range(200))


@pytest.mark.parametrize("http", ["either", "1.1"])
async def test_each_phone_gets_its_own_outcome(http, against, make_batch):
    rules = [
        {"answer": "dead", "prefix": "a"},
        {"answer": "500", "prefix": "b"},
        {"answer": "refuse", "reason": "INVALID_ARGUMENT", "prefix": "c"},
        {"answer": "429", "prefix": "d", "retry_after": 3},
    ]
    texts = [letter * 64 for letter in "0abcd1"]
    async with against({"http": http, "rules": rules}) as transport:
        found = await transport.send(make_batch(tokens=texts))
    assert found.delivered == 2
    assert {each.index: (each.outcome, each.death) for each in found.exceptions} == {
        1: (Outcome.DEAD, Death.LIKELY),
        2: (Outcome.RETRY, None),
        3: (Outcome.REJECTED, Death.DOUBTFUL),
        4: (Outcome.RETRY, None),
    }
    assert found.stop is None
    assert found.slow == 60


async def test_a_wrong_service_token_pauses_the_channel(against, make_batch, tmp_path):
    async with against(secret="not-the-token") as transport:
        found = await transport.send(make_batch(20))
    assert found.delivered == 0
    assert "check the service token" in found.stop
    assert {each.outcome for each in found.exceptions} == {Outcome.POSTPONED}
    assert not pushed(tmp_path)


async def test_a_connection_that_breaks_costs_what_was_on_it(against, make_batch, tmp_path):
    """One request at a time is on a connection of HTTP/1.1: the others go over the next."""
    script = {"http": "1.1", "connections": [{"after": 5, "do": "close", "unanswered": 1, "times": 4}]}
    async with against(script) as transport:
        found = await transport.send(make_batch(60))
    assert found.delivered == 56
    assert {each.outcome for each in found.exceptions} == {Outcome.UNKNOWN}
    assert len(pushed(tmp_path)) == 60


async def test_a_silent_peer_costs_its_requests_and_no_more(against, make_batch):
    script = {"http": "1.1", "rules": [{"answer": "mute", "prefix": "f"}]}
    async with against(script, connections=2, deadline=0.5) as transport:
        found = await transport.send(make_batch(tokens=["f" * 64, *(f"{index:064x}" for index in range(20))]))
    assert found.delivered == 20
    assert [(each.index, each.outcome) for each in found.exceptions] == [(0, Outcome.UNKNOWN)]


async def test_a_dry_run_shows_nothing(against, make_batch, tmp_path):
    async with against() as transport:
        batch: Batch = make_batch(3)
        found = await transport.send(Batch(7, batch.message, 1, batch.expires_at, batch.recipients, validate_only=True))
    assert {each.outcome for each in found.exceptions} == {Outcome.DROPPED}
    assert not pushed(tmp_path)


async def test_a_preview_is_what_is_sent(against, make_batch, tmp_path):
    async with against({"bodies": True}) as transport:
        message = Message(title="Flood", body="Leave")
        (preview,) = transport.preview(message, 7, 4_000_000_000_000)
        await transport.send(make_batch(tokens=["0" * 64], message=message))
    (entry,) = read_ledger(tmp_path / "ledger")
    assert entry.body == preview.body.decode()
    assert preview.size == len('{"title":"Flood","body":"Leave"}')


def test_credentials_are_checked_before_anything_is_sent(tmp_path):
    def make(text: bytes, app: str = "news") -> RustoreTransport:
        (tmp_path / "t").write_bytes(text)
        return build(
            TransportSettings(
                channel="c", platform="rustore", app=app, credentials={"service_token": str(tmp_path / "t")}
            )
        )

    assert make(b"\xef\xbb\xbfsecret-token\n").authorization == b"Bearer secret-token"
    with pytest.raises(CredentialsError, match="holds no service token") as refused:
        make(b"two words here")
    assert "two words" not in str(refused.value)
    with pytest.raises(CredentialsError, match='app: "a/b"'):
        make(b"secret-token", "a/b")
