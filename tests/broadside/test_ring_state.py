"""What runs in every node of the ring, from any node: what a node writes of itself, the store, the API, the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from broadside.api.node_status import TubeStatus
from broadside.api.ring_state import (
    LARGEST_STATE,
    ActorState,
    ChannelFlow,
    NodeState,
    ProcessState,
    RingState,
    read_state,
    write_state,
)
from broadside.newsroom.ring import Ring
from broadside.node.flow_meter import WINDOW, Counted, FlowMeter
from campaigns.clock import wall_clock
from storage.link import Endpoint, Link
from storage.store import Store
from tests.broadside.api_parts import api_of
from tests.broadside.test_api import KEY, newsroom_over
from tests.broadside.test_events import read
from tests.draws import drawn
from tests.storage.test_channel_states import joined, state
from transports.traffic import CLASSES, SHORTEST, quantile, time_class

OWN = {"authorization": f"Bearer {KEY}"}

names = st.text("abcdefgh-:", min_size=1, max_size=20)
actors = st.recursive(
    st.builds(
        ActorState,
        id=names,
        state=st.sampled_from(["running", "running", "running", "parked", "restarting", "stopped"]),
        incarnation=st.integers(1, 9),
        crash=st.sampled_from(["", "", "", "ValueError: " + "ä" * 180]),
    ),
    lambda below: st.builds(ActorState, id=names, children=st.lists(below, max_size=6)),
    max_leaves=30,
)


def tree(workers: int, channels: int, **faults: str) -> ActorState:
    """A node's tree. ``faults``: a channel, as ``c7``, → its crash."""

    def group(name: str) -> ActorState:
        parts = [ActorState(id=each, since=1_795_906_800_000) for each in ("settler", "transport", "consumer")]
        crash = faults.get(name, "")
        return ActorState(id=f"channel:{name}", since=1_795_906_800_000, crash=crash, children=parts)

    groups = [group(f"c{n}") for n in range(channels)]
    return ActorState(id="node", children=[ActorState(id=f"worker-{n}", children=groups) for n in range(workers)])


def every(actor: ActorState) -> list[ActorState]:
    return [actor, *(below for child in actor.children for below in every(child))]


@pytest.mark.parametrize("copies", [1, 90])
@settings(max_examples=drawn(60))
@given(tree=actors)
def test_what_a_node_writes_is_bounded_and_can_be_read(copies: int, tree: ActorState) -> None:
    """Issue 23: of a tree that is too large no fault is folded while there is anything sound to fold."""
    root = ActorState(id="node", children=[tree] * copies)
    flow = ChannelFlow(channel="ios", platform="apns", quota="ä" * 300)
    processes = [ProcessState(name="worker-1")] * copies
    whole = NodeState(tree=root, channels=[flow] * copies, processes=processes)
    text = write_state(whole)
    assert len(text.encode()) <= LARGEST_STATE
    found = read_state(text)
    assert found is not None
    assert found.tree is not None
    if len(msgspec.json.encode(whole)) <= LARGEST_STATE:
        assert found == whole
    assert found.tree.below == root.below, "what is not listed is counted"


def test_of_many_channels_the_sick_one_stays_in_sight() -> None:
    """Issue 23: 8 workers with 100 channels are 3,200 actors."""
    found = read_state(write_state(NodeState(tree=tree(8, 100, c77="ValueError: a bug"))))
    assert found is not None
    assert found.tree is not None
    shown = every(found.tree)
    assert [each.crash for each in shown if each.id == "channel:c77"] == ["ValueError: a bug"] * 8
    assert len(shown) < 1000
    assert found.tree.below == 8 + 8 * 400


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ready": "yes"}', '{"tree": {"id": 7}}', "[" * 60_000])
def test_a_state_of_another_version_that_cannot_be_read_is_none(text: str) -> None:
    """Issue 23."""
    assert read_state(text) is None


def test_a_state_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """Issue 23."""
    found = read_state('{"version": "9", "novelty": [1], "tree": {"id": "n", "mood": "good"}}')
    assert found == NodeState(version="9", tree=ActorState(id="n"))


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(1, 500)), min_size=1, max_size=40), st.floats(0.01, 1.0))
def test_an_answer_times_quantile_is_right_to_a_fifth(times: list[tuple[float, int]], share: float) -> None:
    """Issue 23, CONSOLE §3: p50 and p99."""
    counts = [0] * CLASSES
    for seconds, n in times:
        counts[time_class(seconds)] += n
    each = sorted(seconds for seconds, n in times for _ in range(n))
    exact = next(seconds for index, seconds in enumerate(each, 1) if index >= share * len(each) - 1e-9)
    found = quantile(counts, share)
    assert found is not None
    if SHORTEST < exact < 40:
        assert exact / 1.2 <= found <= exact * 1.2
    assert quantile([0] * CLASSES, share) is None


