"""Window classes: each zone is in one class, whose times are the zone's own."""

from __future__ import annotations

import random
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.pipeline.readers import TWELVE
from campaigns.quiet_hours import DAY, QuietHours, allowed, zones_known
from campaigns.windows import (
    BEST,
    MARGIN,
    SLOT,
    LocalTime,
    Moment,
    QuietRule,
    Window,
    WindowClass,
    Windows,
    compute,
)
from tests.campaigns.test_quiet_hours import NOW, is_quiet

HOUR = 3_600_000
QUARTER = HOUR // 4
"""Every zone's offset, and so every edge of a night, is a whole number of them."""
NIGHT = QuietHours.parse("23:00-07:00")


def computed(
    start: int = NOW, ttl: int = 4 * HOUR, quiet: QuietHours | None = NIGHT, moment: Moment = None, **rules: QuietRule
) -> Windows:
    zones = {"ios": None, "android": "Europe/Vienna"}
    return compute(
        quiet=quiet, rules=rules or {"ios": QuietRule.HOLD}, zones=zones, start=start, ttl=ttl, moment=moment
    )


def test_every_zone_gets_its_own_times_until_nobody_there_wants_the_news_any_more() -> None:
    dice = random.Random(23)
    for _ in range(12):
        start, ttl = NOW + dice.randrange(400 * DAY), dice.choice([HOUR, 4 * HOUR, 30 * HOUR])
        windows = computed(start, ttl)
        assert set(windows.zones) == zones_known()
        for zone, number in windows.zones.items():
            begin, due, intervals = msgspec.structs.astuple(windows.classes[number - 1])
            assert begin == start
            assert due - start <= 9 * HOUR
            assert due == start or is_quiet(zone, due - MARGIN - 1, NIGHT), "nobody waits longer than the night"
            wanted = [each for each in allowed(zone, NIGHT, start, due + ttl) if each[1] - MARGIN > start]
            assert list(intervals) == wanted, zone
            assert windows.ends_at >= due + ttl


def test_a_day_of_the_whole_world_has_35_classes_and_one_country_one() -> None:
    """The figures that the batches' size rests on."""
    assert 15 <= len(computed(ttl=4 * HOUR).classes) <= 40
    assert 30 <= len(computed(ttl=24 * HOUR).classes) <= 45
    assert computed().zones["Europe/Berlin"] == computed().zones["Europe/Vienna"]


def test_without_a_zone_the_channels_counts_and_without_that_there_are_no_quiet_hours() -> None:
    windows = computed(ios=QuietRule.HOLD, android=QuietRule.DROP)
    assert windows.channels == {"android": "Europe/Vienna"}
    assert windows.window("ios", 0) is None
    assert windows.window("ios", 1) == Window(QuietRule.HOLD, windows.classes[0].intervals)
    assert windows.window("android", 1) == Window(QuietRule.DROP, windows.classes[0].intervals)
    assert windows.window("elsewhere", 1) == Window(QuietRule.HOLD, windows.classes[0].intervals), "the careful rule"


def test_an_instant_of_expiry_ends_every_class_also_those_that_are_asleep_until_then() -> None:
    """Issue 21, Time: `expires` as an instant, not counted from each person's own due moment."""
    expires_at = NOW + 2 * HOUR
    zones = {"ios": None}
    windows = compute(quiet=NIGHT, rules={}, zones=zones, start=NOW, ttl=2 * HOUR, expires_at=expires_at)
    assert windows.ends_at == expires_at
    assert set(windows.zones) == zones_known()
    for zone in windows.zones:
        each = windows.classes[windows.zones[zone] - 1]
        assert all(end <= expires_at for _, end in each.intervals)
        assert bool(each.intervals) == (each.due < expires_at)
    assert any(not each.intervals for each in windows.classes), "somewhere it is night"


def test_whoever_has_no_allowed_moment_before_the_expiry_is_not_reached_and_nobody_else() -> None:
    """21.2.1: the count before Fire rests on it."""
    dice = random.Random(29)
    found = {True: 0, False: 0}
    for _ in range(10):  # zones are cheap, and days cost 0.2 s
        start = NOW // DAY * DAY + dice.randrange(365) * DAY + dice.randrange(96) * QUARTER
        expires_at = start + dice.randrange(1, 48) * QUARTER
        day = wall("UTC", start).date().isoformat()
        moment = dice.choice([None, LocalTime(day, dice.randrange(96) * 15), LocalTime(day, 0)])
        rule = dice.choice([QuietRule.HOLD, QuietRule.SILENT, QuietRule.BREAK_THROUGH])
        ttl = expires_at - start
        windows = compute(
            quiet=NIGHT, rules={"ios": rule}, zones={}, start=start, ttl=ttl, moment=moment, expires_at=expires_at
        )
        for zone in dice.sample(sorted(zones_known()), 60):
            first = start if moment is None else max(start, moment.at(zone))
            moments = range(first, expires_at, QUARTER)
            slow = any(rule is not QuietRule.HOLD or not is_quiet(zone, each, NIGHT) for each in moments)
            assert windows.reaches("ios", windows.zones[zone], expires_at) == slow, (zone, start, moment, rule)
            found[slow] += 1
    assert min(found.values()) > 50


def test_what_breaks_through_has_no_window() -> None:
    assert computed(ios=QuietRule.BREAK_THROUGH).window("ios", 1) is None


def test_a_zone_that_nobody_knows_is_an_error_and_not_utc() -> None:
    with pytest.raises(KeyError):
        compute(quiet=NIGHT, rules={}, zones={"ios": "Europe/Berlim"}, start=NOW, ttl=HOUR)


