"""Membership: joins the ring before any source starts, and keeps this node's lease for as long as the store agrees."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog
import trio

from campaigns.channel_state import ChannelState
from campaigns.clock import Clock
from storage.errors import LinkLost, OutOfMemory
from storage.records import DeadStanding
from storage.store import Store
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

RENEW_EVERY = 1.0
RENEW_WHILE_SETTLING = 0.2
"""Seconds between heartbeats while a campaign is being paused or cancelled: somebody waits for it."""

BREATH = 0.01
"""The least seconds between two heartbeats: whoever tells the queue of stops all the time must not make it busy."""

Sending = Callable[[float], frozenset[int] | None]
"""The campaigns of which this node's workers have batches in hand, as reported after a moment (``time.monotonic``);
None while a worker has yet to report. A worker that lost its link may still be sending batches that it had taken."""


Hear = Callable[[list[DeadStanding]], Awaitable[None]]
"""Gets the dead ledger's open questions and their answers, at each heartbeat."""

Permitted = Callable[[frozenset[int], float], Awaitable[None]]
"""Gets the campaigns that are stopped, and when the lease ends (``time.monotonic``), at each heartbeat."""

Describe = Callable[[bool], Awaitable[str]]
"""Returns what runs on this node as a text for the other nodes; empty: as before. Called with whether somebody looks:
then it also has what costs something to count."""


class Membership:
    """One per node. Ready when the queue holds a lease of a current epoch."""

    def __init__(
        self,
        *,
        node: str,
        channels: Sequence[str],
        tubes: Tubes,
        store: Store,
        clock: Clock,
        sending: Sending,
        hear: Hear | None = None,
        permit: Permitted | None = None,
        states: Callable[[], Iterable[ChannelState]] = tuple,
        describe: Describe | None = None,
    ) -> None:
        """``channels``: the names that this node serves, for the store to know.

        ``states``: why this node's channels stand still, asked at each heartbeat; ``describe``: what runs on it.
        """
        self._channels = channels
        self._node = node
        self._tubes = tubes
        self._store = store
        self._clock = clock
        self._sending = sending
        self._hear = hear
        self._permit = permit
        self._stops = 0
        self._states = states
        self._describe = describe
        self._watched = False
        self._still_since: dict[tuple[int, int], float] = {}
        self._life = trio.CancelScope()

    async def run(self, ready: Callable[[], None]) -> None:
        """Join and renew until stopped (VerbRefused: another queue already has this node's name)."""
        self._life = trio.CancelScope()
        joined = False
        with self._life:
            while True:
                try:
                    epoch = await self._join()
                    pause = None if epoch is None else await self._renew(epoch)
                    if epoch is not None and pause is not None:
                        if not joined:
                            joined = True
                            ready()
                        await self._keep(epoch, pause)
                except (LinkLost, OutOfMemory) as error:
                    log.debug("no lease for now", error=str(error))
                await trio.sleep(RENEW_EVERY)

    def stop(self) -> None:
        """Stop renewing. The lease runs out by itself, so that a quick restart goes on where this left off."""
        self._life.cancel()

    async def _join(self) -> int | None:
        """The epoch to go on in; None while the lease of a fenced epoch may still hold."""
        uuid, held, _ = await self._tubes.epoch()
        epoch = await self._store.node_join(self._node, uuid, held, self._clock(), self._channels)
        if epoch is None:
            log.info("was forgotten, and waits until its last lease is over", node=self._node, epoch=held)
        elif epoch != held:
            log.info("joins the ring", node=self._node, epoch=epoch, was=held)
            await self._tubes.adopt(epoch)
        return epoch

    async def _keep(self, epoch: int, pause: float | None) -> None:
        """Renew until the store or the queue says that the epoch is over."""
        while pause is not None:
            await self._tubes.stopped(self._stops, pause)
            await trio.sleep(BREATH)
            pause = await self._renew(epoch)
        log.warning("this node was forgotten: it joins anew", node=self._node, epoch=epoch)

    async def _renew(self, epoch: int) -> float | None:
        """One heartbeat; returns the seconds until the next, or None when the epoch is over.

        The lease counts from before the store was asked, so that a slow call does not lengthen it. The paused campaigns
        come with it, so that no queue hands out a batch without knowing them.
        """
        began = time.monotonic()
        standing = await self._tubes.standing()
        self._stops = standing.stops
        quiet = self._quiet(standing.still)
        text = "" if self._describe is None else await self._describe(self._watched)
        lease = await self._store.node_renew(self._node, epoch, self._clock(), quiet, self._states(), text)
        if lease is None or not await self._tubes.renew(epoch, lease, standing.asked):
            return None
        self._watched = lease.watched
        if self._permit is not None:
            await self._permit(frozenset(pause.campaign for pause in lease.paused), began + lease.seconds)
        if self._hear is not None:
            await self._hear(lease.dead)
        return RENEW_WHILE_SETTLING if any(pause.settling for pause in lease.paused) else RENEW_EVERY

    def _quiet(self, still: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The campaigns that stand still at the queue and of which no worker has anything in hand either."""
        known, now = self._still_since, time.monotonic()
        self._still_since = {campaign: known.get(campaign, now) for campaign in still}
        quiet = []
        for campaign, since in self._still_since.items():
            sending = self._sending(since)
            if sending is not None and campaign[0] not in sending:
                quiet.append(campaign)
        return quiet
