"""The transport actor: owns one transport of a channel and sends its batches."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from actors.messages import Done, Gate, Work
from transports.breaker import Breaker
from transports.contract import Outcome, Outcomes, Transport

log = structlog.get_logger(__name__)


class TransportActor:
    """Sends up to ``concurrency`` batches at once over one transport, which lives and dies with this actor.

    ``intake``: the consumer's end of ``work``, of which it has a clone; the actor closes it to end.
    """

    def __init__(
        self,
        *,
        channel: str,
        transport: Transport,
        work: trio.MemoryReceiveChannel[Work],
        intake: trio.MemorySendChannel[Work],
        done: trio.MemorySendChannel[Done],
        breaker: Breaker,
        gate: Gate,
        concurrency: int = 4,
    ) -> None:
        self._channel = channel
        self._transport = transport
        self._work = work
        self._intake = intake
        self._done = done
        self._breaker = breaker
        self._gate = gate
        self._concurrency = concurrency

    async def run(self, ready: Callable[[], None]) -> None:
        """Send until the consumer has closed its end and everything in hand has its outcome."""
        async with self._work, self._done, trio.open_nursery() as nursery:
            nursery.start_soon(self._transport.run, ready)
            async with trio.open_nursery() as senders:
                for _ in range(self._concurrency):
                    senders.start_soon(self._send)
            self._transport.stop()

    def stop(self) -> None:
        """End when the consumer has, with what is in hand sent."""
        self._intake.close()

    async def _send(self) -> None:
        async for work in self._work:
            outcomes = await self._transport.send(work.batch)
            self._judge(outcomes)
            await self._done.send(Done(work, outcomes))

    def _judge(self, outcomes: Outcomes) -> None:
        if outcomes.slow:
            log.warning("the provider asks for less", channel=self._channel, seconds=round(outcomes.slow))
            self._gate.slow(outcomes.slow)
        if outcomes.stop is not None:
            if self._breaker.reason is None:
                log.error("channel paused", channel=self._channel, why=outcomes.stop)
            self._breaker.open(outcomes.stop, trio.current_time())
        elif outcomes.delivered or any(entry.outcome is not Outcome.HELD for entry in outcomes.exceptions):
            if self._breaker.reason is not None:
                log.info("channel goes on", channel=self._channel)
            self._breaker.success()
