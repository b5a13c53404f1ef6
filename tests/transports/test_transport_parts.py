"""Identity, limiter, breaker, back-off, retry-after, registry: pure parts by property."""

from __future__ import annotations

import itertools
import math
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.breaker import Breaker, BreakerState
from actors.limiter import START, Limiter
from campaigns.identity import campaign_text, parse_campaign
from transports import registry
from transports.apns.apns_id import apns_id_prefix, apns_ids
from transports.apns.platform import PLATFORM as APNS
from transports.backoff import Backoff
from transports.retry_after import parse_retry_after

ids = st.integers(0, 2**64 - 1)


@given(ids, ids)
def test_a_campaigns_text_is_13_characters_that_read_back_and_sort_as_ids_do(a, b):
    text = campaign_text(a)
    assert len(text) == 13
    assert parse_campaign(text) == parse_campaign(text.upper()) == a
    digits = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv")
    assert (text.translate(digits) < campaign_text(b).translate(digits)) == (a < b)


@pytest.mark.parametrize("text", ["", "a" * 12, "a" * 14, "0" * 13, "7" * 13, "aaaaaaaaaaaa!", "ÄÄÄÄÄÄÄÄÄÄÄÄÄ"])
def test_what_is_no_campaign_is_refused(text):
    with pytest.raises(ValueError, match="campaign"):
        parse_campaign(text)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_an_id_beyond_64_bits_has_no_text(number):
    with pytest.raises(ValueError, match="64-bit"):
        campaign_text(number)


@given(ids, ids)
def test_an_apns_id_is_a_uuid_that_names_campaign_and_subscriber(campaign, subscriber):
    (rest,) = apns_ids([subscriber])
    assert (apns_id_prefix(campaign) + rest).decode() == str(uuid.UUID(int=campaign << 64 | subscriber))


CALLS = st.lists(st.tuples(st.integers(1, 500), st.floats(0, 2) | st.floats(0, 1_000)), min_size=1, max_size=40)
RATES, BURSTS, RAMPS = st.floats(1, 1e5), st.floats(1, 1e4), st.just(0.0) | st.floats(0.5, 100)


def area(ramp: float, seconds: float) -> float:
    """What a rate of 1 gives in its first seconds of activity, by small steps (the limiter integrates in one)."""
    if ramp == 0:
        return seconds
    rising = min(ramp, seconds)
    steps = 200
    mean = sum(START + (1 - START) * (k + 0.5) / steps * rising / ramp for k in range(steps)) / steps
    return mean * rising + max(0.0, seconds - ramp)


@given(RATES, BURSTS, RAMPS, CALLS)
def test_a_limiter_never_passes_its_rate_in_any_window_and_keeps_the_order(rate, burst, ramp, calls):
    limiter = Limiter(rate, burst, ramp=ramp)
    now = 0.0
    sent = []
    for n, pause in calls:
        now += pause
        sent.append((now + limiter.delay(n, now), n))
    assert all(later[0] >= earlier[0] - 1e-6 for earlier, later in itertools.pairwise(sent))
    for first, (begin, size) in enumerate(sent):
        total = 0
        for at, n in sent[first:]:
            total += n
            assert total <= (max(burst, size) + rate * (at - begin)) * (1 + 1e-6) + 1e-3


@given(RATES, st.floats(1, 500), st.floats(0.5, 100), st.integers(1, 500), st.floats(0.1, 400))
def test_a_ramp_is_kept_and_climbed_while_all_that_is_allowed_is_sent(rate, burst, ramp, n, seconds):
    limiter = Limiter(rate, burst, ramp=ramp)
    now = sent = 0.0
    for _ in range(400):
        at = now + limiter.delay(n, now)
        allowed = burst + rate * area(ramp, at)
        assert sent + n <= max(allowed, n) * (1 + 1e-3) + 1e-3, "never above the ramp"
        assert sent + n >= allowed - burst - n - allowed * 1e-3, "and all that it gives: nobody starves"
        sent += n
        now = at
        if now > seconds:
            break


@given(st.integers(1, 20), st.floats(0, 290))
def test_a_ramp_outlives_a_short_pause_and_begins_anew_after_a_long_one(n, pause):
    limiter = Limiter(1_000, 500, ramp=60)
    now = 0.0
    while now < 100:
        now += limiter.delay(500, now)
    full = limiter.delay(0, now + pause)
    assert full == 0
    limiter.delay(500 + limiter._tokens, now + pause)  # empty and 500 in debt
    assert limiter.delay(0, now + pause) == pytest.approx(0.5)
    now += pause + 1.01
    for _ in range(n):  # an idle consumer looks again and again: that is no activity
        now += 301 / n
        limiter.delay(0, now)
    limiter.delay(500 + limiter._tokens, now)
    assert limiter.delay(0, now) > 5


