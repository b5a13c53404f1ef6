"""The transport actor: owns one transport of a channel and sends its batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import trio

from actors.gate import Gate
from actors.messages import Answered, PartAnswered
from actors.poison import PoisonCounter
from actors.quiet import heed
from actors.receipt_sampler import ReceiptSampler
from actors.successors import Find, follow
from campaigns.batch import Batch
from campaigns.clock import Clock
from campaigns.outcome import Outcome
from campaigns.receipt import Receipts
from storage.tubes import Tubes
from transports.contract import Outcomes, Transport, all_alike

MOSTLY = 5
"""A part is settled if it is at least this many times as large as what is left: each part costs a settlement."""


class Parts:
    """Settles what is delivered of one batch while a few answers are late."""

    def __init__(self, batch: Batch, done: trio.MemorySendChannel[Answered | PartAnswered]) -> None:
        self.settled: set[int] = set()
        """Indexes of the batch's recipients."""
        self._batch = batch
        self._done = done

    def stragglers(self, left: set[int]) -> None:
        """See ``Batch.stragglers``."""
        total = len(self._batch.recipients)
        if total - len(self.settled) - len(left) < MOSTLY * len(left):
            return
        delivered = [index for index in range(total) if index not in left and index not in self.settled]
        try:
            self._done.send_nowait(PartAnswered(self._batch, delivered, frozenset(self.settled)))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the settler is busy: the next call will say it again; or it has ended
        self.settled.update(delivered)


class TransportActor:
    """Sends the batches in hand over one transport, which lives and dies with this actor.

    ``intake``: the sending end of ``work``. The consumer has a clone of it; the actor closes its own to stop. ``find``:
    who of refused phones has a new token. ``receipts``: whose phone says by an address in the push that it has come.
    """

    def __init__(
        self,
        *,
        channel: str,
        tubes: Tubes,
        transport: Transport,
        work: trio.MemoryReceiveChannel[Batch],
        intake: trio.MemorySendChannel[Batch],
        done: trio.MemorySendChannel[Answered | PartAnswered],
        gate: Gate,
        clock: Clock,
        find: Find,
        receipts: Receipts | None = None,
    ) -> None:
        self._channel = channel
        self._sampler = ReceiptSampler(channel, receipts)
        self._tubes = tubes
        self._transport = transport
        self._work = work
        self._intake = intake
        self._done = done
        self._gate = gate
        self._clock = clock
        self._find = find

    async def run(self, ready: Callable[[], None]) -> None:
        """Send until the consumer has closed its end and everything in hand has its outcome."""
        self._gate.transport = self._transport
        try:
            async with self._work, self._done, trio.open_nursery() as nursery:
                nursery.start_soon(self._transport.run, ready)
                async with trio.open_nursery() as senders:
                    async for batch in self._work:
                        senders.start_soon(self._send, batch)
                self._transport.stop()
        finally:
            self._gate.transport = None

    def stop(self) -> None:
        """Stop once every push that was sent is answered; pushes in hand that are not begun come back as POSTPONED."""
        self._intake.close()
        self._transport.stop()

    async def _send(self, batch: Batch) -> None:
        if self._gate.spares(batch):
            outcomes = all_alike(batch, Outcome.POSTPONED, "the channel is paused")
            return await self._done.send(Answered(batch, outcomes))
        heeded = heed(batch, self._clock())
        if isinstance(heeded, Outcomes):
            return await self._done.send(Answered(batch, heeded))
        parts = Parts(batch, self._done)
        async with PoisonCounter(self._tubes, self._channel, batch.task_id, batch.number):
            began = trio.current_time()
            outcomes = await self._sampler.send(self._transport, replace(heeded, stragglers=parts.stragglers))
        batch, outcomes = await follow(batch, outcomes, self._find)
        outcomes = await self._gate.answered(batch, outcomes, began)
        return await self._done.send(Answered(batch, outcomes, frozenset(parts.settled)))
