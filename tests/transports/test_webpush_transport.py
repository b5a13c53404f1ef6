"""Web Push against its twin, which decrypts: the two share no code, so each checks the other."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from campaigns.message import Message
from campaigns.outcome import Death, Outcome
from simulators.serving.service import TwinReady, serve_twin
from tests.transports.conftest import FAST, fast_backoff
from transports.contract import Outcomes, TransportSettings
from transports.errors import CredentialsError
from transports.public_addresses import is_public, open_public
from transports.webpush import tokens, transport
from transports.webpush.push_services import PushServices
from transports.webpush.transport import WebPushTransport, build

SITE = "https://news.example.com"
MESSAGE = Message(title="Flood", body="Leave the valley – now", url="https://news.example.com/flood")


def sample(number: int, last: str | None = None) -> str:
    """A twin's subscription; ``last``: 0 Google, 9 Mozilla, c Apple, e and f Microsoft."""
    digits = f"{number:064x}"
    return tokens.sample(digits if last is None else digits[1:] + last)


def endpoint(token: str) -> str:
    return token.partition("#")[0]


@pytest.fixture
def against(tmp_path: Path, running: Any) -> Any:
    """``async with against(script) as (transport, pushes)``; ``pushes()`` reads the ledger."""

    @contextlib.asynccontextmanager
    async def start(
        script: dict[str, Any] | None = None, **changes: Any
    ) -> AsyncIterator[tuple[WebPushTransport, Callable[[], list[dict[str, Any]]]]]:
        path = None
        if script is not None:
            path = tmp_path / "script.json"
            path.write_text(json.dumps(script))
        made: list[TwinReady] = []
        up = trio.Event()

        def announce(ready: TwinReady) -> None:
            made.append(ready)
            up.set()

        async def serve() -> None:
            directory, ledger = tmp_path / "twin", tmp_path / "ledger"
            await serve_twin("webpush", directory=directory, ledger=ledger, script=path, announce=announce, app=(SITE,))

        def pushes() -> list[dict[str, Any]]:
            return [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await up.wait()
            credentials = {**made[0].credentials, **changes.pop("credentials", {})}
            settings = TransportSettings(
                channel="web-news",
                platform="webpush",
                app=SITE,
                credentials=credentials,
                origin=made[0].origin,
                ca=Path(made[0].ca),
                **changes,
            )
            async with running(build(settings, timing=FAST, backoff=fast_backoff)) as sending:
                yield sending, pushes
            nursery.cancel_scope.cancel()

    return start


async def test_the_twin_decrypts_every_push_once_whichever_push_service_it_goes_to(
    against: Any, make_batch: Any
) -> None:
    subscriptions = [sample(n) for n in range(64)]
    async with against({"bodies": True}) as (sending, pushes):
        outcomes = await sending.send(make_batch(tokens=subscriptions, message=MESSAGE))
        assert (outcomes.delivered, outcomes.exceptions, outcomes.stop) == (64, [], None)
        assert Counter(push["token"] for push in pushes()) == Counter(map(endpoint, subscriptions))
        assert {push["collapse"] for push in pushes()} == {json.loads(pushes()[0]["body"])["notification"]["tag"]}
        assert json.loads(pushes()[0]["body"])["notification"]["title"] == "Flood"
        assert len(sending.services.pools) == 5, "Google, Mozilla, Apple, and two of Microsoft's"
        assert sending.outage is None
        assert sending.traffic.connections == sending.wanted == 5


async def test_a_push_service_that_gets_its_first_push_is_not_away(against: Any, make_batch: Any) -> None:
    """Once another one was connected, it had been away for ever, and its pushes waited for half a minute."""
    async with against() as (sending, pushes):
        for service in "09c":
            outcomes = await sending.send(make_batch(tokens=[sample(n, service) for n in range(8)], message=MESSAGE))
            assert (outcomes.delivered, outcomes.exceptions) == (8, [])
        assert len(pushes()) == 24


async def test_a_push_service_that_answers_nothing_keeps_no_batch_beyond_what_is_under_way(
    against: Any, make_batch: Any
) -> None:
    """27: every batch in hand waited for its unanswered pushes until the deadline, and all other browsers with it."""
    rules = [{"answer": "mute", "service": "web.push.apple.com"}]
    async with against({"streams": 10, "rules": rules}) as (sending, _), trio.open_nursery() as nursery:
        first = make_batch(tokens=[sample(n, "c" if n % 4 == 0 else "9") for n in range(200)], message=MESSAGE)
        found: list[Outcomes] = []

        async def send_first() -> None:
            found.append(await sending.send(first))

        began = trio.current_time()
        nursery.start_soon(send_first)
        await trio.sleep(2.0)
        waiting = sum(pool.in_flight for pool in sending.services.pools)
        assert 10 <= waiting <= 20, "what Apple has not answered"
        with trio.fail_after(2.0):
            outcomes = await sending.send(
                make_batch(tokens=[sample(n, "c" if n % 4 == 0 else "9") for n in range(300, 380)], message=MESSAGE)
            )
        assert outcomes.delivered == 60
        assert {(each.outcome, each.reason) for each in outcomes.exceptions} == {
            (Outcome.RETRY, "web.push.apple.com is away")
        }
        assert trio.current_time() - began < 4.0, "before the deadline"
    assert found[0].delivered == 150
    ends = Counter(each.outcome for each in found[0].exceptions)
    assert ends == {Outcome.UNKNOWN: waiting, Outcome.POSTPONED: 50 - waiting}


async def test_a_push_service_that_always_takes_long_is_not_taken_for_one_that_hangs(
    against: Any, make_batch: Any
) -> None:
    """27: it was sent to in bursts, five seconds apart."""
    rules = [{"answer": "slow", "delay_ms": 1400, "service": "web.push.apple.com"}]
    async with against({"streams": 10, "rules": rules}) as (sending, _):

        async def send(first: int, count: int) -> Outcomes:
            tokens = [sample(n, "c" if n % 2 == 0 else "9") for n in range(first, first + count)]
            return await sending.send(make_batch(tokens=tokens, message=MESSAGE))

        await send(0, 20)  # how long it takes is not known yet
        outcomes = await send(100, 80)
        assert (outcomes.delivered, outcomes.exceptions) == (80, [])


async def test_a_real_browsers_subscription_is_accepted_unopened(against: Any, make_batch: Any) -> None:
    """As a drill sends it: nobody but the browser has its key."""
    real = sample(5, "0").replace("50#", "x0#", 1)
    async with against() as (sending, pushes):
        assert (await sending.send(make_batch(tokens=[real], message=MESSAGE))).delivered == 1
        assert [(push["token"], push["kind"]) for push in pushes()] == [(endpoint(real), "sealed")]


async def test_dead_busy_and_moved_subscriptions_are_told_apart(against: Any, make_batch: Any) -> None:
    rules = [
        {"answer": "dead", "prefix": "0" * 39 + "d"},
        {"answer": "429", "prefix": "0" * 39 + "e", "retry_after": 7},
        {"answer": "raw", "status": 201, "prefix": "0" * 39 + "f"},
    ]
    subscriptions = [sample(mark << 92 | n << 4, end) for mark in (0xD, 0xE, 0xF, 0x1) for n, end in enumerate("09ce")]
    async with against({"rules": rules}) as (sending, pushes):
        outcomes = await sending.send(make_batch(tokens=subscriptions, message=MESSAGE))
        found = {entry.index: entry for entry in outcomes.exceptions}
        assert {found[n].outcome for n in range(4)} == {Outcome.DEAD}
        assert {found[n].death for n in range(4)} == {Death.CERTAIN}
        assert {found[n].outcome for n in range(4, 8)} == {Outcome.RETRY}
        assert found[7].reason == "HTTP 406", "Microsoft's word for it"
        # Apple's false 2xx: counted as delivered, though nobody gets it
        assert outcomes.delivered == 8
        assert len(pushes()) == 4
        # each of them asked for a pause, for itself
        again = await sending.send(make_batch(tokens=subscriptions[-4:], message=MESSAGE))
        assert {entry.reason.partition(" ")[2] for entry in again.exceptions} == {"asked for a pause"}
        assert (again.slow, again.put_off) == (0.0, 0)


async def test_another_sites_key_rejects_phones_and_stops_no_channel(
    against: Any, make_batch: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    other.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    async with against(credentials={"vapid_key": str(other)}) as (sending, pushes):
        batch = make_batch(tokens=[sample(n, end) for n, end in enumerate("09c")], message=MESSAGE)
        outcomes = await sending.send(batch)
        assert {(each.outcome, each.death) for each in outcomes.exceptions} == {(Outcome.REJECTED, Death.DOUBTFUL)}
        assert (outcomes.stop, outcomes.delivered, pushes()) == (None, 0, [])


async def test_a_refused_token_stops_the_channel_only_if_nobody_takes_it(against: Any, make_batch: Any) -> None:
    rules = [{"answer": "refuse", "reason": "BadJwtToken", "prefix": "0" * 39 + "d"}]
    bad, good = sample(0xD << 92, "c"), sample(1, "0")
    async with against({"rules": rules}) as (sending, _):
        outcomes = await sending.send(make_batch(tokens=[bad, good], message=MESSAGE))
        assert (outcomes.stop, outcomes.delivered, outcomes.exceptions[0].outcome) == (None, 1, Outcome.RETRY)
        alone = await sending.send(make_batch(tokens=[bad], message=MESSAGE))
        assert alone.stop is not None
        assert "web.push.apple.com refuses the VAPID token (BadJwtToken)" in alone.stop


async def test_nothing_goes_to_a_host_that_is_not_allowed(against: Any, make_batch: Any) -> None:
    strange = sample(1, "0").replace("fcm.googleapis.com", "intranet.example.com")
    broken = endpoint(sample(3, "0")) + "#" + "B" * 87 + "." + "A" * 22
    async with against() as (sending, pushes):
        subscriptions = [strange, "fcm:APA91b", sample(2, "0"), broken]
        outcomes = await sending.send(make_batch(tokens=subscriptions, message=MESSAGE))
        assert {each.index: each.reason for each in outcomes.exceptions} == {
            0: "not one of push_services",
            1: "not a subscription",
            3: "no point of P-256",
        }
        assert (outcomes.delivered, len(pushes())) == (1, 1)
    async with against(push_services=("*.example.com",)) as (sending, _):
        outcomes = await sending.send(make_batch(tokens=[strange, sample(2, "0")], message=MESSAGE))
        assert outcomes.delivered == 1


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("142.250.1.1", True),
        ("2a00:1450::1", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:0a00:0001::1", False),
    ],
)
def test_only_public_addresses_are_spoken_to(address: str, good: bool) -> None:
    assert is_public(address) is good


class _Resolver(trio.abc.HostnameResolver):
    """Answers each look-up with the next list of addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        return [(2, 1, 6, "", (address, port)) for address in self.answers.pop(0)]

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


async def test_a_name_that_leads_into_our_own_network_is_refused_without_a_connection(monkeypatch: Any) -> None:
    opened: list[str] = []

    async def open_tcp_stream(host: str, port: int) -> str:
        opened.append(host)
        return "connected"

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    trio.socket.set_custom_hostname_resolver(_Resolver(["142.250.1.1", "169.254.169.254"], ["142.250.1.1"]))
    with pytest.raises(OSError, match=r"169\.254\.169\.254 is no public address"):
        await open_public("push.example.com", 443)
    assert opened == []
    # the address that was looked at is the one that is connected to: there is no second look-up
    assert await open_public("push.example.com", 443) == "connected"
    assert opened == ["142.250.1.1"]


async def test_without_a_twin_a_service_in_our_own_network_is_not_reached(
    tmp_path: Path, make_batch: Any, running: Any, monkeypatch: Any
) -> None:
    key = tmp_path / "vapid.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    monkeypatch.setattr(transport, "_BEGIN_WITHIN", 0.3)
    settings = TransportSettings(
        channel="c",
        platform="webpush",
        app=SITE,
        credentials={"vapid_key": str(key), "subject": "mailto:a@example.com"},
        push_services=("localhost.example:9",),
    )
    trio.socket.set_custom_hostname_resolver(_Resolver(*[["127.0.0.1"]] * 100))
    token = sample(1, "0").replace("fcm.googleapis.com", "localhost.example:9")
    async with running(build(settings, timing=FAST, backoff=fast_backoff)) as sending:
        outcomes = await sending.send(make_batch(tokens=[token], message=MESSAGE))
        assert outcomes.exceptions[0].outcome is Outcome.POSTPONED
        assert "127.0.0.1 is no public address" in sending.outage.sentence


class _Pool:
    """What ``PushServices`` needs of a pool."""

    outage = None
    outage_since = silence = 0.0
    in_flight = 0

    def __init__(self) -> None:
        self.ended = trio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        await self.ended.wait()

    def stop(self) -> None:
        self.ended.set()


async def test_the_pool_that_was_idle_longest_makes_room_and_a_used_one_never_does(autojump_clock: Any) -> None:
    services = PushServices(lambda authority: _Pool(), most=2)  # type: ignore[arg-type, return-value]
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, services)
        a, b = await services.enter("a"), await services.enter("b")
        with trio.move_on_after(5) as waited:
            await services.enter("c")
        assert waited.cancelled_caught, "both are in use"
        services.leave(a)
        await trio.sleep(1)
        services.leave(b)
        assert await services.enter("c") is not None
        assert a.pool.ended.is_set()
        assert not b.pool.ended.is_set()
        assert await services.enter("b") is b
        services.stop()
        assert await services.enter("d") is None


async def _run(services: PushServices, *, task_status: Any) -> None:
    await services.run(task_status.started)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"app": "news"}, 'app: "news" is not a site\'s address'),
        ({"warm_up": "x"}, "warm_up: a browser shows every push"),
        ({"credentials": {"subject": "mailto:a@b.de"}}, "credentials.vapid_key: missing"),
        ({"subject": "mailto: <a@b.de>"}, "credentials.subject"),
        ({"vapid_key": "nowhere.pem"}, 'credentials.vapid_key: file "nowhere.pem" not found'),
        ({"vapid_key": __file__}, "is not a PEM private key"),
    ],
)
def test_a_mistake_in_a_channel_is_named(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    key = tmp_path / "vapid.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    credentials = {"vapid_key": str(key), "subject": "mailto:a@b.de"}
    credentials |= {name: changes.pop(name) for name in ("vapid_key", "subject") if name in changes}
    given = {"app": SITE, "credentials": credentials} | changes
    with pytest.raises(CredentialsError) as caught:
        build(TransportSettings(channel="c", platform="webpush", **given))
    assert what in str(caught.value)
