"""Membership: joins the ring before any source starts, and keeps this node's lease for as long as the store agrees."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from actors.messages import Clock
from storage.errors import LinkLost
from storage.store import Store
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

LEASE = 10.0
"""Seconds that a queue may go on without hearing from the store."""
RENEW_EVERY = 1.0


class Membership:
    """One per node. Ready when the queue holds a lease of a current epoch."""

    def __init__(self, *, node: str, tubes: Tubes, store: Store, clock: Clock) -> None:
        self._node = node
        self._tubes = tubes
        self._store = store
        self._clock = clock
        self._life = trio.CancelScope()

    async def run(self, ready: Callable[[], None]) -> None:
        """Join and renew until stopped (VerbRefused: another queue already has this node's name)."""
        self._life = trio.CancelScope()
        joined = False
        with self._life:
            while True:
                try:
                    epoch = await self._join()
                    if not joined:
                        joined = True
                        ready()
                    await self._keep(epoch)
                except LinkLost as error:
                    log.debug("no lease for now", error=str(error))

    def stop(self) -> None:
        """Renew no more. The lease runs out by itself, so that a quick restart goes on where this left off."""
        self._life.cancel()

    async def _join(self) -> int:
        uuid, held, _ = await self._tubes.epoch()
        epoch = await self._store.node_join(self._node, uuid, held, self._clock())
        if epoch != held:
            log.info("joins the ring", node=self._node, epoch=epoch, was=held)
            await self._tubes.adopt(epoch)
        await self._tubes.renew(epoch, LEASE)
        return epoch

    async def _keep(self, epoch: int) -> None:
        """Renew until the store or the queue knows better."""
        while True:
            await trio.sleep(RENEW_EVERY)
            if not await self._store.node_renew(self._node, epoch, self._clock()):
                log.warning("this node was forgotten: it joins anew", node=self._node, epoch=epoch)
                return
            if not await self._tubes.renew(epoch, LEASE):
                return
