"""The bases of the bench of window classes: what is measured is a campaign's cost, and not its waits."""

from __future__ import annotations

import pytest

from benchmarks.pipeline.readers import BASES, NOON, TWELVE, WEEK, Base
from campaigns.quiet_hours import QuietHours
from campaigns.windows import BEST, QuietRule, compute

DAY = 86_400_000
START = 1_796_083_200_000 // DAY * DAY + NOON * 60_000
HOURS = QuietHours.parse("23:00-07:00")
RULES = {"ios-news": QuietRule.HOLD}
ZONES: dict[str, str | None] = {"ios-news": None}


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.what)
def test_nobody_of_a_measured_base_has_quiet_hours_when_the_run_begins(base: Base) -> None:
    windows = compute(quiet=HOURS, rules=RULES, zones=ZONES, start=START, ttl=WEEK * 1000)
    numbers = {windows.zones[base.phone(n).tz] for n in range(1_000)}
    assert 0 not in numbers
    for number in numbers:
        assert windows.begin("ios-news", number, START) == START


def test_the_twelve_zones_are_twelve_classes_and_those_of_one_country_one() -> None:
    windows = compute(quiet=HOURS, rules=RULES, zones=ZONES, start=START, ttl=WEEK * 1000)
    assert len({windows.zones[zone] for zone in TWELVE}) == 12
    one, twelve = ({windows.zones[base.phone(n).tz] for n in range(1_000)} for base in BASES)
    assert (len(one), len(twelve)) == (1, 12)


def test_a_day_later_every_best_time_is_over_and_its_push_may_still_be_sent() -> None:
    windows = compute(quiet=HOURS, rules=RULES, zones=ZONES, start=START, ttl=WEEK * 1000, moment=BEST)
    for base in BASES:
        slots = {(phone.tz, (phone.best_minute or 0) // 30) for phone in map(base.phone, range(20_000))}
        assert len(slots) == 48 * len({zone for zone, _ in slots})
        numbers = {windows.place("ios-news", zone, slot)[1] for zone, slot in slots}
        for number in numbers:
            assert windows.begin("ios-news", number, START) <= START + DAY
            window = windows.window("ios-news", number)
            assert window is not None
            assert window.closes(START + DAY) is not None
