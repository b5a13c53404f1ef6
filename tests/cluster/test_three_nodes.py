"""A ring of three: batons go round, a dead peer is passed over, one that returns finishes what is its own."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from broadside.api.v1 import table
from broadside.errors import ApiError
from tests.cluster.ring import IN_FLIGHT, Ring

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    ring = Ring(tmp_path_factory.mktemp("ring"), 20_000, nodes=3, stores=1, latency_ms=50, workers=1)
    try:
        yield ring.start()
    finally:
        ring.end()


@pytest.mark.timeout(120)
def test_batons_go_round_the_ring(ring: Ring) -> None:
    run = ring.fire()
    run.done()
    run.judge(0)
    owners = [page["node"] for page in run.pages()]
    assert Counter(owners).keys() == {"node-1", "node-2", "node-3"}
    assert min(Counter(owners).values()) >= len(owners) // 3 - 2, "each its share"


@pytest.mark.timeout(120)
def test_a_dead_peer_is_passed_over_and_finishes_its_own_tubes_when_it_returns(ring: Ring) -> None:
    run = ring.fire()
    run.walked(8)
    third = ring.node(3)
    third.kill()
    own = {(page["segment"], page["seq"]) for page in run.pages() if page["node"] == "node-3"}
    assert own, "it walked some pages"

    def walked_without_it() -> bool:
        pages = run.pages()
        return pages[-1]["to_id"] >= ring.subscribers and all(
            page["state"] == "settled" for page in pages if page["node"] != "node-3"
        )

    run.until(walked_without_it, "end of the walk without node-3", 60.0)
    left = [page for page in run.pages() if page["state"] != "settled"]
    assert {page["node"] for page in left} == {"node-3"}, "what lies in its tubes waits for it"
    assert run.state() == "firing"
    third.begin()
    run.done()
    run.judge(IN_FLIGHT)
    assert {page["node"] for page in run.pages() if (page["segment"], page["seq"]) in own} == {"node-3"}


@pytest.mark.sweep
@pytest.mark.timeout(120)
def test_a_peer_that_is_there_but_silent_holds_nobody_up_for_long(ring: Ring) -> None:
    (queue,) = ring.node(2).children("embedded.lua")
    run = ring.fire()
    run.walked(3)
    os.kill(queue, signal.SIGSTOP)
    try:
        run.until(lambda: run.pages()[-1]["to_id"] >= ring.subscribers, "end of the walk", 60.0)
    finally:
        os.kill(queue, signal.SIGCONT)
    run.done()
    run.judge(IN_FLIGHT)


@pytest.mark.sweep
@pytest.mark.timeout(120)
def test_a_forgotten_node_is_not_waited_for_and_joins_anew_when_it_returns(ring: Ring) -> None:
    run = ring.fire()
    run.walked(8)
    with ring.node(1).client() as client:
        with pytest.raises(ApiError, match=r"node-3 was seen .* ago: it is probably alive"):
            client.call(table.FORGET, name="node-3")
        third = ring.node(3)
        third.kill()
        accepted = sum(third.pushes().values())
        forced = client.call(table.FORGET, query=table.ForgetQuery(force=True), name="node-3")
        assert forced.status in ("fenced", "forgotten")
        run.done()
        run.judge(IN_FLIGHT + accepted)  # of what it had sent, it can have told no more than the store knows
        assert "node-3" not in {page["node"] for page in run.pages() if page["state"] != "settled"}
        (before,) = [peer for peer in client.call(table.PEERS).items if peer.name == "node-3"]
        assert before.status == "forgotten"
        third.begin()
        with third.client() as returned:
            run.until(lambda: returned.ready()[0], "readiness", 30.0)
        (after,) = [peer for peer in client.call(table.PEERS).items if peer.name == "node-3"]
        assert (after.status, after.epoch > before.epoch) == ("current", True)
    again = ring.fire()
    again.done()
    again.judge(0)
    assert "node-3" in {page["node"] for page in again.pages()}
