"""A ring with a campaign that has a rate: the nodes together keep it, and one alone has all of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from broadside.api.campaign_report import FireRequest
from broadside.api.outward_records import RateRequest
from broadside.api.v1 import table
from campaigns.message import Message
from tests.cluster.ring import Ring, until

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]
RATE = 300.0


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    ring = Ring(tmp_path_factory.mktemp("ring"), 12_000, stores=1, latency_ms=20, workers=1)
    try:
        yield ring.start()
    finally:
        ring.end()


def fire(ring: Ring, title: str) -> str:
    with ring.node(1).client() as client:
        return client.fire(FireRequest(message=Message(title=title, body="b"), rate=RATE)).id


def sent(ring: Ring) -> tuple[float, list[int]]:
    """When, and the pushes that each node's twins have accepted."""
    return time.monotonic(), [node.pushes().total() for node in ring.cluster.nodes]


def test_two_nodes_together_keep_the_rate_and_a_person_makes_it_faster(ring: Ring) -> None:
    """Issue 25.3."""
    before = sum(sent(ring)[1])
    campaign = fire(ring, "slowly")
    until(lambda: sum(sent(ring)[1]) > before + RATE, "pushes", 30)
    (began, first), _, (ended, last) = sent(ring), time.sleep(10), sent(ring)  # type: ignore[func-returns-value]
    rate = (sum(last) - sum(first)) / (ended - began)
    assert 0.8 * RATE < rate < 1.1 * RATE, (rate, first, last)
    assert all(after > at for at, after in zip(first, last, strict=True)), "both send"
    with ring.node(2).client() as client:
        client.call(table.RATE, RateRequest(rate=1e5), id=campaign)
        until(lambda: client.call(table.CAMPAIGN, id=campaign).state == "done", "end", 60)


def test_a_node_that_is_left_alone_gets_all_of_the_rate_once_the_other_s_lease_is_over(ring: Ring) -> None:
    campaign = fire(ring, "alone")
    until(lambda: sum(sent(ring)[1]) > 0, "pushes", 30)
    ring.node(2).kill()
    try:
        time.sleep(13)  # its lease, and a heartbeat
        (began, first), _, (ended, last) = sent(ring), time.sleep(8), sent(ring)  # type: ignore[func-returns-value]
        rate = (last[0] - first[0]) / (ended - began)
        assert 0.8 * RATE < rate < 1.1 * RATE, rate
    finally:
        ring.node(2).begin()
    with ring.node(1).client() as client:
        client.call(table.RATE, RateRequest(rate=1e5), id=campaign)
        until(lambda: client.call(table.CAMPAIGN, id=campaign).state == "done", "end", 90)
