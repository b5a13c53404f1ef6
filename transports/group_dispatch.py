"""Sends a batch in requests that are for many recipients each, and judges answers that name those who got nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from campaigns.batch import Batch
from campaigns.clock import Clock, wall_clock
from transports.decision import Decision, Then
from transports.dispatch import Dispatch
from transports.http2.messages import Answer, Row, Template


class GroupVerdict(NamedTuple):
    """The meaning of one answer to a request for many."""

    whole: Decision | None = None
    """About all of its recipients; None: they are accepted, but for some."""
    refused: Mapping[str, Decision] = {}
    """By token, what the answer says of those that are not accepted."""


class GroupDispatch(Dispatch):
    """A batch under way whose requests are for groups of recipients. The connections must pass on all answers."""

    def __init__(
        self,
        batch: Batch,
        groups: Sequence[Sequence[int]],
        rows: list[Row],
        template: Callable[[], Template],
        verdict: Callable[[Answer, int], GroupVerdict],
        renew: Callable[[Answer, Then], bool],
        clock: Clock = wall_clock,
        begin_before: float = math.inf,
    ) -> None:
        """``groups``: positions in ``batch.recipients``; a row's key is one in ``groups``. Others as `Dispatch`."""
        self._groups = groups
        self._verdict = verdict
        self._tokens = [recipient.token for recipient in batch.recipients]
        super().__init__(batch, rows, template, _no_decision, renew, clock, begin_before)

    def recipients(self, key: int) -> Sequence[int]:
        """The positions in the batch of those whom the request ``key`` is for."""
        return self._groups[key]

    def judge(self, answer: Answer, attempt: int) -> str | None:
        """Judge one answer, and act (``Dispatch.judge``)."""
        verdict, members = self._verdict(answer, attempt), self.recipients(answer.request.key)
        if verdict.whole is not None:
            self.act(answer, verdict.whole, members)
            return verdict.whole.reason if verdict.whole.then is Then.RECONNECT else None
        by_decision: defaultdict[Decision, list[int]] = defaultdict(list)
        for index in members:
            if (decision := verdict.refused.get(self._tokens[index])) is not None:
                by_decision[decision].append(index)
            else:
                self.accepted += 1
        for decision, indexes in by_decision.items():
            self.act(answer, decision, indexes)
        return None


def _no_decision(answer: Answer, attempt: int) -> Decision:
    raise AssertionError("groups are judged by their verdict")
