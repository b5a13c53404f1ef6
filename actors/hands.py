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

    async def acquire(self) -> None:
        """Wait for a hand that may take a batch of any lane, and occupy it."""
        await self._at_least(2)
        self._free -= 1

    async def last(self) -> None:
        """Wait until a hand is free that may take a batch of the upper lane. It stays free until ``occupy_last``."""
        await self._at_least(1)

    def occupy_last(self) -> None:
        """Occupy that hand: a batch of the upper lane is taken. Only one task may wait for ``last`` and call this."""
        self._free -= 1

    async def _at_least(self, free: int) -> None:
        await trio.lowlevel.checkpoint()
        while self._free < free:
            await self._changed.wait()

    def release(self) -> None:
        """Return a hand."""
        self._free += 1
        self._changed.set()
        self._changed = trio.Event()
