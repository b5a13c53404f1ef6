"""Window classes: the time zones in which a campaign may reach people at the same times."""

from __future__ import annotations

import functools
import importlib
import zoneinfo
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from campaigns.quiet_hours import (
    DAY,
    Interval,
    QuietHours,
    allowed,
    local_day,
    local_instant,
    pieces,
    zones_known,
)

MARGIN = 5_000
"""Ms before the end of an interval in which nothing more is begun: a provider needs some time to deliver it."""


class QuietRule(StrEnum):
    """What quiet hours mean for a campaign."""

    HOLD = "hold"
    """A push waits until they end."""
    SILENT = "silent"
    """It is shown at once, without sound and light: *asleep*."""
    DROP = "drop"
    """Who is in quiet hours gets nothing."""
    BREAK_THROUGH = "break_through"
    """They do not count."""


class Window(msgspec.Struct, frozen=True, gc=False):
    """When the pushes of one class may begin, on one channel."""

    rule: QuietRule
    intervals: tuple[Interval, ...]
    """In order, ms UTC."""

    def interval(self, now: int) -> Interval | None:
        """The interval in which a push may begin awake now; None: it may not."""
        for begin, end in self.intervals:
            if begin <= now < end - MARGIN:
                return begin, end
        return None

    def closes(self, now: int) -> int | None:
        """The end of the interval in which a push may begin awake now; None: it may not."""
        interval = self.interval(now)
        return None if interval is None else interval[1]

    def next_open(self, now: int) -> int | None:
        """The first moment from ``now`` on at which a push may begin awake; None: there is none any more."""
        for begin, end in self.intervals:
            if (opens := max(begin, now)) < end - MARGIN:
                return opens
        return None


class WindowClass(msgspec.Struct, array_like=True, frozen=True):
    """People who may be reached at the same times from a campaign's start to its end."""

    start: int
    """When it starts for them, ms UTC: with the campaign, at a local time, or at their best time (of those who wait for
    the end of a night together, that of any) …"""
    due: int
    """… and the first moment from then on at which they may be woken: what is held is wanted for its time to live from
    there."""
    intervals: tuple[Interval, ...]

    @property
    def over(self) -> bool:
        """Whether its start is over, and it is not to start late."""
        return not self.start


class Windows(msgspec.Struct, frozen=True):
    """The window classes of a campaign, fixed when it starts. Class 0 is everybody whose zone nobody knows."""

    rules: dict[str, QuietRule]
    """Channel → what quiet hours mean there."""
    zones: dict[str, int]
    """Zone → its class, from 1; with ``best`` its row of ``days``, from 1."""
    channels: dict[str, str]
    """Channel → the zone of its subscribers without one that we know."""
    classes: tuple[WindowClass, ...]
    """The first one is class 1."""
    best: bool
    """Whether it starts at each subscriber's best time."""
    quiet: str
    """The quiet hours, for people; empty: there are none."""
    ends_at: int
    """The last moment at which anything of the campaign may be begun, ms UTC."""
    tzdata: str
    """The edition of the zones' rules from which this was computed."""
    days: tuple[tuple[int, ...], ...] = ()
    """With ``best``: the classes of the 48 half hours of a day, and of those without a best time.

    Half hours of different zones have one class if they begin at the same moment and the same times are allowed from
    there. So have those of a night, if all wait for its end. Empty in the classes of an earlier version: ``zones`` then
    has the class of the first half hour, and the others follow it.
    """

    def window(self, channel: str, number: int) -> Window | None:
        """The window of a class on a channel; None: no quiet hours hold there."""
        rule = self.rules.get(channel, QuietRule.HOLD)
        if number == 0 or not self.quiet or rule is QuietRule.BREAK_THROUGH:
            return None
        return Window(rule, self.classes[number - 1].intervals)

    def begin(self, channel: str, number: int, start: int) -> int:
        """When a class on a channel may first get it, ms UTC. ``start``: the campaign's."""
        if number == 0:
            return start
        window = self.window(channel, number)
        one = self.classes[number - 1]
        return one.due if window is not None and window.rule is QuietRule.HOLD else one.start

    def place(self, channel: str, zone: str, slot: int) -> tuple[str, int]:
        """The zone that counts for a subscriber, and its class; 0: nobody knows it (the page loop decides alike).

        ``slot``: the half hour of the subscriber's best time; 48: there is none.
        """
        known = zone if zone in self.zones else self.channels.get(channel, "")
        number = self.zones.get(known, 0)
        if number and self.best:
            number = self.days[number - 1][slot] if self.days else number + slot
        return known, number

    def classes_by_zone(self) -> dict[str, int | tuple[int, ...] | str]:
        """For the page loop: zone → its class; with ``days``, its row of them, or a zone that has the same row."""
        if not self.days:
            return dict(self.zones)
        firsts: dict[int, str] = {}
        return {
            zone: self.days[number - 1] if firsts.setdefault(number, zone) == zone else firsts[number]
            for zone, number in self.zones.items()
        }

    def reaches(self, channel: str, number: int, expires_at: int | None) -> bool:
        """Whether somebody of a class can get it on a channel before ``expires_at`` (ms UTC; None: it is by person).

        Also true for people in quiet hours where the editor drops them.
        """
        if number == 0:
            return True
        one, window = self.classes[number - 1], self.window(channel, number)
        if window is not None and window.rule is QuietRule.HOLD:
            return window.next_open(one.start) is not None
        return expires_at is None or one.start < expires_at


