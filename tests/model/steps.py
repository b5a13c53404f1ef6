"""Every step that may come next while nothing goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.upkeep import forgetting, membership, opening, pausing, reporter, shepherd
from tests.model.walk import Step, consumer, walker
from tests.model.world import Scenario, World


def steps(scenario: Scenario, world: World) -> Iterator[Step]:
    """Every step that may come next while nothing goes wrong."""
    for n, node in enumerate(world.nodes):
        if node.up:
            yield from membership(scenario, world, n, node)
            for w in range(len(node.workers)):
                yield from walker(scenario, world, n, w)
                yield from consumer(scenario, world, n, w)
            yield from reporter(scenario, world, n, node)
        yield from forgetting(scenario, world, n, node)
    yield from opening(world)
    yield from shepherd(scenario, world)
    if scenario.pause:
        yield from pausing(scenario, world)
