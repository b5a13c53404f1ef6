"""The hands of one channel in one worker: they bound the batches that it has taken and not yet settled."""

from __future__ import annotations

import trio


class Hands:
    """``usual`` hands, and one more: the last free hand takes only from the upper lane.

    So a channel that is busy with other news begins a campaign of the upper lane at once, and while there is more of
    it, each hand that gets free goes there too. They bound what a crash of the worker may repeat.
    """

    def __init__(self, usual: int) -> None:
        """``usual``: at least 1."""
        self.count = usual + 1
        """All hands: as many batches may be in hand."""
        self._free = self.count
        self._changed = trio.Event()

    async def acquire(self, *, upper: bool = False) -> None:
        """Wait for a hand that may take a batch of any lane; ``upper``: of the upper lane."""
        await trio.lowlevel.checkpoint()
        least = 1 if upper else 2
        while self._free < least:
            await self._changed.wait()
        self._free -= 1

    def release(self) -> None:
        """Return a hand."""
        self._free += 1
        self._changed.set()
        self._changed = trio.Event()
