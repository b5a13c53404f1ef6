"""The gate: whether a channel may take a batch now, and if not, why.

The consumer waits here and nowhere else; transport actor and settler report here. What the consumer waits for and what
is said of the channel are read from one list (:meth:`Gate.obstacles`), so that they cannot differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
import trio

from actors.breaker import Breaker
from actors.limiter import Limiter
from actors.messages import Clock, wall_clock
from actors.refusals import LIMIT, Ask, Refusals
from actors.slowdown import Slowdown
from campaigns.batch import Batch
from campaigns.channel_state import ChannelState
from campaigns.outcome import Outcome
from supervision import Parking
from transports.contract import Outcomes, Transport

log = structlog.get_logger(__name__)

LOOK_EVERY = 0.25
"""Seconds between two looks of a consumer that waits: what it waits for may end early."""
BLINK = 2.0
"""Seconds that an outage, a failed settlement or a wait for the own rate must last to be worth a word."""
BY_ITSELF = "sending goes on by itself"
_UNJUDGED = (Outcome.HELD, Outcome.RETRY, Outcome.UNKNOWN, Outcome.EXPIRED)
"""Ends of a push that say nothing of whether the provider takes this channel's pushes."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that is in a channel's way. Becomes a ``ChannelState`` where people should hear of it."""

    reason: str
    sentence: str
    since: float
    """On ``trio.current_time()``."""
    remedy: str
    seconds: float = 0.0
    """For so long no batch is taken; 0: batches are taken all the same; ``math.inf``: until it ends by itself."""
    brief: bool = False
    """Too short, so far, to be worth a word."""


class Gate:
    """Owns what stops one channel, and outlives the restarts of its actors.

    ``limiter`` may be shared with other channels; ``ask`` asks the dead ledger about a campaign whose pushes are
    nearly all refused; ``limit``: the share of refused tokens above which it is asked; ``clock``: ms UTC.
    """

    def __init__(
        self,
        channel: str,
        *,
        ask: Ask,
        limit: float = LIMIT,
        limiter: Limiter | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        self._channel = channel
        self._ask = ask
        self._limiter = limiter
        self._clock = clock
        self.breaker = Breaker()
        self.refusals = Refusals(channel, self.breaker, limit)
        self.parking: Parking | None = None
        """What runs the channel's actors, and parks them when they crash too often."""
        self.transport: Transport | None = None
        """The transport, while its actor runs; ``obstacles`` asks it for its outage."""
        self.in_hand: Counter[int] = Counter()
        """Campaign → batches that were taken and are not settled."""
        self._rated_since = self._rated_until = -math.inf  # the own rate is waited for, from batch to batch
        self.begin_anew()

    def begin_anew(self) -> None:
        """The channel's actors start anew, with nothing in hand. What the provider has refused stands."""
        self.in_hand.clear()
        self.slowdown = Slowdown()
        self._moved_at = 0.0  # when a batch was last taken up, or came back from the provider
        self._unsettled_since: float | None = None
        self._settles = trio.Event()
        self._settles.set()

    # asked by the consumer, and by whoever shows the channel to people

    def obstacles(self) -> Iterator[Obstacle]:
        """All that is in the channel's way now, the worst first."""
        now = trio.current_time()
        if self.parking is not None and (parked := self.parking.parked) is not None:
            sentence = f"parked, as it crashed too often: {parked.why}"
            remedy = "report it with the traceback in the log; it is tried again every minute"
            yield Obstacle("parked", sentence, parked.since, remedy, max(0.0, parked.until - now))
            return
        if (why := self.breaker.reason) is not None:
            asking, seconds = self.refusals.asking, self.breaker.retry_in(now)
            remedy = "`broadside dead list`, then answer" if asking else f"mend it, and {BY_ITSELF}"
            yield Obstacle("question" if asking else "breaker", why, self.breaker.since, remedy, seconds)
        if self.transport is not None and (outage := self.transport.outage) is not None:
            remedy = f"`broadside doctor` tries the way; once it is there {BY_ITSELF}"
            yield Obstacle("unreachable", outage.sentence, outage.since, remedy, brief=now - outage.since < BLINK)
        if (since := self._unsettled_since) is not None:
            sentence = "what was sent cannot be settled: this node's queue is away, or its memory is full"
            yield Obstacle("settling", sentence, since, f"see the log; {BY_ITSELF}", math.inf, now - since < BLINK)
        if (since := self.slowdown.since) is not None:
            seconds = self.slowdown.retry_in(now)
            yield Obstacle(self.slowdown.reason, self.slowdown.sentence, since, BY_ITSELF, seconds)
        if self.transport is not None and (batches := sum(self.in_hand.values())):
            sentence, brief = f"{batches} batches wait for the provider's answers", now - self._moved_at < BLINK
            yield Obstacle("answers", sentence, self._moved_at, f"an answer may take 20 s; {BY_ITSELF}", brief=brief)
        if self._limiter is not None:
            pause, goes_on = self._limiter.delay(0, now), now < self._rated_until + BLINK
            if pause > 0 or goes_on:  # also while the next batch is taken, or it would come and go with each of them
                since = self._rated_since if goes_on else now
                sentence = f"sends at its own rate, {self._limiter.rate * 60:,.0f} a minute in this worker"
                remedy = "raise the channel's rate if the provider allows more"
                brief = max(self._rated_until, now + pause) - since < BLINK
                yield Obstacle("limiter", sentence, since, remedy, pause, brief)

    def state(self) -> ChannelState | None:
        """The worst of what is in the channel's way, as people hear of it; None: nothing worth a word is."""
        obstacle = next((each for each in self.obstacles() if not each.brief), None)
        if obstacle is None:
            return None
        wall = self._clock()
        return ChannelState(
            channel=self._channel,
            reason=obstacle.reason,
            sentence=obstacle.sentence,
            since=wall - round(1000 * (trio.current_time() - obstacle.since)),
            until=wall + round(1000 * obstacle.seconds) if 0 < obstacle.seconds < math.inf else None,
            remedy=obstacle.remedy,
        )

    async def opened(self) -> None:
        """Return when a batch may be taken."""
        await self._unstopped()
        if self._limiter is not None:
            # the own rate is waited for once: who has waited goes, or one of two channels that share it would starve
            await trio.sleep(self._limiter.delay(0, trio.current_time()))
            await self._unstopped()

    async def _unstopped(self) -> None:
        # in short looks: meanwhile a pause may grow, or end with a probe's success or a person's answer
        while pause := max((each.seconds for each in self.obstacles() if each.reason != "limiter"), default=0.0):
            if pause == math.inf:
                await self._settles.wait()
            else:
                await trio.sleep(min(pause, LOOK_EVERY))

    @property
    def careful(self) -> bool:
        """Whether batches should be taken one at a time: each may be the last for a while."""
        return self._limiter is not None or self.breaker.reason is not None or self.slowdown.since is not None

    # told by the consumer

    def probe(self) -> None:
        """Batches were taken. After a pause the first is the probe, and the others wait for its fate."""
        self._moved_at = now = trio.current_time()
        self.breaker.probe(now)
        self.slowdown.probe(now)

    def taken(self, batch: Batch) -> None:
        """A batch is in hand. Its pushes are drawn from the rate now, and paid for before the next take."""
        now = trio.current_time()
        if self._limiter is not None and (pause := self._limiter.delay(len(batch.recipients), now)) > 0:
            if now >= self._rated_until + BLINK:
                self._rated_since = now
            self._rated_until = now + pause
        self.in_hand[batch.campaign] += 1

    # told by the transport actor

    def spares(self, batch: Batch) -> bool:
        """Whether a batch that was taken should not be sent: the channel is stopped, and this would be a bad probe."""
        return self.refusals.spares(batch)

    async def answered(self, batch: Batch, outcomes: Outcomes, began: float = math.inf) -> Outcomes:
        """Judge the channel by a batch's ends. Returns them as they may be settled (:meth:`Refusals.weigh`)."""
        outcomes = await self.refusals.weigh(batch, outcomes, self._ask, began)
        self._moved_at = now = trio.current_time()
        judged = bool(outcomes.delivered) or any(entry.outcome not in _UNJUDGED for entry in outcomes.exceptions)
        if pause := self.slowdown.answered(batch, outcomes, judged, now):
            log.warning(self.slowdown.sentence, channel=self._channel, seconds=round(pause, 1))
        if outcomes.stop is not None:
            if self.breaker.reason is None:
                log.error("channel paused", channel=self._channel, why=outcomes.stop)
            self.breaker.open(outcomes.stop, now)
        elif judged:
            if self.breaker.reason is not None:
                log.info("channel goes on", channel=self._channel)
            self.breaker.success()
        return outcomes

    # told by the settler

    def settled(self, batch: Batch) -> None:
        """A batch is out of hand."""
        self.in_hand[batch.campaign] -= 1

    def settlement_failed(self) -> None:
        """Take nothing more until a settlement has succeeded."""
        if self._unsettled_since is None:
            self._unsettled_since = trio.current_time()
            self._settles = trio.Event()

    def settlement_succeeded(self) -> None:
        """Settlements work, or work again."""
        self._unsettled_since = None
        self._settles.set()
