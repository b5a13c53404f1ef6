"""A zone's local time → the instant that it means, also where clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def instant_of(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant (UTC) at which clocks in ``zone`` show ``local``, a time without a zone.

    Of a time that exists twice the first is meant. A time that does not exist, because clocks are set forward over it,
    means the moment at which they are set forward.
    """
    wall = local.replace(fold=0)
    first = _utc(wall, zone)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    # `fold` reads a missing time with the offset before the change, or after it: the change lies between the two
    before, after = _utc(wall.replace(microsecond=0, fold=1), zone), first.replace(microsecond=0)
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _utc(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)