class LocalTime(NamedTuple):
    """A campaign starts when the clocks of each zone show this."""

    day: str
    """ISO date."""
    minute: int
    """Of the day."""
    late: Literal["now", "skip"] = "now"
    """Zones where this is over: they get it at once, or not at all."""

    def at(self, zone: str) -> int:
        """The instant (ms UTC) at which a zone's clocks show it."""
        return local_instant(zone, self.day, self.minute)


NEVER = -1
"""A start that is over."""
BEST: Final = "best"
"""A campaign starts at each subscriber's best time."""
SLOT = 30
"""Minutes: best times within as many are one."""
Moment = LocalTime | Literal["best"] | None


def compute(
    *,
    quiet: QuietHours | None,
    rules: Mapping[str, QuietRule],
    zones: Mapping[str, str | None],
    start: int,
    ttl: int,
    moment: Moment = None,
    expires_at: int | None = None,
) -> Windows:
    """Group all time zones by the times at which a campaign that starts at ``start`` (ms UTC) may be begun there.

    ``quiet``: None, there are no quiet hours. ``zones``: channel → the zone of its subscribers without one, None: it is
    not known. ``ttl``: milliseconds for which a push is wanted, from when its recipient may first get it. ``moment``:
    when it starts in each zone; None: at once. ``expires_at``: a moment (ms UTC) after which nobody gets it, also who
    could not get it before; ``ttl`` ends there, too. Raises ``KeyError`` for a zone that nobody knows.
    """
    starts = _starts(start, moment)
    last = max(start, *(max(each) for each in starts.values()))
    night = 0 if quiet is None else quiet.length + 3_600_000  # the clocks may go back an hour while quiet hours last
    until = last + night + ttl
    held = all(rule is QuietRule.HOLD for rule in rules.values())
    numbers: dict[WindowClass, int] = {}
    waiting: dict[tuple[int, tuple[Interval, ...]], WindowClass] = {}
    days: dict[tuple[int, ...], int] = {}
    by_zone: dict[str, int] = {}
    for intervals, names in _alike(quiet, start // DAY * DAY, -(-until // DAY) * DAY).items():
        for zone in names:
            day = []
            for begin in starts[zone]:
                one = _class(intervals, begin, ttl, until, expires_at)
                if held and start < one.start < one.due:  # a best time at night: all of them are one in the morning
                    one = waiting.setdefault((one.due, one.intervals), one)
                day.append(numbers.setdefault(one, len(numbers) + 1))
            by_zone[zone] = days.setdefault(tuple(day), len(days) + 1) if moment == BEST else day[0]
    classes = tuple(numbers)
    return Windows(
        rules=dict(rules),
        zones=by_zone,
        channels={channel: zone for channel, zone in zones.items() if zone is not None and by_zone[zone]},
        classes=classes,
        best=moment == BEST,
        quiet="" if quiet is None else str(quiet),
        ends_at=max(start, *(each.due for each in classes)) + ttl if expires_at is None else expires_at,
        tzdata=tzdata_edition(),
        days=tuple(days),
    )


def _starts(start: int, moment: Moment) -> dict[str, tuple[int, ...]]:
    """When a campaign starts in each zone, ms UTC: once, or for each half hour of the day and for nobody's."""
    zones = sorted(zones_known())
    if moment is None:
        return dict.fromkeys(zones, (start,))
    if isinstance(moment, LocalTime):
        over = start if moment.late == "now" else NEVER
        instants = {zone: moment.at(zone) for zone in zones}
        return {zone: (at if at >= start else over,) for zone, at in instants.items()}
    alike: dict[tuple[tuple[int, int, int], ...], tuple[int, ...]] = {}
    found = {}
    for zone in zones:
        offsets = tuple(pieces(zone, start, start + 2 * DAY))
        if offsets not in alike:
            alike[offsets] = _best_times(zone, start)
        found[zone] = alike[offsets]
    return found


def _best_times(zone: str, start: int) -> tuple[int, ...]:
    """The next moment of each half hour of the zone's day, and the start for those who have no best time."""
    found = []
    for minute in range(0, 1440, SLOT):
        today = local_instant(zone, local_day(zone, start), minute)
        found.append(today if today >= start else local_instant(zone, local_day(zone, start + DAY), minute))
    return (*found, start)


@functools.lru_cache(maxsize=32)  # a kind of news may have hours and a time to live of its own
def _alike(quiet: QuietHours | None, start: int, until: int) -> dict[tuple[Interval, ...], list[str]]:
    """The zones by their allowed times of some whole days. Cached: it takes 0.2 s, and is the same for a whole day."""
    if quiet is None:
        return {((start, until),): sorted(zones_known())}
    found: dict[tuple[Interval, ...], list[str]] = {}
    for zone in sorted(zones_known()):
        found.setdefault(tuple(allowed(zone, quiet, start, until)), []).append(zone)
    return found


def _class(intervals: tuple[Interval, ...], start: int, ttl: int, until: int, expires_at: int | None) -> WindowClass:
    if start == NEVER:
        return WindowClass(0, 0, ())
    ahead = [(max(begin, start), end) for begin, end in intervals if end - MARGIN > start]
    due = ahead[0][0] if ahead else until
    # nothing is wanted after that: zones that differ only later are one class
    ends = due + ttl if expires_at is None else expires_at
    return WindowClass(start, due, tuple((begin, min(end, ends)) for begin, end in ahead if begin < ends))


@functools.cache
def tzdata_edition() -> str:
    """Name the edition of the zones' rules (``2025b``), or say that it is not known."""
    for folder in zoneinfo.TZPATH:
        with suppress(OSError, ValueError), Path(folder, "tzdata.zi").open(encoding="ascii") as file:
            return file.readline().removeprefix("# version ").strip()
    with suppress(ImportError):
        return str(importlib.import_module("tzdata").IANA_VERSION)
    return "unknown"
