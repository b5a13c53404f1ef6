"""What the actors hand to each other, and the little that they share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from storage.records import Campaign, Claim, HeldBaton, Task
from transports.contract import Batch, Outcomes

Clock = Callable[[], int]
"""Wall time, ms UTC. Passed in, so that tests may set it."""


def wall_clock() -> int:
    """Milliseconds UTC, now."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """Walker → batcher: a claimed page with its rows, and the baton to ack once it is on the tubes."""

    held: HeldBaton
    claim: Claim
    campaign: Campaign
    rows: list[list[Any]]
    """As ``storage.records.Row``, plain lists."""


@dataclass(frozen=True, slots=True)
class Work:
    """Consumer → transport: a taken task, decoded."""

    task: Task
    batch: Batch


@dataclass(frozen=True, slots=True)
class Done:
    """Transport → settler: what became of it."""

    work: Work
    outcomes: Outcomes


class Gate:
    """Shut while a settlement has failed: until it succeeds the consumer takes nothing more (ARCHITECTURE, §6)."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()

    def shut(self) -> None:
        """Hold the consumer."""
        if self._open.is_set():
            self._open = trio.Event()

    def open(self) -> None:
        """Let the consumer go on."""
        self._open.set()

    async def wait(self) -> None:
        """Return when open."""
        await self._open.wait()
