"""The transports against the provider twins, which share no code with them: each checks the other."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path

import pytest
import trio

from campaigns.message import Message
from campaigns.outcome import Outcome
from simulators.serving.service import serve_twin
from transports.apns.transport import build as build_apns
from transports.contract import TransportSettings
from transports.errors import PayloadError
from transports.fcm.transport import build as build_fcm

BUILD = {"apns": build_apns, "fcm": build_fcm}
SERVED = {"apns": "com.example.news", "fcm": "twin-project"}
APP = dict(SERVED)


@pytest.fixture
def against(tmp_path, fast, running):
    """``async with against("apns", script) as (transport, tokens)``; ``tokens()`` reads the ledger."""

    @contextlib.asynccontextmanager
    async def start(platform, script=None, warm_up=None, credentials=None):
        path = None
        if script is not None:
            path = tmp_path / "script.json"
            path.write_text(json.dumps(script))
        made = []
        up = trio.Event()

        def announce(ready):
            made.append(ready)
            up.set()

        async def serve():
            await serve_twin(
                platform,
                directory=tmp_path / "twin",
                ledger=tmp_path / "ledger",
                script=path,
                announce=announce,
                app=(SERVED[platform],),
            )

        def tokens():
            lines = (tmp_path / "ledger").read_text().splitlines()
            return Counter(json.loads(line)["token"] for line in lines)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await up.wait()
            settings = TransportSettings(
                channel="c",
                platform=platform,
                app=APP[platform],
                credentials=credentials or made[0].credentials,
                origin=made[0].origin,
                ca=Path(made[0].ca),
                warm_up=warm_up,
            )
            async with running(BUILD[platform](settings, **fast)) as transport:
                yield transport, tokens
            nursery.cancel_scope.cancel()

    return start


@pytest.fixture
def tokens_for():
    def make(platform, n):
        return [f"{index:064x}" if platform == "apns" else f"fcm{index:05d}:APA91b_{index:0140x}" for index in range(n)]

    return make


MESSAGE = Message(title="Flood", body="Leave the valley – now", url="https://example.com/f", data={"story": "7"})


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_strict_twin_accepts_every_push_once(platform, against, make_batch, tokens_for):
    tokens = tokens_for(platform, 1_000)
    async with against(platform) as (transport, ledger):
        for half in (tokens[:500], tokens[500:]):
            outcomes = await transport.send(make_batch(tokens=half, message=MESSAGE))
            assert (outcomes.delivered, outcomes.exceptions, outcomes.stop) == (500, [], None)
        assert ledger() == Counter(tokens)


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_warm_up_push_passes_the_strict_twin_before_the_first_batch(
    platform, against, make_batch, tokens_for, until, capsys
):
    own, *tokens = tokens_for(platform, 101)
    async with against(platform, warm_up=own) as (transport, ledger):
        await until(lambda: transport.pool.connections == 1)
        assert (await transport.send(make_batch(tokens=tokens, message=MESSAGE))).delivered == 100
        # one line each; Google's own says "validated", and nobody sees it
        assert ledger() == Counter([*tokens, own])
    assert "warm-up" not in capsys.readouterr().out, "nothing to complain of"


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_dead_and_slow_down_answers_are_told_apart(platform, against, make_batch, tokens_for):
    prefix = "" if platform == "apns" else "fcm00"
    digits = {"apns": "0" * 61, "fcm": ""}[platform]
    rules = [
        {"answer": "dead", "prefix": f"{prefix}{digits}00"},
        {"answer": "503", "prefix": f"{prefix}{digits}01"},
        {"answer": "429", "prefix": f"{prefix}{digits}02"},
    ]
    tokens = tokens_for(platform, 64 if platform == "apns" else 400)
    async with against(platform, {"rules": rules}) as (transport, ledger):
        outcomes = await transport.send(make_batch(tokens=tokens))
        per = {"apns": 16, "fcm": 10}[platform]
        assert Counter(e.outcome for e in outcomes.exceptions) == {Outcome.DEAD: per, Outcome.RETRY: 2 * per}
        assert outcomes.delivered == len(tokens) - 3 * per
        assert outcomes.stop is None
        assert sum(ledger().values()) == outcomes.delivered
        dead = [e for e in outcomes.exceptions if e.outcome is Outcome.DEAD]
        assert all((e.unregistered_at is not None) == (platform == "apns") for e in dead)


@pytest.mark.parametrize("platform", ["apns", "fcm"])
@pytest.mark.parametrize(
    "fault",
    [
        {"after": 40, "do": "goaway", "reason": "Shutdown", "times": 2},
        {"after": 40, "do": "settings", "max_concurrent_streams": 1, "times": 1},
        {"after": 40, "do": "settings", "initial_window_size": 10, "times": 1},
        {"after": 40, "do": "close", "times": 1},
    ],
    ids=["goaway", "one stream", "small window", "close"],
)
async def test_no_push_is_lost_or_doubled_through_a_connections_faults(
    platform, fault, against, make_batch, tokens_for
):
    tokens = tokens_for(platform, 120)
    async with against(platform, {"connections": [fault]}) as (transport, ledger):
        outcomes = await transport.send(make_batch(tokens=tokens))
        unknown = {tokens[e.index] for e in outcomes.exceptions}
        assert {e.outcome for e in outcomes.exceptions} <= {Outcome.UNKNOWN}
        assert outcomes.delivered + len(unknown) == 120
        assert set(ledger().values()) == {1}
        assert set(tokens) - unknown <= set(ledger())
        if fault["do"] != "close":
            assert unknown == set()


async def test_a_certificate_serves_in_place_of_a_key(against, make_batch, tokens_for, tmp_path):
    app = SERVED["apns"]
    script = {"client_certificates": "demand", "certificates": [{"app": app}]}
    pem = str(tmp_path / "twin" / f"certificate_{app}.pem")
    tokens = tokens_for("apns", 200)
    async with against("apns", script, credentials={"certificate": pem}) as (transport, ledger):
        outcomes = await transport.send(make_batch(tokens=tokens, message=MESSAGE))
        assert (outcomes.delivered, outcomes.exceptions, outcomes.stop) == (200, [], None)
        assert ledger() == Counter(tokens)
        voip = Message(title="", body="", options={"apns": {"push_type": "voip"}})
        assert (await transport.send(make_batch(tokens=tokens[:5], message=voip, campaign=8))).delivered == 5
        widgets = Message(title="", body="", options={"apns": {"push_type": "widgets"}})
        with pytest.raises(PayloadError, match="not for the topic"):
            transport.check(widgets)


LIVE = {"timestamp": 1_700_000_000, "event": "update", "content-state": {"goals": 2}}


@pytest.mark.parametrize(
    "options",
    [
        {"push_type": "background"},
        {"push_type": "voip", "data": {"call": {"id": 7}}},
        {"push_type": "complication"},
        {"push_type": "fileprovider"},
        {"push_type": "mdm", "data": {"mdm": "magic"}},
        {"push_type": "location", "priority": 5},
        {"push_type": "liveactivity", "aps": LIVE},
        {"push_type": "pushtotalk"},
        {"push_type": "widgets"},
        {"push_type": "controls"},
        {"collapse_id": "match 7", "priority": 1, "aps": {"alert": None, "badge": 3}},
    ],
    ids=lambda options: options.get("push_type", "badge"),
)
async def test_a_strict_twin_accepts_every_push_type(options, against, make_batch, tokens_for):
    tokens = tokens_for("apns", 20)
    async with against("apns") as (transport, ledger):
        message = Message(title="", body="", options={"apns": options})
        transport.check(message)
        outcomes = await transport.send(make_batch(tokens=tokens, message=message))
        assert (outcomes.delivered, outcomes.exceptions, outcomes.stop) == (20, [], None)
        assert ledger() == Counter(tokens)


async def test_a_push_delivered_without_an_answer_is_unknown_not_lost(against, make_batch, tokens_for):
    script = {"rules": [{"answer": "mute", "share": 0.2, "delivered": True}]}
    tokens = tokens_for("apns", 100)
    async with against("apns", script) as (transport, ledger):
        outcomes = await transport.send(make_batch(tokens=tokens))
        assert {e.outcome for e in outcomes.exceptions} == {Outcome.UNKNOWN}
        assert outcomes.delivered + len(outcomes.exceptions) == 100
        assert ledger() == Counter(tokens)


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [("BadTopic", 400, "topic"), ("InvalidProviderToken", 403, "key"), ("PayloadTooLarge", 413, "shorten")],
)
async def test_a_fault_of_the_channel_holds_everybody_and_says_why(
    reason, status, words, against, make_batch, tokens_for
):
    script = {"rules": [{"answer": "refuse", "reason": reason, "status": status}]}
    async with against("apns", script) as (transport, _):
        outcomes = await transport.send(make_batch(tokens=tokens_for("apns", 30)))
    assert outcomes.stop is not None
    assert words in outcomes.stop
    assert Counter(e.outcome for e in outcomes.exceptions) == {Outcome.POSTPONED: 30}


async def test_the_wrong_project_is_the_channels_fault_and_kills_no_token(against, make_batch, tokens_for, monkeypatch):
    monkeypatch.setitem(APP, "fcm", "another-project")
    async with against("fcm") as (transport, _):
        outcomes = await transport.send(make_batch(tokens=tokens_for("fcm", 5)))
    assert outcomes.stop is not None
    assert {e.outcome for e in outcomes.exceptions} == {Outcome.POSTPONED}


async def test_access_tokens_that_end_in_mid_campaign_are_replaced(against, make_batch, tokens_for):
    tokens = tokens_for("fcm", 60)
    async with against("fcm", {"access_token_seconds": 1, "rules": [{"answer": "slow", "delay_ms": 300}]}) as (
        transport,
        ledger,
    ):
        for start in range(0, 60, 10):
            outcomes = await transport.send(make_batch(tokens=tokens[start : start + 10]))
            assert outcomes.delivered == 10
        assert ledger() == Counter(tokens)