@given(st.lists(st.tuples(st.floats(1.0, 3.0), st.integers(0, 9000)), min_size=2, max_size=40))
def test_a_rate_is_that_of_the_last_seconds_and_never_below_zero(steps: list[tuple[float, int]]) -> None:
    """Issue 23: a worker that starts anew counts its answers from 0 again."""
    meter, now, settled, past = FlowMeter(), 0.0, 0, []
    for seconds, n in steps:
        now, settled = now + seconds, settled + n
        past.append((now, settled))
        meter.sample(now, {"ios": Counted(settled, [n % 700] * CLASSES)})
    inside = [(at, total) for at, total in past if at >= now - WINDOW]
    first = past[max(0, len(past) - len(inside) - 1)]
    flow = meter.flow("ios")
    assert flow.rate == pytest.approx((settled - first[1]) / (now - first[0]), rel=0.01)
    assert meter.flow("unknown").rate == 0


async def test_any_node_knows_what_every_node_wrote_of_itself_and_a_dead_ones_last_word(own_link: Link) -> None:
    """Issue 23, CONSOLE §3: the panel is for the whole ring, from any node."""
    store, now = Store(own_link), wall_clock()
    one, two = await joined(store, "n1"), await joined(store, "n2")
    mine = NodeState(version="1", ready=True)
    theirs = NodeState(version="2", tree=tree(1, 1))
    await store.node_renew("n1", one, now, [], [])
    await store.node_renew("n2", two, now - 3_600_000, [], [state("ios")], write_state(theirs))

    async def own() -> NodeState:
        return mine

    ring = Ring(store=store, node="n1", own=own)
    found = {each.name: each for each in (await ring.state()).nodes}
    assert (found["n1"].this, found["n1"].status, found["n1"].state) == (True, "alive", mine)
    assert (found["n2"].this, found["n2"].status, found["n2"].state) == (False, "away", theirs)
    assert (found["n2"].told_at, found["n2"].seen_at) == (now - 3_600_000, now - 3_600_000)
    assert [each.reason for each in found["n2"].standing] == ["breaker"]
    await store.node_renew("n2", two, now, [], [])
    found = {each.name: each for each in (await ring.state()).nodes}
    assert (found["n2"].status, found["n2"].state) == ("alive", theirs), "an empty text leaves the last one"
    await store.node_forget("n2")
    found = {each.name: each for each in (await ring.state()).nodes}
    assert (found["n2"].status, found["n2"].state) == ("fenced", theirs)


async def test_the_store_takes_no_state_that_is_too_large_and_none_of_a_forgotten_epoch(own_link: Link) -> None:
    """Issue 23: the store trusts no node to keep the bound itself."""
    store = Store(own_link)
    epoch = await joined(store, "n1")
    await store.node_renew("n1", epoch, 1, [], [], "x" * LARGEST_STATE)
    await store.node_renew("n1", epoch, 2, [], [], "y" * (LARGEST_STATE + 1))
    assert await store.node_renew("n1", epoch + 1, 3, [], [], "z") is None
    ((name, at, text),) = await store.node_states()
    assert (name, at, text) == ("n1", 1, "x" * LARGEST_STATE)


async def test_a_node_learns_that_somebody_looks(own_link: Link) -> None:
    """Issue 23: tubes are counted for other nodes only then, because counting costs the queue some time."""
    store = Store(own_link)
    epoch = await joined(store, "n1")
    lease = await store.node_renew("n1", epoch, 1)
    assert lease is not None
    assert not lease.watched
    await store.node_states()
    lease = await store.node_renew("n1", epoch, 2)
    assert lease is not None
    assert lease.watched


