"""The model of the walk, searched through to two faults, and followed through thousands of interleavings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import trio
from hypothesis import HealthCheck, given, settings

from tests.conftest import Server
from tests.model import test_walk_verbs_in_any_order as verbs
from tests.model.clauses import Clauses
from tests.model.faults import KINDS
from tests.model.removals import SECOND_LOCKS, small
from tests.model.search import search
from tests.model.test_walk_model import SCHEDULES, follow
from tests.model.world import Scenario

WORLDS = {
    "three nodes": Scenario(nodes=3, pages=1, faults=2, kinds=KINDS),
    "a pause": Scenario(nodes=2, pages=1, faults=2, kinds=KINDS, pause=True),
    "remainders": Scenario(nodes=2, pages=1, recipients=2, attempts=2, parts=True, faults=2, kinds=KINDS),
    "two batches that interleave": Scenario(nodes=1, pages=1, recipients=3, interleaved=True, faults=2, kinds=KINDS),
    "two workers and a pause": Scenario(nodes=1, workers=2, pages=1, faults=2, kinds=KINDS, pause=True),
    "two pages on one node": Scenario(nodes=1, pages=2, faults=2, kinds=KINDS),
    "two pages, lost on the way": small("lost baton", "lost node", "early shepherd", pages=2, faults=2),
    "three pages": small("lost baton", "early shepherd", pages=3, faults=2),
    "two pages, one forgotten in error": small("wrong forget", pages=2),
}


@pytest.mark.sweep
@pytest.mark.parametrize("name", WORLDS)
def test_no_law_breaks_within_two_faults(name: str) -> None:
    found = search(WORLDS[name])
    print(f"{found.worlds} worlds")
    assert not found.law, str(found)


@pytest.mark.sweep
@pytest.mark.parametrize("clause", SECOND_LOCKS)
def test_a_second_lock_is_one_within_two_faults(clause: str) -> None:
    clauses = replace(Clauses(), **{clause: False})
    found = search(Scenario(nodes=2, pages=1, faults=2, kinds=KINDS, clauses=clauses))
    assert not found.law, str(found)


@pytest.mark.sweep
@given(schedule=SCHEDULES)
@settings(max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_in_thousands_of_interleavings_nobody_is_lost_or_reached_too_often(schedule: tuple[list[int], int]) -> None:
    follow(schedule)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    yield from verbs.two_servers(tmp_path_factory)


@pytest.mark.sweep
@pytest.mark.timeout(900)
@given(schedule=verbs.SCHEDULES)
@settings(max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_the_verbs_keep_the_law_in_thousands_of_orders(ring: list[Server], schedule: tuple[list[int], int]) -> None:
    trio.run(verbs.example, ring, schedule)
