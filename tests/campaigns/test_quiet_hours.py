"""Quiet hours by each zone's own clocks, against a slow and obvious model: what the clock on the wall shows."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from campaigns.quiet_hours import DAY, QuietHours, allowed, local_instant, zones_known

NOW = 1_795_910_000_000
NIGHT = QuietHours.parse("23:00-07:00")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def is_quiet(zone: str, at: int, quiet: QuietHours) -> bool:
    """The model: look at the clock."""
    wall = datetime.fromtimestamp(at / 1000, ZoneInfo(zone))
    minute = wall.hour * 60 + wall.minute
    begin, end = quiet
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def test_at_no_allowed_moment_does_a_clock_show_a_quiet_hour_and_at_no_other_an_allowed_one() -> None:
    """All zones, drawn hours, starts of three years, and spans of up to three days: 60,000 moments."""
    dice = random.Random(21)
    for zone in sorted(zones_known()):
        for _ in range(20):
            start = NOW + dice.randrange(-500 * DAY, 600 * DAY)
            until = start + dice.randrange(1, 3 * DAY)
            begin = dice.randrange(1440)
            quiet = QuietHours(begin, (begin + dice.randrange(1, 1440)) % 1440)
            found = allowed(zone, quiet, start, until)
            edges = [edge for interval in found for edge in interval]
            assert edges == sorted(set(edges)), "in order, and apart"
            moments = [dice.randrange(start, until) for _ in range(3)]
            moments += [edge + near for edge in edges for near in (-1, 0) if start <= edge + near < until]
            for at in moments:
                is_allowed = any(begin <= at < end for begin, end in found)
                assert is_allowed is not is_quiet(zone, at, quiet), (zone, str(quiet), start, at)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Asia/Kathmandu", "2026-05-01"),  # 5:45 ahead
        ("Australia/Lord_Howe", "2026-04-05"),  # clocks go back half an hour
        ("Africa/Casablanca", "2026-02-15"),  # Ramadan begins
        ("Europe/Berlin", "2026-03-29"),  # a day of 23 hours
        ("Europe/Berlin", "2026-10-25"),  # a day of 25 hours
    ],
)
def test_on_a_day_on_which_clocks_change_the_night_ends_at_seven_by_the_clock(zone: str, day: str) -> None:
    after = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
    ((begin, end),) = allowed(zone, NIGHT, local_instant(zone, day, 0), local_instant(zone, after, 0))
    assert (begin, end) == (local_instant(zone, day, 7 * 60), local_instant(zone, day, 23 * 60))


def test_where_clocks_go_back_into_quiet_hours_these_begin_again() -> None:
    """In Berlin it is 02:30 twice on 25 October: people who may be woken at 02:30 are in bed again at 02:00."""
    found = allowed("Europe/Berlin", QuietHours.parse("01:00-02:30"), ms("2026-10-24T22:00Z"), ms("2026-10-25T04:00Z"))
    assert found == [
        (ms("2026-10-24T22:00Z"), ms("2026-10-24T23:00Z")),
        (ms("2026-10-25T00:30Z"), ms("2026-10-25T01:00Z")),
        (ms("2026-10-25T01:30Z"), ms("2026-10-25T04:00Z")),
    ]


@pytest.mark.parametrize(
    ("zone", "day", "minute", "instant"),
    [
        ("Europe/Berlin", "2026-03-29", 150, "2026-03-29T01:00Z"),  # 02:30 does not exist: 03:00
        ("Europe/Berlin", "2026-10-25", 150, "2026-10-25T00:30Z"),  # of two the first
        ("America/New_York", "2026-11-01", 90, "2026-11-01T05:30Z"),
        ("America/New_York", "2026-03-08", 150, "2026-03-08T07:00Z"),
        ("Asia/Tokyo", "2026-12-01", 480, "2026-11-30T23:00Z"),
        ("Pacific/Kiritimati", "2026-12-01", 480, "2026-11-30T18:00Z"),
        ("Asia/Kolkata", "2026-12-01", 0, "2026-11-30T18:30Z"),
    ],
)
def test_a_local_time_is_one_instant(zone: str, day: str, minute: int, instant: str) -> None:
    assert local_instant(zone, day, minute) == ms(instant)


def test_a_local_time_is_shown_by_the_zones_clocks_or_does_not_exist() -> None:
    dice = random.Random(22)
    for _ in range(10_000):
        zone = dice.choice(sorted(zones_known()))
        day = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=dice.randrange(900))).date().isoformat()
        minute = dice.randrange(1440)
        at = local_instant(zone, day, minute)
        wall = datetime.fromtimestamp(at / 1000, ZoneInfo(zone))
        wanted = datetime.fromisoformat(day) + timedelta(minutes=minute)
        if wall.replace(tzinfo=None) == wanted:
            assert wall.fold == 0, "of two the first"
        else:  # left out by a change of clocks: this is the first moment after it
            before = datetime.fromtimestamp((at - 1) / 1000, ZoneInfo(zone)).replace(tzinfo=None)
            assert before < wanted < wall.replace(tzinfo=None), (zone, day, minute)


@pytest.mark.parametrize("text", ["23-7", "24:00-07:00", "23:00", "", "23:00-23:00", "23:60-07:00", "quiet"])
def test_what_is_no_pair_of_times_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not two times|same time"):
        QuietHours.parse(text)


def test_quiet_hours_are_written_as_they_are_read() -> None:
    assert str(NIGHT) == "23:00-07:00"
    assert NIGHT.length == 8 * 3_600_000
    assert str(QuietHours.parse("13:30 - 15:05")) == "13:30-15:05"
