"""Two nodes with one base: whatever dies in mid-walk, every page is walked once and no phone is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.ring import IN_FLIGHT, Ring, Run

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]

FAULTS: dict[str, tuple[Callable[[Run], None], int]] = {
    "the workers of a node are killed": (Run.kill_workers, IN_FLIGHT),
    "the queue of a node is killed": (Run.kill_queue, IN_FLIGHT),
    "the store is killed and comes back": (lambda run: run.kill_store(1.0), 0),
    "the wire between the nodes is cut": (lambda run: run.cut(3.0), 0),
}
LONG: dict[str, tuple[Callable[[Run], None], int]] = FAULTS | {
    "the store is away longer than a lease": (lambda run: run.kill_store(13.0), 0),
    "the wire is cut longer than a lease": (lambda run: run.cut(18.0), 0),
}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    ring = Ring(tmp_path_factory.mktemp("ring"), 20_000)
    try:
        yield ring.start()
    finally:
        ring.end()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_no_page_is_walked_twice_when(ring: Ring, fault: str) -> None:
    strike, duplicates = FAULTS[fault]
    run = ring.fire()
    run.walked(3)
    strike(run)
    run.done()
    run.judge(duplicates)
    assert set(Counter(page["node"] for page in run.pages())) == {"node-1", "node-2"}


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


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", LONG)
def test_with_200_000_subscribers_nothing_is_lost_when(tmp_path: Path, fault: str) -> None:
    strike, duplicates = LONG[fault]
    ring = Ring(tmp_path, 200_000)
    try:
        run = ring.start().fire()
        walked = run.walked(60)
        assert walked < 200, "in mid-walk"
        strike(run)
        run.done(400.0)
        run.judge(duplicates)
    finally:
        ring.end()
