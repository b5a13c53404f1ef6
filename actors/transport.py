"""The transport actor: owns one transport of a channel and sends its batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog
import trio

from actors.breaker import Breaker
from actors.gate import Gate
from actors.messages import Done, Work
from actors.poison import PoisonCounter
from actors.refusals import Ask, Refusals
from campaigns.batch import Batch
from campaigns.outcome import Outcome
from storage.tubes import Tubes
from transports.backoff import Backoff
from transports.contract import LONGEST_PAUSE, Outcomes, Transport, held

log = structlog.get_logger(__name__)

OVERLOADED = 0.1
"""A batch of which the provider puts off more than this share (503, refused streams, 429) slows its channel. A few do
not: where a quota is really used up, it refuses all. Who was put off waits by himself as long as the provider says."""


_UNJUDGED = (Outcome.HELD, Outcome.RETRY, Outcome.UNKNOWN, Outcome.EXPIRED)
"""Ends of a push that say nothing of whether the provider takes this channel's pushes."""


class TransportActor:
    """Sends up to ``concurrency`` batches at once over one transport, which lives and dies with this actor.

    ``intake``: the consumer's end of ``work``, of which it has a clone; the actor closes it to end. ``ask``: the dead
    ledger's word on a campaign of which nearly everything is refused.
    """

    def __init__(
        self,
        *,
        channel: str,
        tubes: Tubes,
        transport: Transport,
        work: trio.MemoryReceiveChannel[Work],
        intake: trio.MemorySendChannel[Work],
        done: trio.MemorySendChannel[Done],
        breaker: Breaker,
        refusals: Refusals,
        ask: Ask,
        gate: Gate,
        concurrency: int = 4,
    ) -> None:
        self._channel = channel
        self._tubes = tubes
        self._transport = transport
        self._work = work
        self._intake = intake
        self._done = done
        self._breaker = breaker
        self._refusals = refusals
        self._ask = ask
        self._gate = gate
        self._pace = Backoff(first=1.0)
        self._slow_until = 0.0
        self._concurrency = concurrency

    async def run(self, ready: Callable[[], None]) -> None:
        """Send until the consumer has closed its end and everything in hand has its outcome."""
        async with self._work, self._done, trio.open_nursery() as nursery:
            nursery.start_soon(self._transport.run, ready)
            async with trio.open_nursery() as senders:
                for _ in range(self._concurrency):
                    senders.start_soon(self._send, senders)
            self._transport.stop()

    def stop(self) -> None:
        """End when what was sent is answered; what is in hand and not begun comes back as held."""
        self._intake.close()
        self._transport.stop()

    async def _send(self, nursery: trio.Nursery) -> None:
        async for work in self._work:
            if self._refusals.spares(work.batch):
                await self._done.send(Done(work, held(work.batch, "the channel is paused")))
                continue
            async with PoisonCounter(self._tubes, self._channel, work.task.id, work.task.number):
                outcomes = await self._transport.send(work.batch)
            nursery.start_soon(self._weigh, work, outcomes)  # which may wait for others, and they need this place

    async def _weigh(self, work: Work, outcomes: Outcomes) -> None:
        outcomes = await self._refusals.weigh(work.batch, outcomes, self._ask)
        self._judge(work.batch, outcomes)
        await self._done.send(Done(work, outcomes))

    def _judge(self, batch: Batch, outcomes: Outcomes) -> None:
        self._gate.moved()
        judged = outcomes.delivered or any(entry.outcome not in _UNJUDGED for entry in outcomes.exceptions)
        if (unanswered := _unanswered(batch, outcomes)) or self._overloaded(batch, outcomes):
            if pause := self._pause(outcomes.slow):
                reason, sentence = _asked(outcomes, unanswered)
                log.warning(sentence, channel=self._channel, seconds=round(pause, 1))
                self._gate.slow(pause, reason, sentence)
        elif judged:
            self._gate.passed()
            if outcomes.delivered:
                self._pace.reset()
        if outcomes.stop is not None:
            if self._breaker.reason is None:
                log.error("channel paused", channel=self._channel, why=outcomes.stop)
            self._breaker.open(outcomes.stop, trio.current_time())
        elif judged:
            if self._breaker.reason is not None:
                log.info("channel goes on", channel=self._channel)
            self._breaker.success()

    def _overloaded(self, batch: Batch, outcomes: Outcomes) -> bool:
        """Whether the provider puts off more than a few. A single push waits by itself, unless it went first."""
        alone = 1 if self._gate.slow_since is None else 0
        return outcomes.put_off > max(alone, OVERLOADED * len(batch.recipients))

    def _pause(self, asked: float) -> float:
        """Seconds to leave the provider alone: as it says, or 1, 2, 4 … 60 while it goes on putting pushes off."""
        now = trio.current_time()
        if now < self._slow_until:
            return min(LONGEST_PAUSE, asked)  # begun before the pause: no news but what the provider itself says
        pause = min(LONGEST_PAUSE, max(asked, self._pace.next()))
        self._slow_until = now + pause
        return pause


def _unanswered(batch: Batch, outcomes: Outcomes) -> bool:
    """Whether none of a batch was answered, and it was more than one push: a phone may be silent by itself."""
    if len(outcomes.exceptions) < max(2, len(batch.recipients)):
        return False
    return all(entry.outcome is Outcome.UNKNOWN for entry in outcomes.exceptions)


def _asked(outcomes: Outcomes, unanswered: bool) -> tuple[str, str]:
    """The reason and the sentence of a pause."""
    if unanswered:
        return "silent", "the provider answers no push"
    words = Counter(entry.reason for entry in outcomes.exceptions if entry.outcome is Outcome.RETRY)
    word = f" ({words.most_common(1)[0][0]})" if words else ""
    return "quota", f"the provider asks for less{word}"
