"""Sends one batch through a pool: judges the answers, and renews the credential once if that may help."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from campaigns.batch import Batch, Leave
from campaigns.clock import Clock, wall_clock
from campaigns.lane import Lane
from campaigns.outcome import Death, Fault, Outcome
from campaigns.windows import MARGIN
from transports.contract import Exceptional, Outcomes
from transports.decision import Decision, Then
from transports.http2.messages import UNANSWERED, UNPROCESSED, Answer, Row, Template
from transports.http2.pool import Pool
from transports.http2.submission import Submission

_log = structlog.get_logger(__name__)

_RENEWALS = (Then.RENEW, Then.RENEW_AND_RECONNECT, Then.RENEW_IF_MISDATED)
_SAME_CONNECTION = (Then.NOTHING, Then.RENEW)
_PATIENCE = 0.25
"""Seconds from a batch's last request until it is said who of it is late."""
_FEW = 5
"""At most one in so many is late; if there are more, it is too soon."""
_REPEATED = 3  # equal answers in one batch after which a doubtful refusal is the channel's fault


class Dispatch(Submission):
    """A batch under way: its requests, which the pool drives, and its outcomes so far."""

    def __init__(
        self,
        batch: Batch,
        rows: list[Row],
        template: Callable[[], Template],
        decide: Callable[[Answer, int], Decision],
        renew: Callable[[Answer, Then], bool],
        clock: Clock = wall_clock,
        begin_before: float = math.inf,
    ) -> None:
        """``rows``: a request for each recipient with a usable token; its key is the recipient's index in ``batch``.

        ``decide(answer, attempt)`` is the platform's table. ``renew`` replaces the credential that ``answer`` refused,
        and returns whether that is worth another try. ``clock``: ms UTC. ``begin_before``: ms UTC by that clock after
        which ``rows`` would be kept by the provider for too long.
        """
        super().__init__(rows, template, batch.begin_until, first=batch.lane is Lane.UPPER)
        self.outcomes = Outcomes()
        self._batch = batch
        self._decide = decide
        self._renew = renew
        self._clock = clock
        self._begin_before = begin_before
        self._again: list[Row] = []
        self._renewed = False
        self._lean = False
        """Whether the requests that were answered before the first look at the late ones are let go of."""
        self._unreadable = False
        self._repeats: dict[str, int] = {}
        self._doubtful: list[Exceptional] = []
        # One factor per batch: recipients that wait equally long come back as one batch.
        self._jitter = random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, keeps no secret

    async def run(self, pool: Pool, prepare: Callable[[], Awaitable[str | None]] | None = None) -> Outcomes:
        """Send the batch, and return an outcome for every recipient that has a request.

        ``prepare`` waits until there is a credential, or returns the sentence that says why there will be none.
        """
        outcomes = self.outcomes
        while self.open:
            fault = await prepare() if prepare is not None else None
            if fault is not None:
                outcomes.stop = outcomes.stop or fault
            if outcomes.stop is not None:
                self.withdraw("the channel is paused")
                break
            await pool.submit(self)
            again, self._again = self._again, []
            self.load(again)
            self._renewed = True
        outcomes.delivered = self.accepted
        for doubtful in self._doubtful:
            outcomes.exceptions.append(doubtful._replace(death=Death.DOUBTFUL if outcomes.delivered else None))
        return outcomes

    def may_begin(self) -> bool:
        """Whether more may be begun; False: it is unclear whether the batch is still ours.

        If it has expired or is no longer ours, its unsent requests end here.
        """
        now = self._clock()
        if now >= self._batch.expires_at:
            self._end_unsent(Outcome.EXPIRED, "expired before it was sent")
        elif not self._batch.is_open(now):
            self.withdraw("quiet hours")
        elif now > self._begin_before:
            self.withdraw("it waited too long, or the clock was set")
        leave = self._batch.leave()
        if leave is Leave.GONE:
            self.withdraw("the batch is in other hands")
        elif leave is Leave.STOPPED:
            self.withdraw("the campaign is stopped")
        # If it is unclear whether this batch is ours, it is unclear for the batches behind it, too.
        return leave is not Leave.AWAITED

    def withdraw(self, reason: str) -> None:
        """End every unsent recipient as POSTPONED."""
        self._end_unsent(Outcome.POSTPONED, reason)

    def lags(self, now: float) -> bool:
        """Whether a few answers are late (``Submission.lags``)."""
        return not self.unsent and now - self.begun_at >= _PATIENCE and self.open * _FEW <= len(self._batch.recipients)

    def stragglers(self, unanswered: list[int]) -> None:
        """Report who has no delivery yet (``Batch.stragglers``)."""
        open_keys = (*unanswered, *(row[0] for row in self._again))
        left = {index for key in open_keys for index in self.recipients(key)}
        left.update(entry.index for entry in self.outcomes.exceptions)
        left.update(entry.index for entry in self._doubtful)
        if len(left) + self.accepted == len(self._batch.recipients):
            self._batch.stragglers(left)
            if not self._lean:
                self._lean = True
                self.let_go(unanswered)

    def answer(self, answer: Answer) -> str | None:
        """Judge one answer. Returns why the connection that it came over should take no new requests, or None."""
        retire: str | None = None
        key, status = answer.request.key, answer.status
        try:
            if status == UNANSWERED:
                self._end(key, Outcome.UNKNOWN, "no answer")
            elif status == UNPROCESSED:
                self.outcomes.put_off += len(self.recipients(key))
                self._end(key, Outcome.RETRY, "REFUSED_STREAM", 1.0)
            else:
                retire = self.judge(answer, self._batch.attempt)
        except Exception as error:  # an answer that cannot be judged ends only its own recipients
            if not self._unreadable:
                self._unreadable = True
                size, what = len(answer.body), repr(error)
                _log.warning("an answer cannot be judged", status=status, bytes=size, error=what)
            self._end(key, Outcome.REJECTED, "unreadable answer")
        self.close(1)
        return retire

    def recipients(self, key: int) -> Sequence[int]:
        """The positions in the batch of those whom the request ``key`` is for."""
        return (key,)

    def judge(self, answer: Answer, attempt: int) -> str | None:
        """Judge one answer with a status, and act. Returns as :meth:`answer`."""
        decision = self._decide(answer, attempt)
        self.act(answer, decision, self.recipients(answer.request.key))
        return decision.reason if decision.then not in _SAME_CONNECTION else None

    def act(self, answer: Answer, decision: Decision, indexes: Sequence[int]) -> None:
        """Do what a decision about the recipients at these positions asks for, and note their outcome if it is known.

        A decision to renew the credential concerns the whole request.
        """
        then = decision.then
        if decision.outcome is Outcome.RETRY and decision.fault is not Fault.PHONE:
            self.outcomes.put_off += len(indexes)
        if then in _RENEWALS and not self._renewed and self._renew(answer, then):
            self._again.append(answer.request)
            return
        if then is Then.KEEP_TOKEN:
            self._renew(answer, then)
        self.outcomes.slow = max(self.outcomes.slow, decision.slow)
        sentence = decision.stop
        if decision.repeated is not None:
            count = self._repeats[decision.reason] = self._repeats.get(decision.reason, 0) + len(indexes)
            if count >= _REPEATED:
                sentence = decision.repeated
        if sentence is not None and self.outcomes.stop is None:
            self.outcomes.stop = sentence
            self.withdraw("the channel is paused")
        if decision.token_doubtful:
            made = Exceptional(0, decision.outcome, decision.reason, fault=decision.fault)
            self._doubtful += [made._replace(index=index) for index in indexes]
            return
        made = Exceptional(
            0,
            decision.outcome,
            decision.reason,
            decision.after * self._jitter,
            decision.unregistered_at,
            decision.death,
            decision.fault,
        )
        self.outcomes.exceptions += [made._replace(index=index) for index in indexes]

    def _end(self, key: int, outcome: Outcome, reason: str, after: float = 0.0) -> None:
        """Note the same outcome for all recipients of a request."""
        fault = Fault.MOMENT
        self.outcomes.exceptions += [
            Exceptional(index, outcome, reason, after, fault=fault) for index in self.recipients(key)
        ]

    def _end_unsent(self, outcome: Outcome, reason: str) -> None:
        self.outcomes.exceptions += [
            Exceptional(index, outcome, reason) for row in self.take_unsent() for index in self.recipients(row[0])
        ]


def lifetime(batch: Batch, now: int) -> tuple[int, float]:
    """Return the seconds for which a provider may keep a push, and the moment (ms UTC) until which it may be begun so.

    The provider counts from when it gets the push. Quiet hours must not begin before that time is over, even if the
    push is the last one of its batch that is begun.
    """
    left = max(0, batch.expires_at - now) // 1_000
    if batch.closes_at == math.inf:
        return left, math.inf
    latest = min(now + (batch.begin_until - trio.current_time()) * 1_000, batch.closes_at - MARGIN)
    return min(left, int(batch.closes_at - latest) // 1_000), latest
