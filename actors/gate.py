"""The gate: decides whether a channel may take a batch now, and says why not.

The consumer waits here and nowhere else; the transport actor and the settler report here. One list
(:meth:`Gate.obstacles`) holds the consumer back and is shown to people, so that the two cannot differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog
import trio

from actors.breaker import Breaker
from actors.channel_activity import ChannelActivity
from actors.limiter import Limiter
from actors.refusals import LIMIT, Ask, Refusals
from actors.slowdown import Slowdown
from campaigns.batch import Batch
from campaigns.channel_figures import ChannelFigures
from campaigns.channel_state import ChannelState
from campaigns.clock import Clock, wall_clock
from campaigns.lane import Lane
from campaigns.outcome import Outcome
from supervision import Parking
from transports.contract import Counting, Outcomes, Transport

log = structlog.get_logger(__name__)

LOOK_EVERY = 0.25
"""Seconds between two looks of a waiting consumer: an obstacle may end early."""
BLINK = 2.0
"""Seconds that an outage, a failed settlement or a wait for the channel's rate must last to be reported."""
BY_ITSELF = "sending resumes by itself"
_UNJUDGED = (Outcome.POSTPONED, Outcome.RETRY, Outcome.UNKNOWN, Outcome.EXPIRED)
"""Outcomes that do not show whether the provider accepts this channel's pushes."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why a channel stops or slows down. Becomes a ``ChannelState`` if people should know of it."""

    reason: str
    sentence: str
    since: float
    """On ``trio.current_time()``."""
    remedy: str
    seconds: float = 0.0
    """During these no batch is taken; 0: batches are still taken; ``math.inf``: until the obstacle is gone."""
    brief: bool = False
    """Too short, so far, to be reported."""


