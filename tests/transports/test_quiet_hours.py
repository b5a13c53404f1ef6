"""A push that may be begun may still be shown at night: a batch under way stops at its window's end, and a provider
keeps nothing beyond it."""

from __future__ import annotations

import math

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.recipient import Recipient
from campaigns.windows import MARGIN
from transports.decision import Decision
from transports.dispatch import Dispatch
from transports.http2.messages import Answer, Row, Template

OPENS, CLOSES = 400_000, 1_000_000


def dispatch(clock: list[int], begin_before: float = math.inf) -> Dispatch:
    recipients = [Recipient(key, "aa", "token", 1, "en") for key in range(3)]
    batch = Batch(7, Message(title="t", body="b"), 1, 10**15, recipients, opens_at=OPENS, closes_at=CLOSES)
    rows: list[Row] = [(key, b"aa", b"", b"{}", ()) for key in range(3)]

    def decide(answer: Answer, attempt: int) -> Decision:
        raise AssertionError("nothing is answered here")

    template = Template(b"nowhere", b"/", ())
    return Dispatch(batch, rows, lambda: template, decide, lambda answer, then: False, lambda: clock[0], begin_before)


def test_what_is_not_begun_five_seconds_before_quiet_hours_comes_back() -> None:
    """Also where this process has been suspended for hours: the clock on the wall counts."""
    clock = [CLOSES - MARGIN - 1]
    under_way = dispatch(clock)
    assert under_way.may_begin()
    assert under_way.outcomes.exceptions == []
    clock[0] += 1
    under_way.may_begin()
    assert [entry.outcome for entry in under_way.outcomes.exceptions] == [Outcome.POSTPONED] * 3
    assert {entry.reason for entry in under_way.outcomes.exceptions} == {"quiet hours"}


def test_what_was_taken_by_a_fast_clock_comes_back_when_the_clock_is_set_right() -> None:
    """Issue 21, a clock set right: to the fast clock it was morning already."""
    clock = [OPENS]
    under_way = dispatch(clock)
    assert under_way.may_begin()
    assert under_way.outcomes.exceptions == []
    clock[0] -= 1
    under_way.may_begin()
    assert [entry.outcome for entry in under_way.outcomes.exceptions] == [Outcome.POSTPONED] * 3


def test_what_a_provider_would_keep_for_too_long_by_now_comes_back() -> None:
    """Issue 21, a clock set right: a time to live that was counted by a slow clock ends after quiet hours begin."""
    clock = [OPENS]
    under_way = dispatch(clock, begin_before=OPENS + 25_000)
    clock[0] += 25_000
    assert under_way.may_begin()
    assert under_way.outcomes.exceptions == []
    clock[0] += 1
    under_way.may_begin()
    assert [entry.outcome for entry in under_way.outcomes.exceptions] == [Outcome.POSTPONED] * 3


def test_a_provider_keeps_a_push_until_the_news_ends_or_quiet_hours_begin() -> None:
    message = Message(title="t", body="b")
    assert Batch(7, message, 1, CLOSES + 5, [], closes_at=CLOSES).kept_until == CLOSES
    assert Batch(7, message, 1, CLOSES - 5, [], closes_at=CLOSES).kept_until == CLOSES - 5
    assert Batch(7, message, 1, CLOSES + 5, []).kept_until == CLOSES + 5
