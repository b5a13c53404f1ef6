"""What a batch's outcomes come to: pure laws of `actors.settler.settle`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Answered, PartAnswered
from actors.settler import ATTEMPTS, settle, settle_part
from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Death, Fault, Outcome
from campaigns.recipient import Recipient, pack_recipients, unpack_recipients
from storage.records import UNSURE, Task, attempt
from transports.contract import Exceptional, Outcomes

NOW = 1_800_000_000_000
HOUR = 3_600_000


def done(exceptions: list[Exceptional], *, size: int = 10, attempt: int = 1, expires_at: int = NOW + HOUR) -> Answered:
    recipients = [Recipient(100 + i, f"token-{i}", "token", NOW - 5000 + i, "en") for i in range(size)]
    tried = Task(3, 44, 7, 1, 0, 2, 1, attempt, expires_at, size, pack_recipients(recipients))
    batch = Batch(
        7,
        Message(title="t", body="b"),
        tried.tries,
        expires_at,
        recipients,
        task_id=3,
        number=44,
        unsure=tried.unsure,
        refusals=tried.refusals,
    )
    return batch, Outcomes(size - len(exceptions), exceptions)


def test_a_batch_delivered_whole_leaves_nothing() -> None:
    result = settle(*done([]), NOW)
    assert result.tallies == {"delivered": 10}
    assert (result.dead, result.remainders, result.ended) == ([], [], list(range(100, 110)))
    assert (result.task_id, result.number) == (3, 44)


def test_a_dead_token_is_deleted_only_as_it_was_when_we_sent() -> None:
    result = settle(*done([Exceptional(2, Outcome.REJECTED, "BadDeviceToken", death=Death.DOUBTFUL)]), NOW)
    entry = (102, "token-2", NOW - 5000 + 2, "doubtful", "BadDeviceToken")
    assert result.dead == [entry], "a registration after that one must win"
    assert result.reasons == {"BadDeviceToken": 1}
    assert result.tallies == {"delivered": 9, "rejected": 1}


def test_a_dead_token_with_the_providers_timestamp_must_be_older_than_it() -> None:
    result = settle(*done([Exceptional(2, Outcome.DEAD, "Unregistered", 0.0, NOW, Death.CERTAIN)]), NOW)
    assert result.dead == [(102, "token-2", NOW - 1, "certain", "Unregistered")]
    # not later than the registration: it proves nothing by itself
    late = Exceptional(2, Outcome.DEAD, "Unregistered", 0.0, NOW - 5000 + 2, Death.CERTAIN)
    assert settle(*done([late]), NOW).dead == [(102, "token-2", NOW - 5000 + 2, "likely", "Unregistered")]


def test_what_we_refuse_ourselves_is_no_word_of_the_provider() -> None:
    """A3"""
    result = settle(*done([Exceptional(2, Outcome.REJECTED, "the token is not hexadecimal")]), NOW)
    assert (result.dead, result.tallies["rejected"]) == ([], 1)


OWN = Exceptional(0, Outcome.RETRY, "busy", fault=Fault.PHONE)


def test_a_phone_that_refuses_eight_times_itself_is_given_up() -> None:
    """B2: its own refusals count, whatever else it has waited for."""
    before = settle(*done([OWN], attempt=attempt(40, ATTEMPTS - 2)), NOW)
    assert before.tallies["retried"] == 1
    assert before.remainders[0].attempt == attempt(41, ATTEMPTS - 1)
    last = settle(*done([OWN], attempt=attempt(41, ATTEMPTS - 1)), NOW)
    assert last.tallies == {"delivered": 9, "rejected": 1}
    assert last.remainders == []
    assert "given up after 8 attempts: busy" in last.reasons


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.UNKNOWN])
@pytest.mark.parametrize("fault", [Fault.CHANNEL, Fault.MOMENT])
def test_who_waits_for_anothers_fault_is_not_given_up(outcome: Outcome, fault: Fault) -> None:
    """B2: a recipient was given up at its 8th try, whoever was to blame."""
    result = settle(*done([Exceptional(0, outcome, "busy", fault=fault)], attempt=attempt(500, 7)), NOW)
    unsure = outcome is Outcome.UNKNOWN
    assert result.tallies == {"delivered": 9, "retried": 1} | ({"unsure": 1} if unsure else {})
    assert result.remainders[0].attempt == attempt(501, 7, unsure)


def test_what_is_not_answered_is_repeated_ever_more_rarely() -> None:
    """B2: it may have arrived, so a phone whose pushes are never answered is not hammered."""
    delays = []
    for tries in range(1, 20):
        result = settle(*done([Exceptional(0, Outcome.UNKNOWN, "no answer")], attempt=tries), NOW)
        delays.append(result.remainders[0].delay)
    assert delays == [min(2.0**n, 900.0) for n in range(19)]


def test_a_task_has_its_tries_and_its_own_refusals_in_one_number() -> None:
    """B2: as it lies on the tubes."""
    first = Task.of(1, 1, [1, 7, 1, 0, 0, 1, 8, NOW, *[0] * 5, 0, b"\x90"])
    assert (first.tries, first.refusals) == (8, 0)
    later = Task.of(1, 1, [1, 7, 1, 0, 0, 1, attempt(5000, 3), NOW, *[0] * 5, 0, b"\x90"])
    assert (later.tries, later.refusals, later.unsure) == (999, 3, False)
    last = Task.of(1, 1, [1, 7, 1, 0, 0, 1, attempt(5, 3, True), NOW, *[0] * 5, 0, b"\x90"])
    assert (last.tries, last.refusals, last.unsure) == (5, 3, True)


def test_who_may_have_a_push_is_counted_until_its_outcome_is_known() -> None:
    """25.4: an unanswered push, and every push of a batch whose earlier take ended without a settlement."""
    batch, outcomes = done([Exceptional(0, Outcome.UNKNOWN, "no answer"), Exceptional(1, Outcome.POSTPONED, "stopped")])
    assert settle(batch, outcomes, NOW).tallies["unsure"] == 1
    again = settle(replace(batch, unsure=True), outcomes, NOW)
    assert again.tallies["unsure"] == 2 - len(batch.recipients), "those who go back stay unsure"
    assert {rest.attempt >= UNSURE for rest in again.remainders} == {True}
    part = settle_part(PartAnswered(replace(batch, unsure=True), [2, 3], frozenset()))
    assert part.tallies == {"delivered": 2, "unsure": -2}


def test_what_was_never_judged_is_no_attempt() -> None:
    held = [Exceptional(i, Outcome.POSTPONED, "paused", fault=Fault.PHONE) for i in range(10)]
    result = settle(*done(held, attempt=attempt(3, ATTEMPTS - 1)), NOW)
    assert result.remainders[0].attempt == attempt(3, ATTEMPTS - 1)
    assert result.tallies == {}, "held is neither an outcome nor a retry"


@pytest.mark.parametrize(("left", "delay"), [(800.0, 400.0), (3.0, 1.5), (1.5, 1.0)])
def test_no_wait_is_longer_than_half_of_what_is_left_of_the_news_life(left: float, delay: float) -> None:
    """B2, C2: a Retry-After beyond the news' end was the recipient's end; the fault may be over in a minute."""
    late = Exceptional(0, Outcome.RETRY, "busy", 86_400.0)
    result = settle(*done([late], expires_at=NOW + int(left * 1000)), NOW)
    assert result.tallies == {"delivered": 9, "retried": 1}
    assert [rest.delay for rest in result.remainders] == [delay]


def test_what_comes_back_in_the_last_second_of_the_news_expires() -> None:
    result = settle(*done([Exceptional(0, Outcome.RETRY, "busy")], expires_at=NOW + 1000), NOW)
    assert result.tallies == {"delivered": 9, "expired": 1}
    assert result.reasons == {"busy": 1}


def test_a_retry_waits_at_least_as_long_as_the_provider_says() -> None:
    exceptions = [Exceptional(i, Outcome.RETRY, "busy", after) for i, after in enumerate([0.0, 5.0, 60.0, 61.0, 900.0])]
    result = settle(*done(exceptions), NOW)
    delays = {r.id: rest.delay for rest in result.remainders for r in unpack_recipients(rest.recipients)}
    for i, after in enumerate([0.0, 5.0, 60.0, 61.0, 900.0]):
        assert delays[100 + i] >= after


exceptional = st.tuples(
    st.sampled_from([o for o in Outcome if o is not Outcome.DELIVERED]),
    st.floats(0, 90_000),
    st.none() | st.integers(NOW - HOUR, NOW),
    st.sampled_from(Fault),
)


@given(
    st.lists(exceptional, max_size=20),
    st.integers(0, 20),
    st.builds(attempt, st.integers(1, 1200), st.integers(0, ATTEMPTS - 1)),
    st.integers(NOW - HOUR, NOW + HOUR),
)
def test_every_recipient_ends_or_goes_on_and_never_both(
    fates: list[tuple[Outcome, float, int | None, Fault]], more: int, encoded: int, expires_at: int
) -> None:
    exceptions = [
        Exceptional(i, o, "why", after, timestamp, fault=fault) for i, (o, after, timestamp, fault) in enumerate(fates)
    ]
    size = len(fates) + more
    result = settle(*done(exceptions, size=size, attempt=encoded, expires_at=expires_at), NOW)
    ended = sum(number for word, number in result.tallies.items() if word not in ("retried", "unsure"))
    going_on = [r.id for rest in result.remainders for r in unpack_recipients(rest.recipients)]
    assert ended + len(going_on) == size
    assert sorted([*going_on, *result.ended]) == list(range(100, 100 + size))
    assert len(set(going_on)) == len(going_on)
    assert len(result.remainders) <= 8, "the queue numbers at most eight parts of a remainder"
    assert all(NOW + rest.delay * 1000 < expires_at for rest in result.remainders)
