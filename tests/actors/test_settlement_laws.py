"""What a batch's outcomes come to: pure laws of `actors.settler.settle`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Done, Work
from actors.settler import ATTEMPTS, settle
from storage.records import Task
from transports.contract import (
    Batch,
    Death,
    Exceptional,
    Message,
    Outcome,
    Outcomes,
    Recipient,
    pack_recipients,
    unpack_recipients,
)

NOW = 1_800_000_000_000
HOUR = 3_600_000


def done(
    exceptions: list[Exceptional], *, size: int = 10, attempt: int = 1, n: int = 1, expires_at: int = NOW + HOUR
) -> Done:
    recipients = [Recipient(100 + i, f"token-{i}", "token", NOW - 5000 + i, "en") for i in range(size)]
    batch = Batch(7, Message(title="t", body="b"), attempt, expires_at, recipients)
    task = Task(3, 44, 7, 1, 0, 2, n, attempt, expires_at, len(recipients), pack_recipients(recipients))
    return Done(Work(task, batch), Outcomes(size - len(exceptions), exceptions))


def test_a_batch_delivered_whole_leaves_nothing() -> None:
    result = settle(done([]), NOW)
    assert result.tallies == {"delivered": 10}
    assert (result.dead, result.left, result.remainders, result.ids) == ([], [], [], None)
    assert (result.task_id, result.number, result.first, result.last) == (3, 44, 100, 109)


def test_a_dead_token_is_deleted_only_as_it_was_when_we_sent() -> None:
    result = settle(done([Exceptional(2, Outcome.REJECTED, "BadDeviceToken", death=Death.DOUBTFUL)]), NOW)
    entry = (102, "token-2", NOW - 5000 + 2, "doubtful", "BadDeviceToken")
    assert result.dead == [entry], "a registration after that one must win"
    assert result.reasons == {"BadDeviceToken": 1}
    assert result.tallies == {"delivered": 9, "rejected": 1}


def test_a_dead_token_with_the_providers_timestamp_must_be_older_than_it() -> None:
    result = settle(done([Exceptional(2, Outcome.DEAD, "Unregistered", 0.0, NOW, Death.CERTAIN)]), NOW)
    assert result.dead == [(102, "token-2", NOW - 1, "certain", "Unregistered")]
    # not later than the registration: it proves nothing by itself
    late = Exceptional(2, Outcome.DEAD, "Unregistered", 0.0, NOW - 5000 + 2, Death.CERTAIN)
    assert settle(done([late]), NOW).dead == [(102, "token-2", NOW - 5000 + 2, "likely", "Unregistered")]


def test_what_we_refuse_ourselves_is_no_word_of_the_provider() -> None:
    """A3"""
    result = settle(done([Exceptional(2, Outcome.REJECTED, "the token is not hexadecimal")]), NOW)
    assert (result.dead, result.tallies["rejected"]) == ([], 1)


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.UNKNOWN])
def test_the_last_attempt_is_terminal(outcome: Outcome) -> None:
    before = settle(done([Exceptional(0, outcome, "busy")], attempt=ATTEMPTS - 1), NOW)
    assert before.tallies["retried"] == 1
    assert before.remainders[0].attempt == ATTEMPTS
    last = settle(done([Exceptional(0, outcome, "busy")], attempt=ATTEMPTS), NOW)
    assert last.tallies == {"delivered": 9, "rejected": 1}
    assert last.remainders == []
    assert "given up after 8 attempts: busy" in last.reasons


def test_what_was_never_judged_is_no_attempt() -> None:
    result = settle(done([Exceptional(i, Outcome.HELD, "paused") for i in range(10)], attempt=ATTEMPTS), NOW)
    assert result.remainders[0].attempt == ATTEMPTS
    assert result.tallies == {}, "held is neither an outcome nor a retry"


def test_a_retry_that_would_come_too_late_expires_now() -> None:
    result = settle(done([Exceptional(0, Outcome.RETRY, "busy", 900.0)], expires_at=NOW + 800_000), NOW)
    assert result.tallies == {"delivered": 9, "expired": 1}


def test_a_retry_waits_at_least_as_long_as_the_provider_says() -> None:
    exceptions = [Exceptional(i, Outcome.RETRY, "busy", after) for i, after in enumerate([0.0, 5.0, 60.0, 61.0, 900.0])]
    result = settle(done(exceptions), NOW)
    delays = {r.id: rest.delay for rest in result.remainders for r in unpack_recipients(rest.recipients)}
    for i, after in enumerate([0.0, 5.0, 60.0, 61.0, 900.0]):
        assert delays[100 + i] >= after


def test_a_remainder_tells_all_its_ids() -> None:
    assert settle(done([], n=-352, size=3), NOW).ids == [100, 101, 102]


exceptional = st.builds(
    lambda outcome, after, timestamp: (outcome, after, timestamp),
    st.sampled_from([o for o in Outcome if o is not Outcome.DELIVERED]),
    st.floats(0, 5000),
    st.none() | st.integers(NOW - HOUR, NOW),
)


@given(
    st.lists(exceptional, max_size=20),
    st.integers(0, 20),
    st.integers(1, ATTEMPTS),
    st.integers(NOW - HOUR, NOW + HOUR),
)
def test_every_recipient_ends_or_goes_on_and_never_both(
    fates: list[tuple[Outcome, float, int | None]], more: int, attempt: int, expires_at: int
) -> None:
    exceptions = [Exceptional(i, o, "why", after, timestamp) for i, (o, after, timestamp) in enumerate(fates)]
    size = len(fates) + more
    result = settle(done(exceptions, size=size, attempt=attempt, expires_at=expires_at), NOW)
    ended = sum(number for word, number in result.tallies.items() if word != "retried")
    going_on = [r.id for rest in result.remainders for r in unpack_recipients(rest.recipients)]
    assert ended + len(going_on) == size
    assert sorted(going_on) == sorted(result.left)
    assert len(set(going_on)) == len(going_on)
    assert len(result.remainders) <= 8, "the queue numbers at most eight parts of a remainder"
    assert all(NOW + rest.delay * 1000 < expires_at for rest in result.remainders)
