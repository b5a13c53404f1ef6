"""The consumer: takes batches from one channel's tube and hands them to its transport actors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import trio

from actors.campaign_cache import CampaignCache
from actors.gate import Gate
from actors.poison import PoisonCounter
from campaigns.batch import Batch, Leave
from campaigns.recipient import unpack_recipients
from storage.errors import LinkLost
from storage.records import Task
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

TASKS_A_TAKE = 4
"""Batches asked for at once (measured: one by one, a push costs 16 % more; 3 to 6 alike)."""
TAKE_LINGER = 0.02
"""Seconds that the first free hand waits for others, or nearly every batch would be taken by a call of its own."""

BEGIN_WITHIN = 25.0
"""Seconds within which a push is begun, from before the take. With the 20 s that an answer may take, and the
settlement, it stays below the tube's ttr of 60 s: after that the batch would be in other hands too."""
FETCH_WITHIN = 10.0
"""Seconds for the campaign, from before the take. While the store is out of reach a batch goes back to the tube, as too
little of its lease would be left to send it."""


class Consumer:
    """Takes while the gate is open and hands are free.

    ``hands`` bounds the leases of a channel, and so the repeats after a crash.
    """

    def __init__(
        self,
        *,
        channel: str,
        tubes: Tubes,
        cache: CampaignCache,
        work: trio.MemorySendChannel[Batch],
        hands: trio.Semaphore,
        gate: Gate,
    ) -> None:
        self._channel = channel
        self._tubes = tubes
        self._cache = cache
        self._work = work
        self._hands = hands
        self._gate = gate
        self._stopping = False
        self._idle = trio.CancelScope()

    async def run(self, ready: Callable[[], None]) -> None:
        """Take until stopped. Leases of an earlier incarnation are given back first: its settler is gone by then."""
        ready()
        async with self._work:
            await self._tubes.batch_release_worker(self._channel)
            while not self._stopping:
                asked, tasks = await self._take()
                leave = self._tubes.leave()  # for the session of this take, before anything else is waited for
                for id, number, data in tasks:
                    async with PoisonCounter(self._tubes, self._channel, id, number):
                        batch = await self._read(id, number, data, asked, leave)
                    if batch is not None:
                        await self._work.send(batch)  # whose receiver may have crashed: that is not this batch's fault

    def stop(self) -> None:
        """Take nothing more."""
        self._stopping = True
        self._idle.cancel()

    async def _take(self) -> tuple[float, list[tuple[int, int, Any]]]:
        # a scope of its own: a stop ends every wait in here, and what the poll was about to take is given back
        self._idle = trio.CancelScope()
        tasks: list[tuple[int, int, Any]] = []
        asked = trio.current_time()
        with self._idle:
            await self._gate.opened()  # before the take, so that no lease grows old in a queue of our own
            await self._hands.acquire()
            free = 1
            most = 1 if self._gate.careful else TASKS_A_TAKE
            try:
                with trio.move_on_after(TAKE_LINGER):
                    while free < most:
                        await self._hands.acquire()
                        free += 1
                asked = trio.current_time()
                tasks = await self._tubes.batch_take(self._channel, free)
                if tasks:
                    self._gate.probe()
            except LinkLost:
                pass
            finally:
                for _ in range(free - len(tasks)):
                    self._hands.release()
        return asked, tasks

    async def _read(self, id: int, number: int, data: Any, asked: float, leave: Callable[[], Leave]) -> Batch | None:
        try:
            task = Task.of(id, number, data)
            recipients = unpack_recipients(task.recipients)
        except (ValueError, TypeError, RecursionError) as error:
            await self._bury(id, number, f"not a batch: {error}")
            return None
        campaign = None
        with trio.move_on_at(asked + FETCH_WITHIN) as fetching:
            campaign = await self._cache.get(task.campaign)
        if fetching.cancelled_caught:
            await self._give_back(id, number)
            return None
        if campaign is None:
            await self._bury(id, number, f"the store knows no campaign {task.campaign}")
            return None
        batch = Batch(
            task.campaign,
            campaign.message,
            task.tries,
            task.expires_at,
            recipients,
            begin_until=asked + BEGIN_WITHIN,
            leave=leave,
            task_id=id,
            number=number,
            refusals=task.refusals,
            remainder=task.n < 0,
        )
        self._gate.taken(batch)
        return batch

    async def _give_back(self, id: int, number: int) -> None:
        log.warning("batch given back unsent: the store does not answer", channel=self._channel, task=id)
        try:
            await self._tubes.batch_release(self._channel, [(id, number)])
        except LinkLost:
            log.warning("batch not given back: its lease runs out", channel=self._channel, task=id)
        self._hands.release()

    async def _bury(self, id: int, number: int, why: str) -> None:
        log.error("batch buried", channel=self._channel, task=id, why=why)
        try:
            await self._tubes.batch_bury(self._channel, id, number, why)
        except LinkLost:
            log.warning("batch not buried: it comes again", channel=self._channel, task=id)
        self._hands.release()
