"""The transport actor: owns one transport of a channel and sends its batches."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.gate import Gate
from actors.messages import Answered
from actors.poison import PoisonCounter
from actors.quiet import heed
from actors.successors import Find, follow
from campaigns.batch import Batch
from campaigns.clock import Clock
from campaigns.outcome import Outcome
from storage.tubes import Tubes
from transports.contract import Outcomes, Transport, all_alike


class TransportActor:
    """Sends up to ``concurrency`` batches at once over one transport, which lives and dies with this actor.

    ``intake``: the sending end of ``work``. The consumer has a clone of it; the actor closes its own to stop. ``find``:
    who of refused phones has a new token.
    """

    def __init__(
        self,
        *,
        channel: str,
        tubes: Tubes,
        transport: Transport,
        work: trio.MemoryReceiveChannel[Batch],
        intake: trio.MemorySendChannel[Batch],
        done: trio.MemorySendChannel[Answered],
        gate: Gate,
        clock: Clock,
        find: Find,
        concurrency: int = 4,
    ) -> None:
        self._channel = channel
        self._tubes = tubes
        self._transport = transport
        self._work = work
        self._intake = intake
        self._done = done
        self._gate = gate
        self._clock = clock
        self._find = find
        self._concurrency = concurrency

    async def run(self, ready: Callable[[], None]) -> None:
        """Send until the consumer has closed its end and everything in hand has its outcome."""
        self._gate.transport = self._transport
        try:
            async with self._work, self._done, trio.open_nursery() as nursery:
                nursery.start_soon(self._transport.run, ready)
                async with trio.open_nursery() as senders:
                    for _ in range(self._concurrency):
                        senders.start_soon(self._send, senders)
                self._transport.stop()
        finally:
            self._gate.transport = None

    def stop(self) -> None:
        """Stop once every push that was sent is answered; pushes in hand that are not begun come back as POSTPONED."""
        self._intake.close()
        self._transport.stop()

    async def _send(self, nursery: trio.Nursery) -> None:
        async for batch in self._work:
            if self._gate.spares(batch):
                await self._done.send((batch, all_alike(batch, Outcome.POSTPONED, "the channel is paused")))
                continue
            heeded = heed(batch, self._clock())
            if isinstance(heeded, Outcomes):
                await self._done.send((batch, heeded))
                continue
            async with PoisonCounter(self._tubes, self._channel, batch.task_id, batch.number):
                began = trio.current_time()
                outcomes = await self._transport.send(heeded)
            # in its own task: it may have to wait, and other batches need this sender
            nursery.start_soon(self._weigh, batch, outcomes, began)

    async def _weigh(self, batch: Batch, outcomes: Outcomes, began: float) -> None:
        batch, outcomes = await follow(batch, outcomes, self._find)
        await self._done.send((batch, await self._gate.answered(batch, outcomes, began)))
