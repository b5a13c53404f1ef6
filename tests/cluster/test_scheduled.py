"""Two nodes and a campaign that starts later: one of them starts it, once, also if its own node is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from broadside.api.campaign_report import FireRequest
from campaigns.message import Message
from tests.cluster.ring import Ring, Run

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    ring = Ring(tmp_path_factory.mktemp("ring"), 2_000, latency_ms=5, workers=1)
    try:
        yield ring.start()
    finally:
        ring.end()


def scheduled(ring: Ring, seconds: float) -> Run:
    """A campaign that node 1 is asked for."""
    start = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    with ring.node(1).client() as client:
        report = client.fire(FireRequest(message=Message(title="t", body="b"), start=start))
    assert report.state == "scheduled"
    return Run(ring, report.id, ring.cluster.pushes())


@pytest.mark.timeout(600)
def test_two_living_nodes_start_it_once(ring: Ring) -> None:
    run = scheduled(ring, 2)
    run.done()
    run.judge(0)


@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_another_node_starts_it_if_the_one_that_took_it_is_gone(ring: Ring) -> None:
    run = scheduled(ring, 3)
    ring.node(1).kill()
    run.done(asked=2)
    run.judge(0)
    assert {page["node"] for page in run.pages()} == {"node-2"}
