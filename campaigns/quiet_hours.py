"""Quiet hours: the part of each local day in which nobody is woken, as a time zone has it."""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from campaigns.local_time import instant_of

DAY = 86_400_000
MINUTE = 60_000
_LOOK_EVERY = DAY // 4
"""Ms between two looks at a zone's offset: changes lie weeks apart, the closest (Morocco, for Ramadan) four."""

Interval = tuple[int, int]
"""Ms UTC: from, until."""
OFF = "off"
"""No quiet hours, in writing."""


@functools.cache
def zones_known() -> frozenset[str]:
    """Return the time zones that this machine's rules know."""
    return frozenset(zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"})


class QuietHours(NamedTuple):
    """From ``begin`` to ``end``, minutes of the local day. If ``end`` is the smaller, midnight lies between them."""

    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """Read ``23:00-07:00``. Raises ``ValueError`` with the reason."""
        found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d) ?- ?([01]\d|2[0-3]):([0-5]\d)", text)
        if found is None:
            raise ValueError('is not two times of the day, as in "23:00-07:00"')
        hours, minutes, until_hours, until_minutes = map(int, found.groups())
        begin, end = hours * 60 + minutes, until_hours * 60 + until_minutes
        if begin == end:
            raise ValueError("begins and ends at the same time")
        return cls(begin, end)

    def __str__(self) -> str:
        """As :meth:`parse` reads it."""
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in self)

    @property
    def length(self) -> int:
        """Milliseconds of a day without a change of clocks."""
        return (self.end - self.begin) % 1440 * MINUTE


def read_hours(text: str) -> QuietHours | None:
    """Read ``23:00-07:00``, or ``off``: None. Raises ``ValueError`` with the reason."""
    return None if text == OFF else QuietHours.parse(text)


def written_hours(hours: QuietHours | None) -> str:
    """Write quiet hours as :func:`read_hours` reads them."""
    return OFF if hours is None else str(hours)


def allowed(zone: str, quiet: QuietHours, start: int, until: int) -> list[Interval]:
    """Return the times in [start, until), ms UTC, at which the zone's clocks show no quiet hour.

    It is what the clock on the wall says that counts: where clocks go back into quiet hours, these begin again.
    ``zone``: a name that ``zoneinfo`` knows.
    """
    found: list[Interval] = []
    at = start
    for begin, end in _quiet(zone, quiet, start, until):
        if begin > at:
            found.append((at, begin))
        at = max(at, end)
    if at < until:
        found.append((at, until))
    return found


def _quiet(zone: str, quiet: QuietHours, start: int, until: int) -> Iterator[Interval]:
    """The quiet times of [start, until), in order."""
    for begin, end, offset in pieces(zone, start, until):
        night = (begin + offset) // DAY * DAY - DAY - offset + quiet.begin * MINUTE  # yesterday's, by this offset
        while night < end:
            if night + quiet.length > begin:
                yield max(night, begin), min(night + quiet.length, end)
            night += DAY


def pieces(zone: str, start: int, until: int) -> Iterator[tuple[int, int, int]]:
    """Cut [start, until) where the zone's offset changes: (from, until, offset), all ms."""
    at = begin = start
    while begin < until:
        offset = _offset(zone, begin)
        at = begin
        while at < until and _offset(zone, at) == offset:
            at += _LOOK_EVERY
        low, high = at - _LOOK_EVERY, min(at, until)
        if _offset(zone, high) != offset:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
        yield begin, high, offset
        begin = high


def _offset(zone: str, at: int) -> int:
    """Milliseconds by which the zone's clocks are ahead of UTC at an instant (ms UTC)."""
    offset = datetime.fromtimestamp(at / 1000, _zone(zone)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)


@functools.cache
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


def local_day(zone: str, at: int) -> str:
    """Return the day (ISO date) that a zone's calendars show at an instant (ms UTC)."""
    return datetime.fromtimestamp(at / 1000, _zone(zone)).date().isoformat()


@functools.lru_cache(maxsize=4096)
def local_instant(zone: str, day: str, minute: int) -> int:
    """Return the instant (ms UTC) at which a zone's clocks show a minute of a day (ISO date): ``local_time``."""
    local = datetime.fromisoformat(day) + timedelta(minutes=minute)
    return round(instant_of(local, _zone(zone)).timestamp() * 1000)
