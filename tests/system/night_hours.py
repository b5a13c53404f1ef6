"""A night that falls during a run: quiet hours that begin at one full minute and end at the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

AHEAD = 75.0
"""Seconds that a node takes at most to start and to get its base."""
FIRE_BEFORE = 20.0
"""Seconds before nightfall at which the campaign is fired."""
EVENING, MORNING, DAY = "Etc/UTC", "Etc/GMT-8", "Etc/GMT+3"
"""Where night falls during the run, where it ends, and where it is day: eight hours ahead, three behind."""
ZONES = (EVENING, MORNING, DAY)
GRACE = 500
"""Milliseconds from the begin of a push until the twin has written it down."""


@dataclass
class Night:
    """From one full minute to the next, in UTC and in a zone eight hours ahead."""

    falls: float
    """Seconds since 1970: in EVENING it begins, and a minute later it ends in MORNING."""
    zones: dict[str, str] = field(default_factory=dict)
    """Token → zone."""

    @classmethod
    def ahead(cls) -> Night:
        """The next one that leaves the node time to start."""
        return cls(-(-(time.time() + AHEAD) // 60) * 60)

    @property
    def ends(self) -> float:
        """When it ends in MORNING, seconds since 1970."""
        return self.falls + 60

    @property
    def config(self) -> str:
        """As the node's configuration writes it."""
        begin = datetime.fromtimestamp(self.falls, ZoneInfo(EVENING))
        end = datetime.fromtimestamp(self.ends, ZoneInfo(MORNING))
        return f"{begin:%H:%M}-{end:%H:%M}"

    def is_quiet(self, token: str, at: int) -> bool:
        """Whether the clocks of a phone's zone show a quiet hour, by the model: look at the clock. ``at``: ms UTC."""
        wall = datetime.fromtimestamp(at / 1000, ZoneInfo(self.zones[token]))
        begin = datetime.fromtimestamp(self.falls, ZoneInfo(EVENING))
        end = datetime.fromtimestamp(self.ends, ZoneInfo(MORNING))
        minute, first, last = (each.hour * 60 + each.minute for each in (wall, begin, end))
        return first <= minute < last if first < last else minute >= first or minute < last
