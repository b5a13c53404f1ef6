"""A standing channel says why: on the page of a campaign, in status and readiness, on the doctor's line."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing
import trustme

from broadside import cli, topology, wire
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.subscriber import Subscriber
from broadside.config.config import Channel, Config, Http, NodeConfig
from broadside.datafolder import DataFolder
from broadside.doctor import checks
from broadside.node.node import Node
from broadside.worker import worker
from campaigns.batch import Batch
from campaigns.channel_state import ChannelState
from campaigns.identity import parse_campaign
from campaigns.message import Message
from storage.link import Link
from supervision import Intensity
from supervision.child import Around, around_actors
from tests.actors.channel_group import ScriptedTransport, delivered
from tests.broadside.test_shared_tokens import signing_key
from tests.conftest import Server
from tests.storage.test_walk_verbs import House
from tests.transports.scripted_peer import Peer
from transports.contract import Outcomes

REFUSED = {
    "breaker": (400, {}, b'{"reason":"TopicDisallowed"}'),
    "quota": (503, {"retry-after": "86400"}, b'{"reason":"ServiceUnavailable"}'),
}


async def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    with trio.move_on_after(seconds):
        while not (found := condition()):  # noqa: ASYNC110 - what is waited for happens in other processes
            await trio.sleep(0.05)
        return found
    raise AssertionError(f"no {what} within {seconds} s")


class Apple(Peer):
    """Answers by the topic's last word."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = lambda seen: REFUSED.get(seen.headers["apns-topic"].rpartition(".")[2], (200, {}, b""))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """One node with a channel for each reason that a provider, the network or the configuration may give it."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    apple = Apple()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"https://localhost:{closed.getsockname()[1]}"
    key = signing_key(tmp_path, "ABCDE12345", "TEAM123456")
    data = tmp_path / "var"
    async with trio.open_nursery() as nursery:
        await nursery.start(apple.listen, context)

        def channel(name: str, origin: str = apple.origin, rate: float | None = None) -> Channel:
            app = f"com.example.{name}"
            return Channel(platform="apns", app=app, credentials=key, origin=origin, ca=ca, connections=1, rate=rate)

        channels = {name: channel(name) for name in ("well", "breaker", "quota")}
        channels["limiter"] = channel("limiter", rate=1)
        channels["unreachable"] = channel("unreachable", nowhere)
        config = Config(node=NodeConfig(data=data, workers=2), http=Http(bind="127.0.0.1:0"), channels=channels)
        folder = DataFolder(data)
        with folder.locked():
            node = Node(config, folder)
            up = trio.Event()
            nursery.start_soon(node.run, up.set)
            await up.wait()
            yield node
            node.stop()
        nursery.cancel_scope.deadline = trio.current_time() + 30
        apple.answer = lambda seen: (200, {}, b"")
        while node.tree.snapshot()["state"] != "stopped":  # noqa: ASYNC110 - it drains in other processes
            await trio.sleep(0.05)
        nursery.cancel_scope.cancel()


async def asked(node: Node, path: str) -> tuple[int, Any]:
    async with httpx.AsyncClient() as client:
        headers = {"authorization": f"Bearer {node._key}"}
        answer = await client.get(node.url + path, headers=headers, timeout=10)
    return answer.status_code, answer.json()


async def shown(node: Node, id: str) -> CampaignReport:
    found = await node.newsroom.campaign(parse_campaign(id))
    assert found is not None
    return found


