"""Poison counters: a crash while a task is handled is counted against that task, so that a poisonous one is buried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType

import structlog
import trio

from storage.errors import OutOfMemory, StorageError, VerbRefused
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

LONGEST_WHY = 500
"""Characters of why a task is buried."""
WORDS_DEADLINE = 2.0
"""Seconds that a crashing actor gives to its last words."""

Crashed = Callable[[str], Awaitable[tuple[int, bool]]]
"""Tells the queue why; answers how many crashes it has counted, and whether the task is buried now."""


def is_outage(error: BaseException) -> bool:
    """Is this nobody's fault: a queue or store out of reach or out of memory, or a cancel?

    A verb that an instance refuses is none: refused once, it would be refused for ever.
    """
    if not isinstance(error, Exception):
        return True
    return isinstance(error, StorageError) and (not isinstance(error, VerbRefused) or isinstance(error, OutOfMemory))


def why_of(error: Exception) -> str:
    """An exception, as the reason for which a task is buried."""
    return f"{type(error).__name__}: {error}"[:LONGEST_WHY]


async def count_crash(crashed: Crashed, error: Exception, **task: object) -> None:
    """Have a crash counted against the task that was handled. ``task``: what the log calls it."""
    why = why_of(error)
    try:
        crashes, buried = await crashed(why)
    except StorageError as lost:
        log.warning("a crash is not counted", error=str(lost), **task)
        return
    if buried:
        log.error("buried", why=f"crashed {crashes} times: {why}", **task)


class PoisonCounter:
    """``async with PoisonCounter(…)``: a crash in here is counted against this take of this batch, and goes on.

    The queue counts a batch's crashes: it gives the batch out again a second later, and buries it at its third.
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
        """Have a crash counted."""
        if isinstance(error, Exception) and not is_outage(error):
            with trio.move_on_after(WORDS_DEADLINE, shield=True):
                await count_crash(self._crashed, error, channel=self._channel, task=self._id)

    async def _crashed(self, why: str) -> tuple[int, bool]:
        return await self._tubes.batch_crashed(self._channel, self._id, self._number, why)
