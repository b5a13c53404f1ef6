"""A push that may be begun may still be shown at night: a batch under way stops at its window's end, and a provider
keeps nothing beyond it."""

from __future__ import annotations

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.recipient import Recipient
from campaigns.windows import MARGIN
from transports.decision import Decision
from transports.dispatch import Dispatch
from transports.http2.messages import Answer, Row, Template

CLOSES = 1_000_000


def dispatch(clock: list[int]) -> Dispatch:
    recipients = [Recipient(key, "aa", "token", 1, "en") for key in range(3)]
    batch = Batch(7, Message(title="t", body="b"), 1, 10**15, recipients, closes_at=CLOSES)
    rows: list[Row] = [(key, b"aa", b"", b"{}", ()) for key in range(3)]

    def decide(answer: Answer, attempt: int) -> Decision:
        raise AssertionError("nothing is answered here")

    template = Template(b"nowhere", b"/", ())
    return Dispatch(batch, rows, lambda: template, decide, lambda answer, then: False, lambda: clock[0])


def test_what_is_not_begun_five_seconds_before_quiet_hours_comes_back() -> None:
    """Also where this process has been suspended for hours: the clock on the wall counts."""
    clock = [CLOSES - MARGIN - 1]
    under_way = dispatch(clock)
    assert under_way.may_begin()
    assert under_way.outcomes.exceptions == []
    clock[0] += 1
    under_way.may_begin()
    assert [entry.outcome for entry in under_way.outcomes.exceptions] == [Outcome.POSTPONED] * 3
    assert {entry.reason for entry in under_way.outcomes.exceptions} == {"quiet hours begin"}


def test_a_provider_keeps_a_push_until_the_news_ends_or_quiet_hours_begin() -> None:
    message = Message(title="t", body="b")
    assert Batch(7, message, 1, CLOSES + 5, [], closes_at=CLOSES).kept_until == CLOSES
    assert Batch(7, message, 1, CLOSES - 5, [], closes_at=CLOSES).kept_until == CLOSES - 5
    assert Batch(7, message, 1, CLOSES + 5, []).kept_until == CLOSES + 5
