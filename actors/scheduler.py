"""The scheduler: starts campaigns whose time has come. Every node has one; the store lets one of them start each."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from actors.periodic import Periodic
from campaigns.identity import campaign_text
from storage.errors import StorageError
from storage.records import Missed, StoppedCanary
from storage.store import Store

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks, at most: so soon a node hears of a campaign that another one has scheduled."""
AGAIN_AFTER = 30.0
"""Seconds until a campaign whose start failed for a reason of its own is tried again."""


WARM_EVERY = 20.0
"""Seconds: less than the minute after which a connection that has heard nothing is asked before pushes go over it."""


class Scheduler(Periodic):
    """Asks the store, by whose clock they start, which campaigns are due.

    ``start``: starts one, unless another node has; it raises ``StorageError`` if that is not known. ``warm``: called
    every
    `WARM_EVERY` seconds while campaigns are armed: somebody may fire one at any moment.
    """

    def __init__(
        self,
        *,
        store: Store,
        start: Callable[[int], Awaitable[object]],
        warm: Callable[[], Awaitable[object]] | None = None,
        canaries: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__()
        self._warm = warm
        self._canaries = canaries
        self._warmed = -math.inf
        self._store = store
        self._start = start
        self._failed_at: dict[int, float] = {}
        self.missed: list[Missed] = []
        """The campaigns that were missed in the last day, wherever."""
        self.stopped: Sequence[StoppedCanary] = ()
        """The canaries that were stopped in the last day."""

    async def look(self) -> float:
        """Start what is due."""
        try:
            due = await self._store.campaigns_due()
        except StorageError as error:
            log.debug("the scheduler sees nothing", error=str(error))
            return LOOK_EVERY
        self.missed, self.stopped = due.missed, due.stopped
        self._failed_at = {id: at for id, at in self._failed_at.items() if at + AGAIN_AFTER > trio.current_time()}
        async with trio.open_nursery() as nursery:
            if due.armed and self._warm is not None and self._warmed + WARM_EVERY <= trio.current_time():
                self._warmed = trio.current_time()
                nursery.start_soon(self._warm)
            if due.canaries and self._canaries is not None:
                nursery.start_soon(self._judge, self._canaries)
            for id in due.campaigns:
                if id not in self._failed_at:
                    nursery.start_soon(self._begin, id)
        return LOOK_EVERY if due.wait is None else min(LOOK_EVERY, due.wait)

    async def _judge(self, canaries: Callable[[], Awaitable[object]]) -> None:
        try:
            await canaries()
        except StorageError as error:
            log.debug("canaries are not judged yet", error=str(error))
        except Exception as error:  # campaigns start, whatever is wrong with a canary
            log.exception("a canary cannot be judged", error=str(error))

    async def _begin(self, id: int) -> None:
        try:
            await self._start(id)
        except StorageError as error:
            log.warning("a campaign is due and cannot be started yet", campaign=campaign_text(id), error=str(error))
        except Exception as error:  # whatever is wrong with one campaign, the others start
            self._failed_at[id] = trio.current_time()
            log.exception("a campaign is due and cannot be started", campaign=campaign_text(id), error=str(error))
