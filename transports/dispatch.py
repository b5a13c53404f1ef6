"""One batch's way through a pool: send, judge the answers, renew the credential once if it comes to that."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import structlog

from campaigns.batch import Batch
from campaigns.outcome import Death, Fault, Outcome
from transports.contract import Exceptional, Outcomes
from transports.decision import Decision, Then
from transports.http2.messages import UNANSWERED, UNPROCESSED, Answer, Row, Template
from transports.http2.pool import Pool
from transports.http2.submission import Job

_log = structlog.get_logger(__name__)

_RENEWALS = (Then.RENEW, Then.RENEW_AND_RECONNECT, Then.RENEW_IF_MISDATED)
_REPEATED = 3  # answers of one batch that make a doubtful refusal the channel's fault


class Dispatch:
    """What is known of one batch while it is under way."""

    def __init__(
        self,
        batch: Batch,
        template: Callable[[], Template],
        decide: Callable[[Answer, int], Decision],
        renew: Callable[[Answer, Then], bool],
    ) -> None:
        """``decide(answer, attempt)`` is the platform's table.

        ``renew`` replaces the credential that ``answer`` refused, and tells whether that is worth another try.
        """
        self.outcomes = Outcomes()
        self._batch = batch
        self._template = template
        self._decide = decide
        self._renew = renew
        self._again: list[Row] = []
        self._renewed = False
        self._unreadable = False
        self._repeats: dict[str, int] = {}
        self._blamed: list[Exceptional] = []
        # One factor per batch: recipients that wait equally long come back as one batch.
        self._jitter = random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, keeps no secret
        self._job: Job | None = None

    async def run(
        self, pool: Pool, requests: list[Row], prepare: Callable[[], Awaitable[str | None]] | None = None
    ) -> Outcomes:
        """Send ``requests``; every one of them has its fate in the outcomes then.

        ``prepare`` waits until a credential is there, or returns the sentence that says why there will be none.
        """
        outcomes = self.outcomes
        while requests:
            fault = await prepare() if prepare is not None else None
            if fault is not None:
                outcomes.stop = outcomes.stop or fault
            if outcomes.stop is not None:
                outcomes.exceptions += [Exceptional(row[0], Outcome.HELD, "the channel is paused") for row in requests]
                break
            job = self._job = Job(
                requests,
                self._template,
                self._judge,
                self._batch.expires_at,
                self._batch.begin_until,
                self._batch.leave,
            )
            await pool.submit(job)
            outcomes.delivered += job.delivered
            outcomes.exceptions += job.exceptions
            # A cycle (the job holds our judge) would keep the batch's rows until the garbage collector comes round.
            self._job = None
            requests, self._again = self._again, []
            self._renewed = True
        for blamed in self._blamed:
            outcomes.exceptions.append(blamed._replace(death=Death.DOUBTFUL if outcomes.delivered else None))
        return outcomes

    def _judge(self, answer: Answer) -> Exceptional | None:
        try:
            return self._fate(answer)
        except Exception as error:  # what a provider answers for one recipient ends that recipient, and nobody else
            if not self._unreadable:
                self._unreadable = True
                size, what = len(answer.body), repr(error)
                _log.warning("an answer cannot be judged", status=answer.status, bytes=size, error=what)
            return Exceptional(answer.request.key, Outcome.REJECTED, "unreadable answer")

    def _fate(self, answer: Answer) -> Exceptional | None:
        index = answer.request.key
        if answer.status == UNANSWERED:
            return Exceptional(index, Outcome.UNKNOWN, "no answer", fault=Fault.MOMENT)
        if answer.status == UNPROCESSED:
            self.outcomes.put_off += 1
            return Exceptional(index, Outcome.RETRY, "REFUSED_STREAM", 1.0, fault=Fault.MOMENT)
        decision = self._decide(answer, self._batch.attempt)
        self.outcomes.put_off += decision.outcome is Outcome.RETRY and decision.fault is not Fault.PHONE
        then = decision.then
        if then is not Then.NOTHING and then is not Then.RENEW:
            answer.via.retire(decision.reason)
        if then in _RENEWALS and not self._renewed and self._renew(answer, then):
            self._again.append(answer.request)
            return None
        if then is Then.KEEP_TOKEN:
            self._renew(answer, then)
        self.outcomes.slow = max(self.outcomes.slow, decision.slow)
        sentence = decision.stop
        if decision.repeated is not None:
            count = self._repeats[decision.reason] = self._repeats.get(decision.reason, 0) + 1
            if count >= _REPEATED:
                sentence = decision.repeated
        if sentence is not None:
            self._stop(sentence)
        if decision.blames_token:
            self._blamed.append(Exceptional(index, decision.outcome, decision.reason, fault=decision.fault))
            return None
        after = decision.after * self._jitter
        return Exceptional(
            index,
            decision.outcome,
            decision.reason,
            after,
            decision.unregistered_at,
            decision.death,
            decision.fault,
        )

    def _stop(self, sentence: str) -> None:
        if self.outcomes.stop is None:
            self.outcomes.stop = sentence
            if self._job is not None:
                self._job.withdraw(Outcome.HELD, "the channel is paused")
