"""What the actors hand to each other, and the little that they share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from storage.records import Campaign, Claim, HeldBaton, Share, Task
from transports.contract import Batch, Outcomes

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
    shares: list[Share]


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
    """Before the consumer: shut while a settlement has failed, and for as long as a provider asks for less."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()
        self._slow_until = 0.0

    def shut(self) -> None:
        """Hold the consumer."""
        if self._open.is_set():
            self._open = trio.Event()

    def open(self) -> None:
        """Let the consumer go on."""
        self._open.set()

    def slow(self, seconds: float) -> None:
        """Let nothing through for so long: the provider's quota is used up."""
        self._slow_until = max(self._slow_until, trio.current_time() + seconds)

    async def wait(self) -> None:
        """Return when open."""
        await self._open.wait()
        await trio.sleep_until(self._slow_until)
