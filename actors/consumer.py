"""The consumer: takes batches from one channel's tube and hands them to its transport actors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import trio

from actors.campaign_cache import CampaignCache
from actors.gate import Gate
from actors.hands import Hands
from actors.permit import Permit
from actors.poison import PoisonCounter
from campaigns.batch import Batch, Leave
from campaigns.drill import is_drill_channel
from campaigns.lane import Lane
from campaigns.presentation import Presentation
from campaigns.recipient import unpack_recipients
from storage.errors import LinkLost
from storage.records import Task
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

TASKS_A_TAKE = 4
"""Batches asked for in one take (`./dev bench choices`): one at a time costs a seventh more CPU, eight gain nothing."""
TAKE_LINGER = 0.02
"""Seconds that the first free hand waits for others; without it nearly every batch would need a call of its own."""

GLANCE = 0.05
"""Seconds without a poll after which the usual hands are busy. An idle channel so has one poll under way, not two."""

BEGIN_WITHIN = 25.0
"""Seconds from before the take within which a push must begin. With up to 20 s for the answer, and the settlement, this
stays below the tube's ttr of 60 s; after the ttr another worker could take the batch too."""
FETCH_WITHIN = 10.0
"""Seconds from before the take within which the campaign must be fetched. After that the batch goes back to the tube:
too little of its lease would be left to send it."""


class Consumer:
    """Takes batches while the gate is open and hands are free.

    ``hands`` bounds the channel's leases, and so the pushes that a crash repeats. The last free one takes only from
    the upper lane, and polls only while the others do not: when they are busy, or wait for the channel's rate.
    """

    def __init__(
        self,
        *,
        channel: str,
        tubes: Tubes,
        cache: CampaignCache,
        work: trio.MemorySendChannel[Batch],
        hands: Hands,
        gate: Gate,
        permit: Permit | None = None,
    ) -> None:
        self._channel = channel
        self._tubes = tubes
        self._cache = cache
        self._work = work
        self._hands = hands
        self._gate = gate
        self._permit = permit or Permit()
        self._stopping = False
        self._idle: dict[bool, trio.CancelScope] = {}
        self._polling = False
        self._polled = trio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Take until stopped. First give back the leases of an earlier incarnation: its settler is gone."""
        ready()
        async with self._work:
            await self._tubes.batch_release_worker(self._channel)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._consume, True)
                await self._consume(False)

    async def _consume(self, upper: bool) -> None:
        while not self._stopping:
            asked, tasks = await self._take(upper)
            leave = self._tubes.leave()  # of the session of this take, so before any other await
            for id, number, data in tasks:
                async with PoisonCounter(self._tubes, self._channel, id, number):
                    batch = await self._read(id, number, data, asked, leave, upper)
                if batch is not None:
                    await self._work.send(batch)  # the receiver may have crashed: not this batch's fault

    def stop(self) -> None:
        """Take nothing more."""
        self._stopping = True
        for scope in self._idle.values():
            scope.cancel()

    async def _take(self, upper: bool) -> tuple[float, list[tuple[int, int, Any]]]:
        # its own scope: a stop ends every wait in here, and batches that the poll was about to take are given back
        self._idle[upper] = scope = trio.CancelScope()
        tasks: list[tuple[int, int, Any]] = []
        asked = trio.current_time()
        with scope:
            if upper:
                await self._others_busy()
            await self._gate.opened(upper=upper)  # before the take, so that no lease ages in a queue of our own
            if upper:
                await self._hands.last()
                asked = trio.current_time()
                tasks = await self._poll(1, upper)
                for _ in tasks:
                    self._hands.occupy_last()
                return asked, tasks
            await self._hands.acquire()
            free = 1
            most = 1 if self._gate.careful else TASKS_A_TAKE
            try:
                with trio.move_on_after(TAKE_LINGER):
                    while free < most:
                        await self._hands.acquire()
                        free += 1
                asked = trio.current_time()
                tasks = await self._poll(free, upper)
            finally:
                for _ in range(free - len(tasks)):
                    self._hands.release()
        return asked, tasks

    async def _others_busy(self) -> None:
        """Return once the usual hands do not poll: they would not take a batch of the upper lane now."""
        busy = False
        while not busy:
            while self._polling:
                await self._polled.wait()
            await trio.sleep(GLANCE)  # between two polls that find nothing they are not busy
            busy = not self._polling

    async def _poll(self, most: int, upper: bool) -> list[tuple[int, int, Any]]:
        self._polling = self._polling or not upper
        tasks: list[tuple[int, int, Any]] = []
        if not upper:
            self._gate.polls()
        try:
            tasks = await self._tubes.batch_take(self._channel, most, upper=upper)
        except LinkLost:
            pass
        finally:
            if not upper:
                self._gate.polled()
                self._polling = False
                self._polled.set()
                self._polled = trio.Event()
        if tasks:
            self._gate.probe()
        return tasks

    async def _read(
        self, id: int, number: int, data: Any, asked: float, leave: Callable[[], Leave], upper: bool
    ) -> Batch | None:
        try:
            task = Task.of(id, number, data)
            recipients = unpack_recipients(task.recipients)
        except (ValueError, TypeError, RecursionError) as error:
            await self._bury(id, number, f"not a batch: {error}")
            return None
        campaign = None
        with trio.move_on_at(asked + FETCH_WITHIN) as fetching:
            campaign = await self._cache.get(task.campaign, task.texts)
        if fetching.cancelled_caught:
            await self._give_back(id, number)
            return None
        if campaign is None:
            await self._bury(id, number, f"the store knows no campaign {task.campaign}")
            return None
        if campaign.drill != is_drill_channel(self._channel):
            # the channels' names keep the two apart: should that ever fail, no phone hears of a drill
            await self._bury(id, number, f"a drill and a real campaign do not share channel {self._channel}")
            return None
        batch = Batch(
            task.campaign,
            campaign.message_to(self._channel),
            task.tries,
            task.expires_at,
            recipients,
            begin_until=asked + BEGIN_WITHIN,
            leave=self._permit.leave(task.campaign, leave),
            task_id=id,
            number=number,
            # a batch that an earlier version put lies among those of the upper lane: who takes it there pays as they do
            lane=Lane.UPPER if upper or task.lane == Lane.UPPER else Lane.MIDDLE,
            unsure=task.unsure,
            texts=campaign.texts,
            replaces=campaign.replaces,
            presentation=Presentation.ASLEEP if campaign.is_asleep(self._channel) else Presentation.AWAKE,
            refusals=task.refusals,
            window=None if campaign.windows is None else campaign.windows.window(self._channel, task.window),
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