def wall(zone: str, at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, ZoneInfo(zone))


def test_a_local_time_is_each_zones_own_and_waits_for_the_end_of_the_night() -> None:
    tomorrow = wall("UTC", NOW + 2 * DAY).date().isoformat()
    for minute, shown in ((8 * 60, "08:00"), (6 * 60, "06:00")):
        windows = computed(moment=LocalTime(tomorrow, minute), ttl=HOUR)
        for zone, number in windows.zones.items():
            one = windows.classes[number - 1]
            assert wall(zone, one.start).strftime("%H:%M") == shown
            assert windows.begin("ios", number, NOW) == one.due
            assert wall(zone, one.due).strftime("%H:%M") == max(shown, "07:00")
            assert windows.ends_at >= one.due + HOUR
    silent = computed(moment=LocalTime(tomorrow, 6 * 60), ios=QuietRule.SILENT)
    number = silent.zones["Asia/Tokyo"]
    assert silent.begin("ios", number, NOW) == silent.classes[number - 1].start, "at 6:00, without a sound"
    assert silent.begin("ios", 0, NOW) == NOW, "who has no zone has no local time"


def test_where_a_local_time_is_over_it_is_now_or_never() -> None:
    yesterday = wall("UTC", NOW - DAY).date().isoformat()
    for late, starts in (("now", {NOW}), ("skip", {0})):
        moment = LocalTime(yesterday, 8 * 60, "skip" if late == "skip" else "now")
        windows = computed(moment=moment, quiet=None)
        assert {one.start for one in windows.classes} == starts
        assert {bool(one.intervals) for one in windows.classes} == {late == "now"}


def of_slot(windows: Windows, zone: str, slot: int) -> tuple[int, WindowClass]:
    """The class of a half hour of a zone's day; 48: of who has no best time."""
    _, number = windows.place("ios", zone, slot)
    return number, windows.classes[number - 1]


def test_the_best_time_is_the_next_one_of_the_own_zones_clock() -> None:
    for quiet in (NIGHT, None):
        windows = computed(moment=BEST, quiet=quiet, ios=QuietRule.SILENT)
        assert windows.best
        for zone in sorted(zones_known())[::7]:
            for slot in range(48):
                _, one = of_slot(windows, zone, slot)
                assert NOW <= one.start <= NOW + DAY + HOUR
                shown = wall(zone, one.start)
                assert shown.hour * 60 + shown.minute == slot * SLOT
                if quiet is not None:
                    assert one.due == one.start or is_quiet(zone, one.start, NIGHT) or one.due - one.start <= MARGIN
                    assert not is_quiet(zone, one.due, NIGHT)
            assert of_slot(windows, zone, 48)[1].start == NOW, "who has none gets it at once"


@pytest.mark.parametrize("ttl", [4, 30])
def test_best_times_of_all_zones_share_a_class_where_they_begin_and_end_alike_and_nobody_else_does(ttl: int) -> None:
    """Issue 21, Benches: a class for each half hour of each zone made batches of seven recipients."""
    held, exact = (computed(moment=BEST, ttl=ttl * HOUR, ios=rule) for rule in (QuietRule.HOLD, QuietRule.SILENT))
    found: dict[tuple[object, ...], set[int]] = {}
    for zone in sorted(zones_known()):
        for slot in range(49):
            (number, one), (_, own) = of_slot(held, zone, slot), of_slot(exact, zone, slot)
            assert (one.due, one.intervals) == (own.due, own.intervals), "each one's own times"
            moved = own.due > own.start > NOW
            assert moved == (one.due > one.start > NOW), "the count before Fire tells who is moved"
            found.setdefault((own.due, own.intervals, moved, own.start == NOW), set()).add(number)
    assert {len(numbers) for numbers in found.values()} == {1}
    assert len(found) == len(held.classes)


def test_a_day_of_best_times_has_35_classes_in_one_zone_and_162_in_twelve() -> None:
    """The figures that the batches' size rests on."""
    windows = computed(moment=BEST)
    one, twelve = (
        {of_slot(windows, zone, slot)[0] for zone in zones for slot in range(49)} for zones in ([TWELVE[5]], TWELVE)
    )
    assert len(one) <= 35
    assert len(twelve) <= 170


def test_the_half_hours_of_an_earlier_version_follow_the_class_of_their_zone() -> None:
    windows = replace(computed(moment=BEST), days=(), zones={"Asia/Tokyo": 50})
    assert windows.place("ios", "Asia/Tokyo", 3) == ("Asia/Tokyo", 53)
    assert windows.classes_by_zone() == {"Asia/Tokyo": 50}


def test_windows_are_read_back_as_they_were_written() -> None:
    windows = computed()
    assert msgspec.json.decode(msgspec.json.encode(windows), type=Windows) == windows


INTERVALS = st.lists(st.integers(0, 200), min_size=2, max_size=8, unique=True).map(
    lambda edges: tuple(
        (begin * 1000, end * 1000) for begin, end in zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False)
    )
)


@given(INTERVALS, st.integers(0, 210_000))
def test_a_window_is_open_where_an_interval_lasts_for_five_more_seconds(
    intervals: tuple[tuple[int, int], ...], now: int
) -> None:
    window = Window(QuietRule.HOLD, intervals)
    ends = [end for begin, end in intervals if begin <= now < end - MARGIN]
    assert window.closes(now) == (ends[0] if ends else None)
    begins = [begin for begin, end in intervals if begin >= now and end - begin > MARGIN]
    assert window.next_open(now) == (now if ends else min(begins, default=None))