@pytest.mark.timeout(240)
@pytest.mark.tarantool
async def test_a_standing_channel_says_why_wherever_a_person_looks(
    node: Node, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """C3, C2: breaker, a day of Retry-After, no way to the provider, and the channel's own rate."""
    # nobody has fired anything: who is out of reach is known all the same, within seconds
    await until(lambda: [each.reason for each in node._states()] == ["unreachable"], "outage")
    ready, said = await asked(node, "/readyz")
    assert (ready, said["ready"]) == (200, True), "the other channels can be fired at"
    assert len(said["alarms"]) == 1
    assert said["alarms"][0]["text"].startswith("channel unreachable: ")
    assert "broadside doctor" in said["alarms"][0]["remedy"]

    # each of two workers may send a batch at once and another one on credit: a thousand are left that must wait
    phones = {**dict.fromkeys(node._config.channels, 100), "limiter": 3000}
    await node.newsroom.subscribers.put(
        Subscriber(channel=name, token=f"{n:064x}") for name, count in phones.items() for n in range(count)
    )
    fired = await node.newsroom.fire(FireRequest(message=Message(title="t", body="b")))

    def reasons() -> dict[str, str]:
        return {each.channel: each.reason for each in node._states()}

    wanted = {name: name for name in ("breaker", "quota", "limiter", "unreachable")}

    async def agree(look: Callable[[], Awaitable[Any]], told: Callable[[Any], dict[str, str]]) -> Any:
        # while a busy machine takes more than two seconds for an answer, `answers` is a channel's worst for a moment
        found = None
        with trio.move_on_after(60):
            while told(found := await look()) != wanted:  # noqa: ASYNC110 - it changes in other processes
                await trio.sleep(0.05)
            return found
        raise AssertionError(f"{told(found)} in place of {wanted}: {found}")

    await until(lambda: reasons() == wanted, f"{wanted}, but {reasons()}")
    report = await agree(
        lambda: shown(node, fired.id), lambda found: {each.channel: each.reason for each in found.channel_states}
    )
    states = {each.channel: each for each in report.channel_states}
    assert set(report.paused_channels) == {"breaker", "quota", "unreachable"}, "who keeps a rate is not paused"
    assert "TopicDisallowed" in report.paused_channels["breaker"]
    now = node.newsroom._clock()
    for each in states.values():
        assert now - 60_000 < each.since <= now
        assert each.remedy
    assert states["quota"].until is not None
    assert now < states["quota"].until <= now + 301_000, "five minutes of the day that was asked for"

    def channels(answer: tuple[int, Any]) -> dict[str, str]:
        return {each["channel"]: each["reason"] for each in answer[1]["channels"]}

    def about(answer: tuple[int, Any]) -> dict[str, str]:
        return {each["about"]: each["about"] for each in answer[1]["alarms"]}

    await agree(lambda: asked(node, "/v1/status"), channels)
    ready, said = await agree(lambda: asked(node, "/readyz"), about)
    assert (ready, said["ready"]) == (200, True)
    assert {each["about"]: each["severity"] for each in said["alarms"]} == {
        "breaker": "critical", "unreachable": "critical", "quota": "notice", "limiter": "notice"
    }, "a rate and a quota pass by themselves"  # fmt: skip

    findings = await trio.to_thread.run_sync(lambda: list(checks._node(node._folder)))
    assert {each.name: each.ok for each in findings} == {
        "node": True, "breaker": False, "unreachable": False, "quota": True, "limiter": True
    }  # fmt: skip
    capfd.readouterr()
    code = await trio.to_thread.run_sync(
        lambda: cli.run(["campaign", "show", fired.id, "--data", str(node._folder.root)])
    )
    out = capfd.readouterr().out
    assert code == 0
    assert "unreachable stands still since " in out
    assert "quota is slowed down since " in out
    assert ", tried again at " in out
    await node.newsroom.cancel(parse_campaign(fired.id))


class Scripted(ScriptedTransport):
    """Makes a transport of the product's contract of what the actors' tests need of one."""

    outage = None
    quota = None


class Crashing(Scripted):
    """A transport with a bug that hits every batch."""

    async def send(self, batch: Batch) -> Outcomes:
        raise RuntimeError("a bug in the transport")


class Reports:
    """The node's end of a worker's line."""

    def __init__(self) -> None:
        self.stats: list[wire.Stats] = []
        self.beats: list[float] = []

    async def listen(self, line: wire.MessageStream) -> None:
        while (message := await line.receive()) is not None:
            if isinstance(message, wire.Stats):
                self.stats.append(message)
            elif isinstance(message, wire.Beat):
                self.beats.append(trio.current_time())

    def states(self) -> dict[str, ChannelState]:
        return {each.channel: each for each in self.stats[-1].states} if self.stats else {}


def hello(server: Server) -> wire.Hello:
    endpoint = server.embedded.endpoint
    here = wire.TarantoolLogin(endpoint.uri, endpoint.user, endpoint.password)
    setups = [
        wire.ChannelSetup(
            name=name, platform="apns", app="a.b", credentials={}, origin=None, ca=None, connections=1, pace=None,
            dead_limit=1.0,
        )
        for name in ("ios", "android")
    ]  # fmt: skip
    return wire.Hello(node="n1", worker="n1/worker-1", store=here, queue=here, peers={}, channels=setups, reports=True)


@asynccontextmanager
async def working(
    server: Server, transports: dict[str, ScriptedTransport], around: Around | None = None
) -> AsyncIterator[Reports]:
    """A real worker in this process. ``around``: runs its actors, as the harness for crashes does."""

    async def serve() -> None:
        around_actors.set(around)
        await worker.serve(theirs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "build_transport", lambda setup: transports[setup.name])
        patch.setattr(topology, "BUGS", Intensity(2, 600.0))  # a busy machine takes seconds for a restart
        patch.setattr(worker.gc, "freeze", lambda: None)
        ours, theirs = trio.testing.memory_stream_pair()
        line, seen = wire.MessageStream(ours), Reports()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seen.listen, line)
            async with trio.open_nursery() as life:
                life.start_soon(serve)
                await line.send(hello(server))
                yield seen
                await line.send(wire.Stop())
            nursery.cancel_scope.cancel()


