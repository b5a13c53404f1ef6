"""Blame: whoever crashes while it handles a batch says which one, so that a poisonous batch is put aside in the end."""

from __future__ import annotations

from types import TracebackType

import structlog
import trio

from storage.errors import StorageError
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

WORDS_DEADLINE = 2.0
"""Seconds that a crashing actor gives to its last words."""


class Blame:
    """``async with Blame(…)``: a crash in here is counted against this take of this batch, and goes on.

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
        """Tell the queue of a crash. An outage of the queue is not the batch's fault, nor is a cancel."""
        if not isinstance(error, Exception) or isinstance(error, StorageError):
            return
        why = f"{type(error).__name__}: {error}"[:500]
        with trio.move_on_after(WORDS_DEADLINE, shield=True):
            try:
                crashes, buried = await self._tubes.batch_crashed(self._channel, self._id, self._number, why)
            except StorageError as lost:
                log.warning("a crash is not counted", channel=self._channel, task=self._id, error=str(lost))
                return
            if buried:
                told = f"crashed {crashes} times: {why}"
                log.error("batch buried", channel=self._channel, task=self._id, why=told)
