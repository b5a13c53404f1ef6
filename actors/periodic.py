"""The base of an actor that looks at something again and again, and has nothing in hand between two looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import trio


class Periodic(ABC):
    """Looks until stopped. A subclass defines one look."""

    def __init__(self) -> None:
        self._life = trio.CancelScope()

    @abstractmethod
    async def look(self) -> float:
        """Look once. Returns the seconds until the next look; an exception is a crash of the actor."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Look until stopped."""
        self._life = trio.CancelScope()
        ready()
        with self._life:
            while True:
                pause = await self.look()
                await trio.sleep(pause)

    def stop(self) -> None:
        """Stop at once: nothing is in hand."""
        self._life.cancel()