@pytest.mark.timeout(240)
@pytest.mark.tarantool
async def test_a_channel_whose_transport_crashes_is_parked_and_its_neighbour_delivers(
    own_tarantool: Server, own_link: Link
) -> None:
    """C1, C3: the whole worker ended after 10.8 s, and had stopped the well channel six times."""
    house = House(own_link)
    await house.join()
    await house.subscribers(400)
    await house.fire(page_size=20)
    sick, well = Crashing(delivered), Scripted(delivered)
    async with working(own_tarantool, {"ios": sick, "android": well}) as seen:
        state = await until(lambda: seen.states().get("ios"), "parked channel")
        assert state.reason == "parked"
        assert "RuntimeError: a bug in the transport" in state.sentence
        assert state.until is not None
        assert state.until - state.since == pytest.approx(60_000, abs=1000)
        await until(lambda: sum(len(batch.recipients) for batch in well.sent) == 200, "end of the neighbour")
        assert not well.ended.is_set(), "it was not stopped even once"
        assert set(seen.states()) == {"ios"}


@pytest.mark.timeout(60)
@pytest.mark.tarantool
async def test_beats_go_on_while_the_tree_restarts_a_group(own_tarantool: Server, own_link: Link) -> None:
    """B6: telemetry was the last child of a rest_for_one tree, and silent while a walker finished its page."""
    house = House(own_link)
    await house.join()
    crashed, finished = trio.Event(), trio.Event()

    async def around(path: str, run: Callable[[], Awaitable[None]]) -> None:
        if path.endswith("/delivery") and not crashed.is_set():
            with trio.move_on_after(1.5):
                await run()
            crashed.set()
            raise RuntimeError("a bug")
        await run()
        if path == "campaigns/walker" and crashed.is_set() and not finished.is_set():
            await trio.sleep(4)  # a page in hand
            finished.set()

    async with working(own_tarantool, {name: Scripted(delivered) for name in ("ios", "android")}, around) as seen:
        with trio.fail_after(30):
            await crashed.wait()
            began = trio.current_time()
            await finished.wait()
            ended = trio.current_time()
    beats = [began, *(beat for beat in seen.beats if began < beat < ended), ended]
    longest = max(after - before for before, after in itertools.pairwise(beats))
    assert ended - began >= 4
    assert longest < 2.5, f"{longest:.1f} s without a beat"
