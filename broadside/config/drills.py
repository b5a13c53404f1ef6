"""Reads ``[drill]``: rehearsals of the whole base against simulators."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from broadside.config.strict_toml import Reader
from broadside.errors import shown
from campaigns.duration import parse_duration

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
DAY = 86_400
_REMEDIES = {
    "drill.at": 'a time of the newsroom\'s day, as in "04:00"; leave it out for drills by hand alone',
    "drill.every": 'whole days, as in "1d" or "7d", 1 to 60',
}


class DrillConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[drill]``: the node has simulators for drills. All nodes that are to take part need the table."""

    at: Annotated[str, Meta(max_length=5)] | None = None
    """When one starts by itself, in the newsroom's time zone; None: by hand alone."""
    every: str = "7d"

    @property
    def minute(self) -> int | None:
        """``at`` as a minute of the day."""
        found = _TIME.fullmatch(self.at or "")
        return int(found[1]) * 60 + int(found[2]) if found else None

    @property
    def days(self) -> int:
        """``every`` in days."""
        return (parse_duration(self.every) or 7 * DAY) // DAY


class DrillChannel(NamedTuple):
    """A real channel as a drill knows it: without its credentials, its proxy and its provider's address."""

    channel: str
    """The real channel's name."""
    platform: str
    app: str
    connections: int


def read_drill(reader: Reader, table: object) -> DrillConfig | None:
    """Return the settings."""
    found = reader.table(DrillConfig, table, "drill", _REMEDIES)
    if found is None:
        return None
    if found.at is not None and found.minute is None:
        reader.problem("drill.at", f"{shown(found.at)} is no time of a day", _REMEDIES["drill.at"], found.at)
    seconds = parse_duration(found.every)
    if seconds is None or seconds % DAY or not 1 <= seconds // DAY <= 60:
        reader.problem("drill.every", f"{shown(found.every)} is not whole days", _REMEDIES["drill.every"], found.every)
    return found
