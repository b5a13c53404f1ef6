"""The hands of one channel in one worker: they bound the recipients that it has taken and not yet settled."""

from __future__ import annotations

from collections.abc import Callable

import trio

from campaigns.batch import RECIPIENTS_A_BATCH


class Hands:
    """``usual`` hands, and one more: the last free hand takes only from the upper lane.

    So a channel that is busy with other news begins a campaign of the upper lane at once, and while there is more of
    it, each hand that gets free goes there too. A hand is room for a whole batch. When a part of a batch is settled,
    its room is free again, so that a few late answers keep no hand from the next batch. So what a crash of the worker
    may repeat is bounded in recipients.
    """

    def __init__(self, usual: Callable[[], int]) -> None:
        """``usual``: how many, at least 1; more when the channel has more connections."""
        self._usual = usual
        self._taken = 0  # recipients
        self._changed = trio.Event()

    @property
    def count(self) -> int:
        """All hands: as many whole batches may be in hand."""
        return self._usual() + 1

    async def acquire(self) -> None:
        """Wait for a hand that may take a batch of any lane, and occupy it."""
        await self._at_least(2)
        self._taken += RECIPIENTS_A_BATCH

    async def last(self) -> None:
        """Wait until a hand is free that may take a batch of the upper lane. It stays free until ``occupy_last``."""
        await self._at_least(1)

    def occupy_last(self) -> None:
        """Occupy that hand: a batch of the upper lane is taken. Only one task may wait for ``last`` and call this."""
        self._taken += RECIPIENTS_A_BATCH

    async def _at_least(self, hands: int) -> None:
        await trio.lowlevel.checkpoint()
        while self.count * RECIPIENTS_A_BATCH - self._taken < hands * RECIPIENTS_A_BATCH:
            await self._changed.wait()

    def release(self, recipients: int = RECIPIENTS_A_BATCH) -> None:
        """Return a whole hand, or the room that some recipients of a batch took."""
        self._taken -= recipients
        self._changed.set()
        self._changed = trio.Event()

    def release_rest(self, settled: int) -> None:
        """Return the rest of a hand of which the room of ``settled`` recipients was returned before."""
        self.release(RECIPIENTS_A_BATCH - settled)
