"""Blame: whoever crashes while it handles a batch says which one, so that a poisonous batch is put aside in the end."""

from __future__ import annotations

import structlog
import trio

from storage.errors import StorageError
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

WORDS_DEADLINE = 2.0
"""Seconds that a crashing actor gives to its last words."""


async def blame(tubes: Tubes, channel: str, id: int, number: int, error: Exception) -> None:
    """Tell the queue that this take of this batch ended in a crash. The caller then crashes, as it was about to.

    The queue counts a batch's crashes: it gives the batch out again a second later, and buries it at its third.
    """
    if isinstance(error, StorageError):
        return  # the batch is not to blame for that
    why = f"{type(error).__name__}: {error}"[:500]
    with trio.move_on_after(WORDS_DEADLINE, shield=True):
        try:
            crashes, buried = await tubes.batch_crashed(channel, id, number, why)
        except StorageError as lost:
            log.warning("a crash is not counted", channel=channel, task=id, error=str(lost))
            return
        if buried:
            log.error("batch buried", channel=channel, task=id, why=f"crashed {crashes} times: {why}")