class Lab:
    """An API over a real store, and what its node says of itself."""

    def __init__(self, link: Link) -> None:
        self.state = NodeState(version="1", ready=True, tree=tree(1, 1))
        self.asked = 0
        self.ring = Ring(store=Store(link), node="n1", own=self.own)
        app = api_of(newsroom_over(link), self.ring, link, KEY).app()
        transport = httpx.ASGITransport(app=app)
        self.api = httpx.AsyncClient(transport=transport, base_url="http://node", headers=OWN)

    async def own(self) -> NodeState:
        self.asked += 1
        return self.state


@pytest.fixture
async def lab(own_link: Link) -> AsyncIterator[Lab]:
    lab = Lab(own_link)
    store = Store(own_link)
    await store.node_renew("n1", await joined(store, "n1"), wall_clock(), [], [])
    async with lab.api:
        yield lab


async def test_the_api_answers_with_the_ring(lab: Lab) -> None:
    """Issue 23."""
    answer = (await lab.api.get("/v1/ring")).raise_for_status()
    found = msgspec.json.decode(answer.content, type=RingState)
    assert [(each.name, each.status) for each in found.nodes] == [("n1", "alive")]
    assert found.nodes[0].state == lab.state
    assert found.memory["store"].size > 0


async def test_only_who_asks_for_the_ring_is_sent_it_and_only_when_it_has_changed(lab: Lab) -> None:
    """Issue 23: the panel is live without polling, and an editor's page does not pay for it."""
    with trio.fail_after(20):
        plain = read((await lab.api.get("/v1/events", params={"limit": 2})).text)
    assert {each.name for each in plain} == {"alarms", "channels"}
    assert lab.asked == 0
    with trio.fail_after(20):
        first = read((await lab.api.get("/v1/events", params={"limit": 3, "ring": "true"})).text)
    assert [each.data["nodes"][0]["name"] for each in first if each.name == "ring"] == ["n1"]
    async with trio.open_nursery() as nursery:
        told: list[str] = []

        async def listen() -> None:
            query = {"limit": 4, "ring": "true"}
            told.extend(each.name for each in read((await lab.api.get("/v1/events", params=query)).text))

        nursery.start_soon(listen)
        asked = lab.asked
        with trio.fail_after(20):
            while lab.asked < asked + 3:  # noqa: ASYNC110 - the feed's own pace
                await trio.sleep(0.05)
        assert told == [], "three looks at a ring that stands still are one event, and the fourth has not come"
        lab.state = msgspec.structs.replace(lab.state, channels=[ChannelFlow(channel="ios", platform="apns", rate=9.0)])
    assert told.count("ring") == 2


async def test_while_the_store_is_away_the_node_shows_itself_and_says_so() -> None:
    """Issue 23."""

    async def own() -> NodeState:
        return NodeState(version="1")

    found = await Ring(store=Store(Link({"store": Endpoint("127.0.0.1:1", "u", "p")})), node="n1", own=own).state()
    assert [(each.name, each.this, each.state) for each in found.nodes] == [("n1", True, NodeState(version="1"))]
    assert found.store


def test_a_ring_that_stands_still_is_steady_and_one_that_is_away_is_not() -> None:
    """Issue 23: a heartbeat alone is no event."""
    text = '{"nodes": [{"name": "n1", "status": "alive", "seen_at": %d, "told_at": %d}]}'
    early, late = (msgspec.json.decode(text % (at, at), type=RingState) for at in (1, 2))
    assert early != late
    assert early.steady() == late.steady()
    away = msgspec.json.decode(text.replace("alive", "away") % (1, 1), type=RingState)
    assert away.steady() != early.steady()


def test_no_field_of_a_nodes_state_can_hold_a_secret() -> None:
    """Issue 23: the whole record, by name, for whoever adds a field."""
    fields = {name for kind in (NodeState, ActorState, ChannelFlow, ProcessState) for name in kind.__struct_fields__}
    assert fields == {
        "version", "started_at", "ready", "processes", "tree", "channels", "queue", "id", "state", "incarnation",
        "since", "restarts", "crash", "crashed_at", "children", "folded", "channel", "platform", "breaker", "in_hand",
        "rate", "limit", "left", "quota", "connections", "wanted", "streams", "streams_allowed", "window", "p50", "p99",
        "name", "pid", "serving", "starts", "rss", "most", "granted", "round_trip", "full_rate", "ramp",
        "provider_rate", "waits",
    }  # fmt: skip
    assert TubeStatus.__struct_fields__ == ("tubes", "unsettled", "parked", "outbox", "marks", "memory")
