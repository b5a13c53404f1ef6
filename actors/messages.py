"""What the actors hand to each other, and the little that they share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from campaigns.batch import Batch
from campaigns.campaign import Campaign
from storage.records import Claim, HeldBaton, PagePart
from transports.contract import Outcomes

Clock = Callable[[], int]
"""Wall time, ms UTC. Passed in, so that tests may set it."""


RECIPIENTS_A_BATCH = 500
"""Size of a task (`./dev bench choices`): with 100 a push costs a third more CPU, with 250 as much, with 1,000
11 % less; but batches in hand bound what a crash repeats, and double with it."""


def wall_clock() -> int:
    """Milliseconds UTC, now."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """Walker → batcher: a claimed page with its subscribers, and the baton to ack once it is on the tubes."""

    held: HeldBaton
    claim: Claim
    campaign: Campaign
    parts: list[PagePart]


Answered: TypeAlias = tuple[Batch, Outcomes]
"""Transport → settler: a batch, and what became of each of its recipients. Consumer → transport: the batch alone."""
