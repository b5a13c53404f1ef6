"""A batch's parts, one for each push service, and how their outcomes become the batch's.

A sick push service must not slow the others. So a pause that one asks for is its own, and a refusal of our key stops
the channel only if no other service takes a push.
"""

from __future__ import annotations

from dataclasses import replace

from campaigns.batch import Batch
from campaigns.outcome import Fault, Outcome
from transports.contract import Exceptional, Outcomes

REFUSED_WAIT = 60.0
"""Seconds until a push is tried again with a service that refuses our key while others take it."""


class ByService:
    """The parts of one batch."""

    def __init__(self, batch: Batch, groups: dict[str, list[int]], early: list[Exceptional]) -> None:
        """``groups``: authority → positions in ``batch.recipients``; ``early``: outcomes of all others."""
        self._batch = batch
        self._groups = groups
        self._early = early
        self._late: dict[str, set[int]] = {}
        self._done: dict[str, Outcomes] = {}

    def batch(self, authority: str, begin_until: float) -> Batch:
        """The part of a push service as a batch of its own, whose stragglers the whole batch hears of."""
        recipients = [self._batch.recipients[index] for index in self._groups[authority]]

        def heard(left: set[int]) -> None:
            self._late[authority] = left
            self._report()

        return replace(self._batch, recipients=recipients, stragglers=heard, begin_until=begin_until)

    def done(self, authority: str, outcomes: Outcomes) -> None:
        """Take the outcomes of a part."""
        self._done[authority] = outcomes
        if len(self._done) < len(self._groups):
            self._report()

    def _report(self) -> None:
        """Say who has no delivery yet, once that is known of every part (``Batch.stragglers``)."""
        left = {each.index for each in self._early}
        for authority, indices in self._groups.items():
            if authority in self._done:
                left.update(indices[each.index] for each in self._done[authority].exceptions)
            elif authority in self._late:
                left.update(indices[index] for index in self._late[authority])
            else:
                return
        self._batch.stragglers(left)

    def outcomes(self) -> Outcomes:
        """The outcomes of the whole batch. Every part is done."""
        whole = Outcomes(sum(each.delivered for each in self._done.values()), list(self._early))
        for authority, part in self._done.items():
            for each in part.exceptions:
                if part.stop is not None and whole.delivered and each.outcome is Outcome.POSTPONED:
                    each = each._replace(outcome=Outcome.RETRY, after=REFUSED_WAIT, fault=Fault.MOMENT)
                whole.exceptions.append(each._replace(index=self._groups[authority][each.index]))
            if not whole.delivered:
                whole.stop = whole.stop or part.stop
                whole.put_off += part.put_off
        return whole
