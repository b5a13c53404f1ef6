"""The real walker in rings of up to 64 nodes on a virtual clock (benchmarks/ring_model.py)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.ring_model import Costs, Ring, simulate
from broadside.newsroom.newsroom import PAGE_SIZE

COSTS = Costs(walk=1.5, send=6.0, queue=2.5, read=0.8, ledger=0.4)
SUBSCRIBERS = 800_000


@pytest.mark.parametrize("nodes", [1, 2, 7, 64])
def test_every_page_is_walked_once_however_many_nodes_there_are(nodes: int) -> None:
    result = simulate(Ring(nodes, workers=1), COSTS, SUBSCRIBERS)
    segments = max(2, nodes)  # the last page of each is a short one
    bounds = [SUBSCRIBERS * n // segments for n in range(segments + 1)]
    assert sum(result.pages_by_node) == sum(-(-(end - first) // PAGE_SIZE) for first, end in pairwise(bounds))


def test_one_machine_takes_what_its_cores_cost_and_little_more() -> None:
    result = simulate(Ring(1, round_trip=0, durable=0, beside=True), COSTS, SUBSCRIBERS)
    bound = SUBSCRIBERS * sum((COSTS.walk, COSTS.send, COSTS.queue, COSTS.read, COSTS.ledger)) / 2 / 1e6
    assert bound <= result.seconds <= 1.1 * bound


def test_twice_the_nodes_take_half_the_time_until_the_store_is_what_all_wait_for() -> None:
    one, two, many = (simulate(Ring(nodes), COSTS, SUBSCRIBERS) for nodes in (1, 2, 16))
    assert two.seconds == pytest.approx(one.seconds / 2, rel=0.1)
    assert many.store_busy > 0.9
    assert many.seconds == pytest.approx(SUBSCRIBERS * (COSTS.read + COSTS.ledger) / 1e6, rel=0.1)


def test_read_replicas_leave_the_store_its_ledger() -> None:
    alone, copied = (simulate(Ring(16, replicas=n), COSTS, 4 * SUBSCRIBERS) for n in (0, 8))
    assert copied.seconds == pytest.approx(4 * SUBSCRIBERS * COSTS.ledger / 1e6, rel=0.15)
    assert copied.seconds < alone.seconds / 2


def test_a_slow_wire_costs_a_ring_its_hops() -> None:
    near, far = (simulate(Ring(4, round_trip=trip), COSTS, SUBSCRIBERS) for trip in (0.0002, 0.1))
    assert far.step_ms > 300, "an offer, a claim, a reading: a round trip each"
    assert far.seconds > 2 * near.seconds