class Gate:
    """Pauses one channel's consumer when needed, and outlives the restarts of the channel's actors.

    ``limiter`` may be shared with other channels. ``ask`` asks the dead ledger about a campaign when nearly all of its
    pushes are refused; ``limit``: the share of refused tokens above which it is asked. ``clock``: ms UTC.
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
        """Runs the channel's actors, and parks them when they crash too often."""
        self.transport: Transport | None = None
        """The transport, while its actor runs; ``obstacles`` asks it for its outage."""
        self.in_hand: Counter[int] = Counter()
        """Campaign → batches that are taken and not yet settled."""
        self.figures = ChannelFigures()
        self._starved = self._rated = 0.0
        self._starved_since: float | None = None
        self._rated_since = self._rated_until = -math.inf  # when batches have been waiting for the channel's own rate
        self.begin_anew()

    def change(self, limit: float, limiter: Limiter | None) -> None:
        """Go on with other settings: see the class."""
        self.refusals.limit, self._limiter = limit, limiter

    def begin_anew(self) -> None:
        """Reset for actors that restart with nothing in hand. The provider's refusals are kept."""
        self.in_hand.clear()
        self.slowdown = Slowdown()
        self._moved_at = 0.0  # when a batch was last taken, or came back from the provider
        self._unsettled_since: float | None = None
        self._settles = trio.Event()
        self._settles.set()

    # called by the consumer, and to show the channel to people

    def obstacles(self) -> Iterator[Obstacle]:
        """Yield what stops or slows the channel now, the worst first."""
        now = trio.current_time()
        why, seconds, asking = self.breaker.reason, self.breaker.retry_in(now), self.refusals.asking
        if why is not None and asking:
            yield Obstacle("question", why, self.breaker.since, "`broadside dead list`, then answer", seconds)
        if self.parking is not None and (parked := self.parking.parked) is not None:
            sentence = f"parked because it crashed too often: {parked.why}"
            remedy = "report it with the traceback in the log; it is tried again every minute"
            yield Obstacle("parked", sentence, parked.since, remedy, max(0.0, parked.until - now))
            return
        if why is not None and not asking:
            yield Obstacle("breaker", why, self.breaker.since, f"fix it, and {BY_ITSELF}", seconds)
        if self.transport is not None and (outage := self.transport.outage) is not None:
            remedy = f"`broadside doctor` tests the connection; once it is back, {BY_ITSELF}"
            yield Obstacle("unreachable", outage.sentence, outage.since, remedy, brief=now - outage.since < BLINK)
        if (since := self._unsettled_since) is not None:
            sentence = "batches cannot be settled: this node's queue is out of reach, or its memory or disk is full"
            yield Obstacle("settling", sentence, since, f"see the log; {BY_ITSELF}", math.inf, now - since < BLINK)
        if (since := self.slowdown.since) is not None:
            seconds = self.slowdown.retry_in(now)
            yield Obstacle(self.slowdown.reason, self.slowdown.sentence, since, BY_ITSELF, seconds)
        if self.transport is not None and (batches := sum(self.in_hand.values())):
            sentence, brief = f"{batches} batches wait for the provider's answers", now - self._moved_at < BLINK
            yield Obstacle("answers", sentence, self._moved_at, f"an answer may take 20 s; {BY_ITSELF}", brief=brief)
        if self._limiter is not None:
            pause, goes_on = self._limiter.delay(0, now), now < self._rated_until + BLINK
            if pause > 0 or goes_on:  # also while the next batch is taken, or it would come and go with each batch
                since = self._rated_since if goes_on else now
                sentence = f"sends at its own rate, {self._limiter.rate * 60:,.0f} a minute in this worker"
                remedy = "raise the channel's rate if the provider allows more"
                brief = max(self._rated_until, now + pause) - since < BLINK
                yield Obstacle("limiter", sentence, since, remedy, pause, brief)

    def state(self) -> ChannelState | None:
        """The worst obstacle, as people read it; None: nothing is worth reporting."""
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

    def activity(self) -> ChannelActivity:
        """What the channel is doing now, for people."""
        starved = 0.0 if self._starved_since is None else trio.current_time() - self._starved_since
        rate, left = (None, None) if self._limiter is None else self._limiter.standing(trio.current_time())
        return ChannelActivity(
            breaker=self.breaker.state.value,
            in_hand=sum(self.in_hand.values()),
            limit=rate,
            left=left,
            starved=round(self._starved + starved, 3),
            rated=round(self._rated, 3),
            traffic=self.transport.traffic if isinstance(self.transport, Counting) else None,
        )

    async def opened(self, *, upper: bool = False) -> None:
        """Return when a batch may be taken. ``upper``: one of the upper lane, which need not wait for the others' rate.

        While the channel is on probation the usual hands take its probe, of the upper lane if there is one.
        """
        await self._unstopped()
        while upper and self._on_probation:
            await trio.sleep(LOOK_EVERY)
            await self._unstopped()
        if self._limiter is not None:
            # wait for the channel's rate only once: else one of two channels that share a limiter would starve
            pause = self._limiter.delay(0, trio.current_time(), upper=upper)
            await trio.sleep(pause)
            if not upper:
                self._rated += pause
            await self._unstopped()

    async def _unstopped(self) -> None:
        # in short steps: a pause may grow meanwhile, or end when a probe succeeds or a person answers
        while pause := max((each.seconds for each in self.obstacles() if each.reason != "limiter"), default=0.0):
            if pause == math.inf:
                await self._settles.wait()
            else:
                await trio.sleep(min(pause, LOOK_EVERY))

    @property
    def careful(self) -> bool:
        """Whether batches should be taken one at a time: each may be the last for a while."""
        return self._limiter is not None or self._on_probation

    @property
    def _on_probation(self) -> bool:
        return self.breaker.reason is not None or self.slowdown.since is not None

    # called by the consumer

    def polls(self) -> None:
        """Hands are free, and the tube is asked for batches."""
        self._starved_since = trio.current_time()

    def polled(self) -> None:
        """The tube has answered."""
        if self._starved_since is not None:
            self._starved += trio.current_time() - self._starved_since
        self._starved_since = None

    def probe(self) -> None:
        """Batches were taken. After a pause the first is the probe, and the others wait for its result."""
        self._moved_at = now = trio.current_time()
        self.breaker.probe(now)
        self.slowdown.probe(now)

    def taken(self, batch: Batch) -> None:
        """A batch is in hand. Its pushes are taken from the rate now; the next take waits for them."""
        now = trio.current_time()
        n, upper = len(batch.recipients), batch.lane is Lane.UPPER
        if self._limiter is not None and (pause := self._limiter.delay(n, now, upper=upper)) > 0:
            if now >= self._rated_until + BLINK:
                self._rated_since = now
            self._rated_until = now + pause
        self.in_hand[batch.campaign] += 1

    # called by the transport actor

    def spares(self, batch: Batch) -> bool:
        """Whether a batch should go back unsent: the channel is stopped, and this batch would be a bad probe."""
        return self.refusals.spares(batch)

    async def answered(self, batch: Batch, outcomes: Outcomes, began: float = math.inf) -> Outcomes:
        """Judge the channel by a batch's outcomes. Returns the outcomes to settle (:meth:`Refusals.weigh`)."""
        outcomes = await self.refusals.weigh(batch, outcomes, self._ask, began)
        self._moved_at = now = trio.current_time()
        if began <= now:
            self.figures.answered(now - began)
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

    # called by the settler

    def settled(self, batch: Batch) -> None:
        """A batch is settled."""
        self.in_hand[batch.campaign] -= 1

    def count(self, tallies: Mapping[str, int]) -> None:
        """The queue has taken a batch's settlement. ``tallies``: outcome → pushes."""
        self.figures.settled(tallies)

    def settlement_failed(self) -> None:
        """Take nothing more until a settlement succeeds."""
        if self._unsettled_since is None:
            self._unsettled_since = trio.current_time()
            self._settles = trio.Event()

    def settlement_succeeded(self) -> None:
        """Settlements work, or work again."""
        self._unsettled_since = None
        self._settles.set()
