"""``--at`` and ``--expires``: a local time means one instant, also on the days on which clocks are changed."""

from __future__ import annotations

import json
import time
import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadside.api.campaign_report import FireRequest, NewsroomClock
from broadside.api.instants import read_instant
from broadside.cli.when import When, resolve
from broadside.errors import RecordError, UsageError
from broadside.newsroom.starts import TTL, Times
from campaigns.duration import parse_duration
from campaigns.local_time import instant_of
from campaigns.message import Message
from campaigns.windows import BEST, LocalTime, QuietRule

VIENNA = ZoneInfo("Europe/Vienna")
NOW = time.time_ns() // 1_000_000
NAMES = sorted(zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"})
YEARS = st.datetimes(datetime(2020, 1, 1), datetime(2037, 12, 31))


def slow(local: datetime, zone: ZoneInfo) -> datetime:
    """The obvious way: of the minutes around it, the first at which clocks show ``local`` or later."""
    minute = (local - timedelta(hours=15)).replace(second=0, microsecond=0, tzinfo=UTC)
    shown = (minute + timedelta(minutes=n) for n in range(30 * 60))
    exact = None
    late = None
    for moment in shown:
        wall = moment.astimezone(zone).replace(tzinfo=None)
        if wall == local:
            exact = exact or moment
        before = (moment - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
        if before < local < wall and wall - before > timedelta(minutes=1):
            late = moment
    found = exact or late
    assert found is not None
    return found


@given(YEARS, st.sampled_from(NAMES))
def test_a_local_time_is_the_first_instant_at_which_clocks_show_it(moment: datetime, name: str) -> None:
    local, zone = moment.replace(second=0, microsecond=0), ZoneInfo(name)
    found = instant_of(local, zone)
    shown = found.astimezone(zone).replace(tzinfo=None)
    assert shown >= local
    if shown == local:
        assert (found - timedelta(hours=1)).astimezone(zone).replace(tzinfo=None) != local
        assert (found - timedelta(minutes=30)).astimezone(zone).replace(tzinfo=None) != local
    else:  # it does not exist: clocks were set forward at this moment
        before = (found - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None)
        assert before < local < shown


CHANGES = [
    # zone, the day on which clocks are set forward, the day on which they are set back
    ("Europe/Vienna", datetime(2026, 3, 29), datetime(2026, 10, 25)),
    ("America/New_York", datetime(2026, 3, 8), datetime(2026, 11, 1)),
    ("Australia/Lord_Howe", datetime(2026, 10, 4), datetime(2026, 4, 5)),  # by half an hour
    ("America/Santiago", datetime(2026, 9, 6), datetime(2026, 4, 4)),  # at midnight
    ("Asia/Kathmandu", datetime(2026, 3, 29), datetime(2026, 10, 25)),  # never, and at :45
]


@pytest.mark.parametrize(("name", "forward", "back"), CHANGES)
@pytest.mark.parametrize("minute", [0, 30, 90, 120, 135, 150, 180, 23 * 60 + 30])
def test_on_both_days_of_change_a_local_time_is_what_a_minute_by_minute_search_finds(
    name: str, forward: datetime, back: datetime, minute: int
) -> None:
    zone = ZoneInfo(name)
    for day in (forward, back):
        local = day + timedelta(minutes=minute)
        assert instant_of(local, zone) == slow(local, zone)


def test_a_time_that_does_not_exist_is_the_change_and_of_two_the_first_is_meant() -> None:
    """CAMPAIGNS §3, Edges."""
    assert (
        instant_of(datetime(2026, 3, 29, 2, 30), VIENNA).astimezone(VIENNA).isoformat() == "2026-03-29T03:00:00+02:00"
    )
    assert instant_of(datetime(2026, 10, 25, 2, 30), VIENNA).isoformat() == "2026-10-25T00:30:00+00:00"
    apia = ZoneInfo("Pacific/Apia")  # which had no 30 December 2011
    assert instant_of(datetime(2011, 12, 30, 12), apia).astimezone(apia).isoformat() == "2011-12-31T00:00:00+14:00"


@given(YEARS, st.integers(0, 1439), st.sampled_from(NAMES))
def test_an_hour_and_minute_mean_the_next_such_moment(moment: datetime, minute: int, name: str) -> None:
    zone, since = ZoneInfo(name), moment.replace(tzinfo=UTC, microsecond=0)
    found = resolve(divmod(minute, 60), zone, round(since.timestamp() * 1000))
    assert since < found <= since + timedelta(hours=26)
    wall = found.replace(tzinfo=None)
    if (wall.hour, wall.minute) != divmod(minute, 60):  # it does not exist on that day
        local = wall.replace(hour=minute // 60, minute=minute % 60, second=0)
        assert instant_of(local if local <= wall else local - timedelta(days=1), zone) == found


@given(YEARS, st.integers(-23, 23), st.sampled_from([0, 30, 45]))
def test_an_instant_with_an_offset_is_read_as_it_is_meant(moment: datetime, hours: int, minutes: int) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    offset = f"{hours:+03}:{minutes:02}"
    east = timedelta(hours=abs(hours), minutes=minutes) * (-1 if hours < 0 else 1)
    expected = round((moment.replace(tzinfo=UTC) - east).timestamp() * 1000)
    assert read_instant(moment.isoformat() + offset) == expected
    assert read_instant(moment.isoformat()) is None, "a time without an offset is no instant"


@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_none(text: str) -> None:
    assert read_instant(text) is None or "T" in text or " " in text or ":" in text or text.strip()[:1].isdigit()
    assert parse_duration(text) is None or text.strip()[:1].isdigit()


HOUR = 3_600_000
NOW = 1_795_906_800_000  # 2026-11-29 00:00 in Vienna, a Sunday


def times(
    at: str | None, expires: str | None = None, zone: str | None = "Europe/Vienna"
) -> tuple[str | None, str | None]:
    return When(at=at, expires=expires).times(lambda: NewsroomClock(zone=zone, now=NOW))


def test_a_time_without_an_offset_is_in_the_newsrooms_zone() -> None:
    assert times("2026-11-29T08:00") == ("2026-11-29T08:00:00+01:00", None)
    assert times("2026-07-01 08:00")[0] == "2026-07-01T08:00:00+02:00"
    assert times("08:00")[0] == "2026-11-29T08:00:00+01:00"
    assert times("0:00")[0] == "2026-11-30T00:00:00+01:00", "now is not next"
    assert times("08:00", "17:00")[1] == "2026-11-29T17:00:00+01:00"
    assert times("2026-12-01T08:00", "7:00")[1] == "2026-12-02T07:00:00+01:00", "the next after the start"
    assert times("08:00", "4h")[1] == "4h"


def test_a_time_with_an_offset_asks_no_node() -> None:
    def ask() -> NewsroomClock:
        raise AssertionError("asked")

    given = When(at="2026-11-29T08:00+01:00", expires="2026-11-29T12:00Z")
    assert given.times(ask) == ("2026-11-29T08:00+01:00", "2026-11-29T12:00Z")
    assert When(expires="90m").times(ask) == (None, "90m")
    assert When().times(ask) == (None, None)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("08:00", '--at: "08:00" has no offset, and the newsroom has no time zone'),
        ("2026-11-29T08:00", '--at: "2026-11-29T08:00" has no offset'),
        ("24:00", '--at: "24:00" is not a time'),
        ("8 am", '--at: "8 am" is not a time'),
        ("2026-11-29", '--at: "2026-11-29" is not a time'),
        ("", '--at: "" is not a time'),
    ],
)
def test_a_time_that_means_no_instant_is_refused_with_what_to_write(at: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        times(at, zone=None)
    assert str(caught.value).startswith(expected)
    assert "2026-11-29T08:00+01:00" in str(caught.value)
    assert ("[newsroom]" in str(caught.value)) == ("offset, and" in str(caught.value))
    assert caught.value.exit_code == 2


def at(text: str) -> str | None:
    """What ``--at`` makes of a text, at 2026-11-29 23:30 UTC in a newsroom in Vienna."""
    clock = NewsroomClock(zone="Europe/Vienna", now=1_795_995_000_000)
    return When(at=text).times(lambda: clock)[0]


def test_each_subscribers_time_is_a_local_time_or_the_best_one() -> None:
    assert at("best") == "best"
    assert at("local 08:00") == "local 2026-11-30T08:00", "it is Monday in Vienna"
    assert at("local 2026-12-24T18:30") == "local 2026-12-24T18:30"
    with pytest.raises(UsageError, match="is no local time"):
        at("local tomorrow")


@pytest.mark.parametrize("text", ["local", "local 08:00", "local 2026-13-01T08:00", "local 2026-12-01T25:00"])
def test_a_request_names_the_day_of_a_local_time(text: str) -> None:
    with pytest.raises(RecordError, match=r"when: .* is no"):
        Times.read(FireRequest(message=Message(title="t"), start=text), NOW)


@pytest.mark.parametrize("day", ["0001-01-01", "2025-11-20", "2027-12-03", "9999-12-31"])
def test_a_local_time_more_than_a_year_away_is_a_slip(day: str) -> None:
    request = FireRequest(message=Message(title="t"), start=f"local {day}T08:00")
    with pytest.raises(RecordError, match=r"when: .* is more than a year away \(check the year\)"):
        Times.read(request, NOW).check(request, NOW)


def test_a_request_says_when_each_subscriber_gets_it() -> None:
    day = datetime.fromtimestamp(NOW / 1000, UTC).date().isoformat()
    for text, moment in (
        ("best", BEST),
        (f"local {day}T08:05", LocalTime(day, 485)),
        (f"local {day}T08:05 skip", LocalTime(day, 485, "skip")),
    ):
        request = FireRequest(message=Message(title="t"), start=text)
        times = Times.read(request, NOW)
        times.check(request, NOW)
        assert times.moment == moment
        assert not times.later, "it is walked at once"
        assert times.policy(request) == {"ttl_ms": TTL * 1000}


@pytest.mark.parametrize(
    ("expires", "ttl", "expires_at"),
    [(msgspec.UNSET, 4 * HOUR, None), ("90m", 90 * 60_000, None), ("2026-11-29T12:00Z", 5 * HOUR, NOW + 13 * HOUR)],
)
def test_a_request_says_all_of_its_times_in_one_record(expires: str, ttl: int, expires_at: int | None) -> None:
    """21.2.5: the start, the time to live and the rule were each decided elsewhere."""
    request = FireRequest(message=Message(title="t"), start="2026-11-29T08:00+01:00", expires=expires)
    times = Times.read(request, NOW)
    assert times == Times(NOW + 8 * HOUR, True, None, ttl, expires_at, QuietRule.HOLD)
    kept = times.policy(request)
    assert (kept["start"], kept["ttl_ms"], kept.get("expires_at")) == (times.start, ttl, expires_at)
    again = json.loads(kept["request"])
    assert (again["start"], again.get("expires")) == (request.start, expires or None), (
        "as nodes of all versions read it"
    )
