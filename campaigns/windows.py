"""Window classes: the time zones in which a campaign may reach people at the same times."""

from __future__ import annotations

import functools
import importlib
import zoneinfo
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from campaigns.quiet_hours import DAY, Interval, QuietHours, allowed, zones_known

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

    def closes(self, now: int) -> int | None:
        """The end of the interval in which a push may begin awake now; None: it may not."""
        for begin, end in self.intervals:
            if begin <= now < end - MARGIN:
                return end
        return None

    def next_open(self, now: int) -> int | None:
        """The first moment from ``now`` on at which a push may begin awake; None: there is none any more."""
        for begin, end in self.intervals:
            if (opens := max(begin, now)) < end - MARGIN:
                return opens
        return None


class WindowClass(msgspec.Struct, array_like=True, frozen=True):
    """Zones whose allowed times are the same from a campaign's start to its end."""

    due: int
    """The first moment at which these people may get it, ms UTC: their time to live counts from here."""
    intervals: tuple[Interval, ...]


class Windows(msgspec.Struct, frozen=True):
    """The window classes of a campaign, fixed when it starts. Class 0 is everybody without quiet hours."""

    rules: dict[str, QuietRule]
    """Channel → what quiet hours mean there."""
    zones: dict[str, int]
    """Zone → its class, from 1."""
    channels: dict[str, str]
    """Channel → the zone of its subscribers without one that we know; for others no quiet hours hold."""
    classes: tuple[WindowClass, ...]
    """The first one is class 1."""
    quiet: str
    """The quiet hours, for people."""
    ends_at: int
    """The last moment at which anything of the campaign may be begun, ms UTC."""
    tzdata: str
    """The edition of the zones' rules from which this was computed."""

    def window(self, channel: str, number: int) -> Window | None:
        """The window of a class on a channel; None: no quiet hours hold there."""
        rule = self.rules.get(channel, QuietRule.HOLD)
        if number == 0 or rule is QuietRule.BREAK_THROUGH:
            return None
        return Window(rule, self.classes[number - 1].intervals)

    def due(self, zone: str) -> int:
        """The first moment at which a zone's people may get it, ms UTC."""
        return self.classes[self.zones[zone] - 1].due


def compute(
    *, quiet: QuietHours, rules: Mapping[str, QuietRule], zones: Mapping[str, str | None], start: int, ttl: int
) -> Windows:
    """Group all time zones by their allowed times from ``start`` (ms UTC) to the end of the campaign.

    ``zones``: channel → the zone of its subscribers without one, None: no quiet hours for them. ``ttl``: milliseconds
    for which a push is wanted, from the moment at which its recipient may first get it. Raises ``KeyError`` for a zone
    that nobody knows.
    """
    until = start + quiet.length + 3_600_000 + ttl  # the clocks may go back an hour while quiet hours last
    numbers: dict[WindowClass, int] = {}
    by_zone: dict[str, int] = {}
    for intervals, names in _alike(quiet, start // DAY * DAY, -(-until // DAY) * DAY).items():
        number = numbers.setdefault(_class(intervals, start, ttl, until), len(numbers) + 1)
        by_zone |= dict.fromkeys(names, number)
    return Windows(
        rules=dict(rules),
        zones=by_zone,
        channels={channel: zone for channel, zone in zones.items() if zone is not None and by_zone[zone]},
        classes=tuple(numbers),
        quiet=str(quiet),
        ends_at=max(start, *(each.due for each in numbers)) + ttl,
        tzdata=tzdata_edition(),
    )


@functools.lru_cache(maxsize=8)
def _alike(quiet: QuietHours, start: int, until: int) -> dict[tuple[Interval, ...], list[str]]:
    """The zones by their allowed times of some whole days. Cached: it takes 0.2 s, and is the same for a whole day."""
    found: dict[tuple[Interval, ...], list[str]] = {}
    for zone in sorted(zones_known()):
        found.setdefault(tuple(allowed(zone, quiet, start, until)), []).append(zone)
    return found


def _class(intervals: tuple[Interval, ...], start: int, ttl: int, until: int) -> WindowClass:
    ahead = [(max(begin, start), end) for begin, end in intervals if end - MARGIN > start]
    due = ahead[0][0] if ahead else until
    # nothing is wanted after that: zones that differ only later are one class
    ends = due + ttl
    return WindowClass(due, tuple((begin, min(end, ends)) for begin, end in ahead if begin < ends))


@functools.cache
def tzdata_edition() -> str:
    """Name the edition of the zones' rules (``2025b``), or say that it is not known."""
    for folder in zoneinfo.TZPATH:
        with suppress(OSError, ValueError), Path(folder, "tzdata.zi").open(encoding="ascii") as file:
            return file.readline().removeprefix("# version ").strip()
    with suppress(ImportError):
        return str(importlib.import_module("tzdata").IANA_VERSION)
    return "unknown"
