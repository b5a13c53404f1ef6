"""The walk as a model, searched through: with its clauses every law holds, without one of them a law breaks."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.clauses import Clauses
from tests.model.faults import KINDS, moves
from tests.model.page import page
from tests.model.removals import REMOVALS, SECOND_LOCKS, STUCK, Removal, alone, small
from tests.model.search import at_rest, broken, search
from tests.model.steps import steps
from tests.model.world import Scenario, start

SCENARIOS = list(dict.fromkeys(removal.scenario for removal in REMOVALS))


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.clause.replace(" ", "+"))
def test_without_this_clause_a_law_breaks(removal: Removal) -> None:
    found = search(removal.without(), rest=removal.breaks == STUCK)
    print(found)
    assert found.law
    assert removal.breaks in found.law


@pytest.mark.parametrize("number", range(len(SCENARIOS)))
def test_with_all_clauses_no_law_breaks_there(number: int) -> None:
    found = search(SCENARIOS[number])
    assert not found.law, str(found)


@pytest.mark.parametrize("clause", SECOND_LOCKS)
def test_where_one_clause_stands_behind_another_either_is_enough(clause: str) -> None:
    clauses = replace(Clauses(), **{clause: False})
    for scenario in (small("wrong forget"), small("lost node"), alone("crash", "lost reply", pages=2)):
        found = search(replace(scenario, clauses=clauses))
        assert not found.law, str(found)


def test_every_clause_is_removed_by_some_test() -> None:
    removed = {clause for removal in REMOVALS for clause in removal.clause.split()} | set(SECOND_LOCKS)
    assert removed == {name for name in vars(Clauses()) if not name.startswith("_")}
    assert {removal.number for removal in REMOVALS} == set(range(1, 14))


LARGE = Scenario(
    nodes=3,
    workers=2,
    pages=5,
    recipients=3,
    interleaved=True,
    attempts=2,
    parts=True,
    pause=True,
    correct=True,
    faults=4,
    kinds=KINDS,
)
SCHEDULES = st.tuples(st.lists(st.integers(0, 1 << 16), max_size=80), st.integers(0, 1 << 16))


def follow(schedule: tuple[list[int], int], scenario: Scenario = LARGE) -> None:
    """One drawn interleaving, and then whatever comes, without another fault, until the campaign is at rest."""
    drawn, seed = schedule
    world, trace = start(scenario), []
    for choice in drawn:
        nexts = list(moves(scenario, world))
        words, world = nexts[choice % len(nexts)]
        trace.append(words)
        assert not broken(scenario, world), "\n".join(trace)
    world = world._replace(faults=0)
    dice = random.Random(seed)
    for _ in range(3000):
        if at_rest(world):
            return
        words, world = dice.choice(list(moves(scenario, world)))
        trace.append(words)
        assert not broken(scenario, world), "\n".join(trace)
    raise AssertionError("it does not come to rest:\n" + "\n".join(trace))


def follow_all(schedules: list[tuple[list[int], int]], scenario: Scenario) -> None:
    for schedule in schedules:
        follow(schedule, scenario)


@given(schedule=SCHEDULES)
@settings(max_examples=100, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_in_any_interleaving_nobody_is_lost_or_reached_too_often(schedule: tuple[list[int], int]) -> None:
    follow(schedule)


FICKLE = replace(LARGE, fickle=True)


@given(schedule=SCHEDULES)
@settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_each_row_is_skipped_or_ends_once_though_the_audience_changes_between_two_puts(
    schedule: tuple[list[int], int],
) -> None:
    """21.1"""
    follow(schedule, FICKLE)


LACKING = replace(LARGE, lacking=frozenset({0}), kinds=KINDS - {"lost node"})


@given(schedule=SCHEDULES)
@settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_node_that_lacks_a_channel_leaves_its_campaign_to_the_others(schedule: tuple[list[int], int]) -> None:
    """A6: whatever goes wrong, nobody is settled who was not sent to."""
    follow(schedule, LACKING)


def test_the_witness_sees_an_interleaving_that_breaks_a_law() -> None:
    careless = replace(LARGE, clauses=replace(Clauses(), put_asks_for_the_mark=False, lines_are_numbered=False))
    dice = random.Random(1)
    schedules = [([dice.randrange(1 << 16) for _ in range(80)], seed) for seed in range(50)]
    with pytest.raises(AssertionError, match="claims page"):
        follow_all(schedules, careless)


def test_without_a_fault_the_walk_goes_one_way_to_its_rest() -> None:
    scenario = alone(faults=0)
    world = start(scenario)
    said = []
    while not at_rest(world):
        words, world = next(iter(steps(scenario, world)))
        said.append(words)
    assert said[-1].startswith("node 0 reports")
    assert world.reached == (True,)


def test_the_page_about_the_walk_tells_what_the_search_finds() -> None:
    told = Path(__file__).parents[2].joinpath("docs/walk.md").read_text()
    assert told == page(), "write it anew: .venv/bin/python -m tests.model.page >docs/walk.md"
