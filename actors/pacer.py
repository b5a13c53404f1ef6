"""The pacer: gets this node's part of the rate of campaigns that may reach only so many people a second."""

from __future__ import annotations

import structlog

from actors.periodic import Periodic
from campaigns.clock import Clock
from storage.errors import StorageError
from storage.store import Store
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

EVERY = 0.5
"""Seconds between two questions, while there is such a campaign."""
AGAIN_AFTER = 1.0


class Pacer(Periodic):
    """One per node. While the store is away, the queue goes on at the last rate for ten seconds, then it waits."""

    def __init__(self, *, node: str, tubes: Tubes, store: Store, clock: Clock) -> None:
        super().__init__()
        self._node = node
        self._tubes = tubes
        self._store = store
        self._clock = clock

    async def look(self) -> float:
        """Ask once. The queue's answer waits until there is something to ask for."""
        try:
            waiting = await self._tubes.paced()
            if not waiting:
                return 0.0
            await self._tubes.pace(await self._store.herd.rates(self._node, waiting, self._clock()))
        except StorageError as error:
            log.debug("no rates for now", error=str(error))
            return AGAIN_AFTER
        return EVERY
