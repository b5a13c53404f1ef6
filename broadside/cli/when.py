"""The options of ``broadside fire`` about time: when the campaign starts, and when its news expires."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from cyclopts import Parameter

from broadside.api.campaign_report import NewsroomClock
from broadside.api.instants import INSTANT_FORM, read_instant
from broadside.errors import UsageError, shown
from campaigns.duration import EXAMPLES, parse_duration
from campaigns.local_time import instant_of

BEST, LOCAL = "best", "local "
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)", re.ASCII)


@Parameter(name="*")
@dataclass(frozen=True)
class When:
    """The options as they were typed."""

    at: Annotated[
        str | None,
        Parameter(
            help="Start later: at an instant as in 2026-11-29T08:00+01:00; at a time of the newsroom's zone as in "
            '2026-11-29T08:00, or 08:00 for the next one; at each zone\'s own time as in "local 08:00" or "local '
            '2026-11-29T08:00"; or at each subscriber\'s "best" time. With "local" and "best" the audience is that of '
            "Fire: phones that register later get nothing."
        ),
    ] = None
    expires: Annotated[
        str | None,
        Parameter(help="Instead of --ttl: the instant at which the news expires, or a duration from the start."),
    ] = None
    expire_asleep: Annotated[
        bool,
        Parameter(
            help="Fire although the news expires before some people may first get it. Without it a terminal asks, and "
            "elsewhere nothing is fired.",
            negative="",
        ),
    ] = False

    def times(self, ask: Callable[[], NewsroomClock]) -> tuple[str | None, str | None]:
        """Return ``start`` and ``expires`` of the request. ``ask``: asks the node, for a time without an offset.

        Raises ``UsageError``.
        """
        if self.at is not None and (self.at == BEST or self.at.startswith(LOCAL)):
            start: str | None = _each(self.at, ask)
        else:
            start = None if self.at is None else _instant("--at", self.at, ask)
        expires = self.expires
        if expires is not None and parse_duration(expires) is None:
            after = None if start is None else read_instant(start)
            expires = _instant("--expires", expires, ask, after, f"; or a duration: {EXAMPLES}")
        return start, expires


def _each(text: str, ask: Callable[[], NewsroomClock]) -> str:
    """Return ``best``, or a local time with its day: today's in the newsroom's zone."""
    if text == BEST:
        return text
    local = _local(text.removeprefix(LOCAL))
    if isinstance(local, tuple):
        newsroom = ask()
        today = datetime.fromtimestamp(newsroom.now / 1000, ZoneInfo(newsroom.zone or "UTC"))
        local = today.replace(tzinfo=None, hour=local[0], minute=local[1])
    if local is None:
        raise UsageError(f'--at: {shown(text)} is no local time (write "local 08:00", or with a day before it)')
    return f"{LOCAL}{local:%Y-%m-%dT%H:%M}"


def _instant(option: str, text: str, ask: Callable[[], NewsroomClock], after: int | None = None, more: str = "") -> str:
    """Return ``text`` as an instant. ``after``: ms UTC from which on the next 08:00 counts; None: from now."""
    if read_instant(text) is not None:
        return text.strip()
    local = _local(text)
    if local is None:
        raise UsageError(f"{option}: {shown(text)} is not a time ({INSTANT_FORM}{more})")
    newsroom = ask()
    if newsroom.zone is None:
        remedy = f'{INSTANT_FORM}; or set zone = "Europe/Vienna" under [newsroom] in the node\'s broadside.toml'
        raise UsageError(f"{option}: {shown(text)} has no offset, and the newsroom has no time zone ({remedy})")
    return resolve(local, ZoneInfo(newsroom.zone), newsroom.now if after is None else after).isoformat()


def _local(text: str) -> datetime | tuple[int, int] | None:
    """A date and time without an offset, or an hour and minute."""
    if clock := _CLOCK.fullmatch(text.strip()):
        hour, minute = int(clock[1]), int(clock[2])
        return (hour, minute) if hour < 24 and minute < 60 else None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo is None and len(text.strip()) > len("2026-11-29") else None


def resolve(local: datetime | tuple[int, int], zone: ZoneInfo, since: int) -> datetime:
    """Return the instant of a local time. An hour and minute mean the next such moment after ``since`` (ms UTC)."""
    if isinstance(local, datetime):
        return instant_of(local, zone).astimezone(zone)
    at = datetime.fromtimestamp(since / 1000, UTC)
    day = at.astimezone(zone).replace(tzinfo=None, hour=local[0], minute=local[1], second=0, microsecond=0)
    moments = (instant_of(day + timedelta(days=n), zone) for n in (-1, 0, 1, 2))
    return next(moment for moment in moments if moment > at).astimezone(zone)