def test_a_trickle_does_not_earn_a_flood():
    limiter = Limiter(1_000, 500, ramp=60)
    for second in range(600):
        limiter.delay(1, float(second))
    limiter.delay(500 + limiter._tokens, 600.0)
    assert limiter.delay(0, 600.0) > 2, "0.5 at the full rate"


def test_a_limiter_may_be_off_and_refuses_nonsense():
    assert Limiter(math.inf, 1).delay(10**9, 0.0) == 0
    with pytest.raises(ValueError, match="above 0"):
        Limiter(0, 1)
    with pytest.raises(ValueError, match="at least 0"):
        Limiter(1, 1, ramp=-1)


def test_a_clock_that_steps_back_gives_a_limiter_nothing():
    limiter = Limiter(10, 10)
    assert limiter.delay(10, 100.0) == 0
    assert limiter.delay(10, 50.0) == 1.0
    assert limiter.delay(10, 100.0) == 2.0


def test_a_breaker_lets_one_probe_pass_after_each_cool_down():
    breaker = Breaker(first=10, limit=30)
    assert breaker.retry_in(0) == 0
    breaker.probe(0)
    assert breaker.state is BreakerState.CLOSED
    breaker.open("the key was revoked", 10)
    assert (breaker.reason, breaker.state) == ("the key was revoked", BreakerState.OPEN)
    assert breaker.retry_in(19) == 1
    assert breaker.retry_in(20) == 0
    assert breaker.retry_in(21) == 0, "an empty tube uses up no probe"
    breaker.probe(21)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.retry_in(22) > 0
    breaker.open("still", 22)
    assert breaker.retry_in(41) == 1
    assert breaker.retry_in(42) == 0
    breaker.probe(42)
    breaker.success()
    assert (breaker.reason, breaker.state) == (None, BreakerState.CLOSED)
    assert breaker.retry_in(43) == 0


def test_only_failed_probes_make_a_breakers_pause_longer():
    breaker = Breaker(first=1, limit=30)
    now, pauses = 0.0, []
    for _ in range(7):
        breaker.open("the clock is wrong", now)
        breaker.open("the clock is wrong", now)  # another batch of those that were under way
        pauses.append(breaker.retry_in(now))
        now += pauses[-1]
        breaker.probe(now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    breaker.success()
    breaker.open("again", now)
    assert breaker.retry_in(now) == 1


def test_a_probe_that_never_comes_back_does_not_hold_the_channel_for_ever():
    breaker = Breaker(first=1, limit=30)
    breaker.open("x", 0)
    breaker.probe(1)
    assert breaker.retry_in(30) == 1
    assert breaker.retry_in(31) == 0


@given(st.integers(1, 100))
def test_back_off_starts_fast_grows_and_ends_at_its_limit(failures):
    backoff = Backoff()
    assert 0.05 <= backoff.next() <= 0.1
    waits = [backoff.next() for _ in range(failures)]
    for n, wait in enumerate(waits):
        assert min(60, 2**n) / 2 <= wait <= min(60, 2**n)
    backoff.reset()
    assert backoff.next() <= 0.1


@given(st.binary(max_size=40))
def test_retry_after_is_a_bounded_number_or_nothing(value):
    seconds = parse_retry_after(value, 0)
    assert seconds is None or 0 <= seconds <= 86_400


def test_retry_after_may_be_seconds_or_a_date():
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    at = int(now.timestamp() * 1_000) - 90_000
    assert parse_retry_after(None, 0) is None
    assert parse_retry_after(b" 120 ", 0) == 120
    assert parse_retry_after(format_datetime(now, usegmt=True).encode(), at) == 90
    assert parse_retry_after(b"soon", 0) is None


def test_a_platform_is_found_by_its_entry_point():
    assert registry.load("apns") is APNS
    assert {"apns", "fcm"} <= set(registry.platforms())


def test_an_unknown_platform_is_named_with_those_that_are_known():
    with pytest.raises(registry.UnknownPlatform, match='"pager" is not known; the known platforms: apns, fcm'):
        registry.load("pager")
