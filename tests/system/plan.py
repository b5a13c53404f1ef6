"""A run's plan: everything that chance decides, drawn from the seed, printed, and drawn again from it."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from tests.system import answers as answers
from tests.system import canaries as canaries
from tests.system import held as held
from tests.system import migration as migration
from tests.system import nights as nights
from tests.system import other_platforms as other_platforms
from tests.system import past as past
from tests.system import people as people
from tests.system import poison as poison  # which enter their faults
from tests.system import servers as servers
from tests.system import stopping as stopping
from tests.system import stories as stories
from tests.system import strangers as strangers
from tests.system import surroundings as surroundings
from tests.system import wires as wires
from tests.system.faults import FAULTS, PLATFORMS, Fault

STREAMS = 50
"""Requests in flight that a twin allows on a connection: with LATENCY it sets the pace, not the machine."""
FEW = 32
"""The same on the connection that a worker keeps for the upper lane: nothing here is of the upper lane."""
LATENCY = 50
"""Milliseconds before each of a twin's answers: 1,000 pushes a second and connection."""


@dataclass(frozen=True)
class Plan:
    """One run. ``at``: the share of the audience that has been accepted when the fault comes."""

    seed: int
    fault: str
    subscribers: int
    workers: int
    at: float
    values: dict[str, Any]
    """What the fault itself drew: whom it hits, for how long."""
    quick: bool = False
    """On a machine that does other things beside: rates are judged with more patience."""
    platforms: tuple[str, ...] = PLATFORMS
    """A channel for each."""

    def kind(self) -> Fault:
        """The fault."""
        return FAULTS[self.fault]

    def shown(self) -> dict[str, Any]:
        """For people and for the report."""
        return asdict(self)


def draw(
    seed: int,
    fault: str | None = None,
    subscribers: int | None = None,
    quick: bool = False,
    platforms: tuple[str, ...] = (),
) -> Plan:
    """The plan of ``seed``. The same seed and arguments, the same plan.

    Args:
        seed: any number.
        fault: that one, in place of one that chance picks.
        subscribers: that many, in place of 12,000 to 18,000 (four times as many for a fault that wants a large base,
            twice as many for one after which rates are compared).
        quick: only faults that end within seconds, for CI.
        platforms: a channel for each of these, in place of the fault's.
    """
    chance = random.Random(seed)
    names = [name for name, kind in FAULTS.items() if kind.drawn and not (quick and not kind.anywhere)]
    picked = chance.choice(names)
    size = chance.randrange(12_000, 18_001, 1000)
    workers = chance.choice((1, 1, 2))
    at = round(chance.uniform(0.1, 0.6), 2)
    name = fault or picked
    values = FAULTS[name].draw(chance)
    if FAULTS[name].small:
        size //= 5
    elif not quick:
        size *= 4 if FAULTS[name].large else 2 if "platform" in values else 1
    return Plan(seed, name, subscribers or size, workers, at, values, quick, platforms or FAULTS[name].platforms)
