"""Breadth first through every world that can come about: the first broken law has the shortest trace."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.model.faults import moves
from tests.model.world import Scenario, World, start


@dataclass(frozen=True)
class Found:
    """What a search has found."""

    worlds: int
    law: str = ""  # empty: every law holds in every world
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join((f"broken: {self.law}", *(f"  {i}. {step}" for i, step in enumerate(self.trace, 1))))


def broken(scenario: Scenario, world: World) -> str:
    """The law that this world breaks, if any."""
    if world.broken:
        return world.broken
    for r, surplus in enumerate(world.surplus):
        if surplus > 1 or world.again[r] > 1:
            return f"r{r} is sent to once more than the law allows"
    for r, (recorded, reached) in enumerate(zip(world.recorded, world.reached, strict=True)):
        if recorded > 1:
            return f"r{r} is in the ledger with {recorded} outcomes"
        if recorded and not reached:
            return f"r{r} is settled and was never sent to"
    store = world.store
    for seq, page in enumerate(store.pages):
        if (page.state != "unclaimed") != (seq < store.cursor):
            return f"page {seq} is {page.state} with the cursor at {store.cursor}: the pages do not tile the base"
        ends = sum(world.recorded[seq * scenario.recipients : (seq + 1) * scenario.recipients])
        if page.settled != ends:
            return f"page {seq} has {page.settled} ends in its row and {ends} in fact"
    if store.state == "done" and store.texts and not store.due and 1 in world.fates:
        return f"done, and r{world.fates.index(1)} has the old text"
    if store.state == "done":
        for seq, page in enumerate(store.pages):
            rows = range(seq * scenario.recipients, (seq + 1) * scenario.recipients)
            without = [r for r in rows if not world.recorded[r]]
            if len(without) > page.skipped:
                return f"done, and r{without[0]} has no outcome"
            if len(without) < page.skipped:
                ends = scenario.recipients - len(without)
                return f"done, and page {seq} has {ends} ends and {page.skipped} skipped of {scenario.recipients} rows"
    return ""


def at_rest(world: World) -> bool:
    """Done, and nobody has anything left to do."""
    return (
        world.store.state == "done"
        and not world.store.due
        and not any(
            node.queue.batons or node.queue.batches or any(w.walking or w.sending for w in node.workers)
            for node in world.nodes
            if node.up
        )
    )


def search(scenario: Scenario, *, rest: bool = True) -> Found:
    """Every world within the scenario's faults. ``rest``: also whether each has a way to its rest without another."""
    with _no_collector():
        return _search(scenario, rest)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Worlds have no cycles, and there are many: looking for some takes longer than the search."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _search(scenario: Scenario, rest: bool) -> Found:
    first = start(scenario)
    number: dict[World, int] = {first: 0}
    order = [first]
    parents: list[tuple[int, str]] = [(-1, "")]
    backward: list[list[int]] = [[]]
    here = 0
    while here < len(order):
        world = order[here]
        for words, after in moves(scenario, world):
            there = number.get(after)
            if there is None:
                there = number[after] = len(order)
                order.append(after)
                parents.append((here, words))
                backward.append([])
                law = broken(scenario, after)
                if law:
                    return Found(len(order), law, _trace(parents, there))
            if rest and after.faults == world.faults:
                backward[there].append(here)
        here += 1
    if rest:
        stuck = _stuck(order, backward)
        if stuck is not None:
            law = "from here the campaign can never be done"
            return Found(len(order), law, _trace(parents, stuck))
    return Found(len(order))


def _stuck(order: list[World], backward: list[list[int]]) -> int | None:
    """The first world from which no way without a fault leads to rest."""
    saved = bytearray(len(order))
    todo = [i for i, world in enumerate(order) if at_rest(world)]
    for i in todo:
        saved[i] = 1
    while todo:
        for before in backward[todo.pop()]:
            if not saved[before]:
                saved[before] = 1
                todo.append(before)
    return None if all(saved) else saved.index(0)


def _trace(parents: list[tuple[int, str]], at: int) -> tuple[str, ...]:
    words = []
    while at:
        at, step = parents[at]
        words.append(step)
    return tuple(reversed(words))
