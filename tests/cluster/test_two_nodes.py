"""Two nodes with one base: whatever dies in mid-walk, every page is walked once and no phone is forgotten."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broadside.api.ring_state import ActorState, NodeState
from broadside.api.v1 import table as routes
from tests.cluster.cable import Cable
from tests.cluster.ring import PLATFORMS, Ring, Run

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]

Fault = Callable[[Run], int]
FAULTS: dict[str, Fault] = {
    "the workers of a node are killed": Run.kill_workers,
    "the queue of a node is killed": Run.kill_queue,
    "the store is killed and comes back": lambda run: run.kill_store(1.0),
    "the wire between the nodes is cut": lambda run: run.cut(3.0),
}
SHORT = list(FAULTS)[1:]  # `./dev system --quick` kills workers with every commit
LONG: dict[str, Fault] = FAULTS | {
    "the store is away longer than a lease": lambda run: run.kill_store(13.0),
    "the wire is cut longer than a lease": lambda run: run.cut(18.0),
}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    ring = Ring(tmp_path_factory.mktemp("ring"), 20_000, latency_ms=50)
    try:
        yield ring.start()
    finally:
        ring.end()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", SHORT)
def test_nothing_is_lost_and_no_page_is_walked_twice_when(ring: Ring, fault: str) -> None:
    run = ring.fire()
    run.walked(3)
    bound = FAULTS[fault](run)
    run.done()
    run.judge(bound)
    assert set(Counter(page["node"] for page in run.pages())) == {"node-1", "node-2"}


@pytest.mark.timeout(240)
def test_any_node_shows_what_runs_in_every_node(ring: Ring) -> None:
    """Issue 23.2, CONSOLE §3: node 1 shows node 2's tree with a worker's crash in words, its channels and its tubes."""

    def seen() -> NodeState:
        with ring.node(1).client() as client:
            (found,) = [each for each in client.call(routes.RING).nodes if each.name == "node-2"]
        assert (found.this, found.status) == (False, "alive")
        return found.state or NodeState()

    def actors(actor: ActorState | None) -> list[ActorState]:
        return [] if actor is None else [actor, *(below for child in actor.children for below in actors(child))]

    def crashed() -> list[ActorState]:
        return [each for each in actors(seen().tree) if each.id.startswith("worker-") and each.incarnation > 1]

    run = ring.fire()
    run.done()
    tube = f"push_{seen().channels[0].channel}"
    run.until(lambda: (queue := seen().queue) is not None and tube in queue.tubes, "tubes of node-2", 30)
    flows = {flow.channel: flow for flow in seen().channels}
    assert flows.keys() == PLATFORMS.keys()
    for flow in flows.values():
        assert min(flow.connections, flow.wanted) > 0
        assert (flow.breaker, flow.streams_allowed > 0, flow.window > 0) == ("closed", True, True)
    os.kill(ring.node(2).children("broadside.worker")[0], signal.SIGKILL)
    run.until(crashed, "crash of a worker", 30)
    assert crashed()[0].crash.endswith("ended with signal 9")
    run.until(lambda: any(each.id == "settler" for each in actors(crashed()[0])), "tree of the new worker", 60)


@pytest.mark.sweep
@pytest.mark.timeout(240)
def test_a_rolling_restart_in_mid_campaign_loses_and_repeats_nothing(ring: Ring) -> None:
    run = ring.fire()
    run.walked(3)
    for node in ring.cluster.nodes:
        node.stop()
        assert node.process is not None
        assert node.process.returncode == 0, node.last_words()
        node.begin()
    run.done()
    run.judge(0)


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[str, Run]]]:
    """Who ran, for the table that is printed at the end and kept in var/cluster.md."""
    runs: list[tuple[str, Run]] = []
    yield runs
    columns = ("seconds", "pages", "leases", "lost", "twice", "at most")
    lines = ["| fault | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for fault, run in runs:
        told = run.told | {"pages": " + ".join(str(n) for n in run.told["pages"].values())}
        lines.append(f"| {fault} | " + " | ".join(str(told.get(column, "-")) for column in columns) + " |")
    text = "\n".join(lines)
    print(f"\n{text}")
    Path("var").mkdir(mode=0o700, exist_ok=True)  # a node refuses a data folder that is open to others
    Path("var/cluster.md").write_text(text + "\n")


def in_mid_walk(ring: Ring, strike: Fault) -> Run:
    try:
        run = ring.start().fire()
        walked = run.walked(60)
        assert walked < 200, "in mid-walk"
        bound = strike(run)
        run.done(400.0)
        run.judge(bound)
    finally:
        ring.end()
    return run


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", LONG)
def test_with_200_000_subscribers_nothing_is_lost_when(
    tmp_path: Path, table: list[tuple[str, Run]], fault: str
) -> None:
    table.append((fault, in_mid_walk(Ring(tmp_path, 200_000), LONG[fault])))


@pytest.mark.sweep
@pytest.mark.root
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", [3, 18])
def test_with_200_000_subscribers_nothing_is_lost_when_two_servers_are_parted_for(
    tmp_path: Path, table: list[tuple[str, Run]], seconds: int
) -> None:
    ring = Ring(tmp_path, 200_000, cable=Cable())
    table.append(
        (
            f"two servers (network namespaces) are parted for {seconds} s",
            in_mid_walk(ring, lambda run: run.cut(seconds)),
        )
    )
