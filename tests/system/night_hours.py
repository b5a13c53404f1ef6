"""A night that falls during a run: quiet hours that begin at one full minute and end at the next."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from simulators.ledger import Entry

AHEAD = 75.0
"""Seconds that a node takes at most to start and to get its base."""
FIRE_BEFORE = 10.0
"""Seconds before nightfall at which the campaign is fired."""
EVENING, MORNING, DAY = "Etc/UTC", "Etc/GMT-8", "Etc/GMT+3"
"""Where night falls during the run, where it ends, and where it is day: eight hours ahead, three behind."""
ZONES = (EVENING, MORNING, DAY)
GRACE = 500
"""Milliseconds from the begin of a push until the twin has written it down."""
PROMPT = 15_000
"""Milliseconds after the end of the night within which the first push goes out, on a machine that does other things."""
_MINUTE = 60_000
_DAY = 1440 * _MINUTE


@dataclass
class Night:
    """From one full minute to the next, in UTC and in a zone eight hours ahead."""

    falls: float
    """Seconds since 1970: in EVENING it begins, and a minute later it ends in MORNING."""
    zones: dict[str, str] = field(default_factory=dict)
    """Token → zone."""
    _known: dict[tuple[str, int], bool] = field(default_factory=dict)

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

    def is_quiet(self, zone: str, at: int) -> bool:
        """Whether a zone's clocks show a quiet hour, by the model: look at the clock. ``at``: ms UTC."""
        known = zone, at // _MINUTE
        if known not in self._known:
            wall = datetime.fromtimestamp(at / 1000, ZoneInfo(zone))
            begin = datetime.fromtimestamp(self.falls, ZoneInfo(EVENING))
            end = datetime.fromtimestamp(self.ends, ZoneInfo(MORNING))
            minute, first, last = (each.hour * 60 + each.minute for each in (wall, begin, end))
            self._known[known] = first <= minute < last if first < last else minute >= first or minute < last
        return self._known[known]

    def wakes(self, entry: Entry) -> bool:
        """Whether a push was begun awake while it was night."""
        zone = self.zones[entry.token]
        return not entry.asleep and self.is_quiet(zone, entry.time - GRACE) and self.is_quiet(zone, entry.time)

    def may_wake(self, entry: Entry) -> bool:
        """Whether the provider may still deliver a push at night that is not asleep: to a phone that was off."""
        if entry.asleep or entry.expires == 0:
            return False
        zone = self.zones[entry.token]
        until = entry.time + _DAY if entry.expires is None else entry.expires - GRACE
        return any(self.is_quiet(zone, at) for at in range((entry.time // _MINUTE + 1) * _MINUTE, until, _MINUTE))

    def laws(self, live: set[str], entries: Sequence[Entry]) -> Iterator[tuple[str, bool, str]]:
        """Nobody is woken, by each phone's own zone, and nobody else is left out; and there was a night to be woken in.

        ``live``: who is to get the campaign of these entries.
        """
        woken = [entry for entry in entries if self.wakes(entry)]
        yield "nobody is woken at night", not woken, f"{len(woken)} were: {self._told(woken)}"
        kept = [entry for entry in entries if self.may_wake(entry)]
        yield "nothing awake can be delivered at night", not kept, f"{len(kept)} can: {self._told(kept)}"
        reached = Counter(self.zones[token] for token in {entry.token for entry in entries} & live)
        of = Counter(self.zones[token] for token in live)
        said = ", ".join(f"{zone} {reached[zone]} of {of[zone]}" for zone in ZONES)
        yield "who is awake is reached", all(reached[zone] == of[zone] for zone in (MORNING, DAY)), said
        yield "night falls in the midst of the campaign", 0 < reached[EVENING] < of[EVENING], said
        first = min((entry.time for entry in entries if self.zones[entry.token] == MORNING), default=0)
        late = first - round(self.ends * 1000)
        yield "who was held is reached when the night ends", late < PROMPT, f"{late} ms after it"

    def _told(self, entries: Sequence[Entry]) -> str:
        """The first few, for people: zone, and the seconds since nightfall at which a push came and expires."""
        falls = round(self.falls * 1000)
        said = [
            f"{self.zones[entry.token]} at {(entry.time - falls) / 1000:+.1f} s"
            + (", kept for ever" if entry.expires is None else f", kept until {(entry.expires - falls) / 1000:+.1f} s")
            for entry in entries[:3]
        ]
        return "; ".join(said)
