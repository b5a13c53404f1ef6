"""Poison counters: a crash while a task is handled is counted against that task, so that a poison task is buried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType

import structlog
import trio

from storage.errors import OutOfMemory, StorageError, VerbRefused
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

LONGEST_WHY = 500
"""Characters of the reason for which a task is buried."""
WORDS_DEADLINE = 2.0
"""Seconds that a crashing actor has to report the crash."""

Crashed = Callable[[str], Awaitable[tuple[int, bool]]]
"""Reports the reason to the queue; returns how many crashes it has counted, and whether the task is buried now."""


def is_outage(error: BaseException) -> bool:
    """Whether the task is not at fault: a queue or store is out of reach or out of memory, or a cancel.

    A refused verb is no outage: refused once, it would be refused for ever.
    """
    if not isinstance(error, Exception):
        return True
    return isinstance(error, StorageError) and (not isinstance(error, VerbRefused) or isinstance(error, OutOfMemory))


def why_of(error: Exception) -> str:
    """An exception, as the reason for which a task is buried."""
    return f"{type(error).__name__}: {error}"[:LONGEST_WHY]


async def count_crash(crashed: Crashed, error: Exception, **task: object) -> None:
    """Count a crash against the task that was being handled. ``task``: its fields in the log."""
    why = why_of(error)
    try:
        crashes, buried = await crashed(why)
    except StorageError as lost:
        log.warning("a crash is not counted", error=str(lost), **task)
        return
    if buried:
        log.error("buried", why=f"crashed {crashes} times: {why}", **task)


class PoisonCounter:
    """``async with PoisonCounter(…)``: counts a crash inside against this take of this batch, and lets it propagate.

    The queue hands the batch out again a second later, and buries it at its third crash.
    """

    def __init__(self, tubes: Tubes, channel: str, id: int, number: int) -> None:
        self._tubes = tubes
        self._channel = channel
        self._id = id
        self._number = number

    async def __aenter__(self) -> None:
        """Nothing yet."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Count a crash."""
        if isinstance(error, Exception) and not is_outage(error):
            with trio.move_on_after(WORDS_DEADLINE, shield=True):
                await count_crash(self._crashed, error, channel=self._channel, task=self._id)

    async def _crashed(self, why: str) -> tuple[int, bool]:
        return await self._tubes.batch_crashed(self._channel, self._id, self._number, why)
