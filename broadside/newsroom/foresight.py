"""Foresees whom a campaign's times and zones treat otherwise than everybody else: counted before Fire, by zone."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

from broadside.api.campaign_report import FireRequest
from broadside.api.report_text import written
from broadside.errors import NeedsYes, Problem, shown
from broadside.newsroom.audience_desk import AudienceDesk, ByZone, Chosen, ZoneRows
from broadside.newsroom.starts import Times
from campaigns.quiet_hours import zones_known
from campaigns.windows import LocalTime, QuietRule, Windows

FORESEEN = "foreseen"
"""The entry of a campaign's policy with what was foreseen at Fire: sentences for the editor."""
NAMED = 3
"""Zones that a sentence names, the largest ones."""
_REMEDY = 'set zone = "Europe/Vienna" under [newsroom] or [channels.NAME] in broadside.toml'


class Fate(StrEnum):
    """What becomes of people, as the end of a sentence."""

    NOTHING = "get nothing: the news expires before they may first get it"
    SKIPPED = "get nothing: this local time is over where they are"
    LATE = "get it as soon as they may: this local time is over where they are"
    MOVED = "get it when their quiet hours end: their time lies in them"
    NO_ZONE = f"are reached at once, without quiet hours: they have no time zone, nor has their channel ({_REMEDY})"


class Foreseen(NamedTuple):
    """The groups of an audience with a fate of their own."""

    sample: ZoneRows
    groups: dict[Fate, dict[ByZone, str]]
    """Each group, and the zone that counts for it."""

    def sentences(self) -> list[str]:
        """A sentence for each fate."""
        return [self.sentence(fate) for fate in Fate if fate in self.groups]

    def sentence(self, fate: Fate) -> str:
        """How many people have a fate, and where."""
        return f"{self.how_many(fate)} {fate}" + ("" if fate is Fate.NO_ZONE else f": {self.zones(fate)}")

    def how_many(self, fate: Fate) -> str:
        """``48,200 ± 900 (95 %) of 212,000 phones``."""
        everybody = [group for group, rows in self.sample.rows.items() if rows.inside]
        return f"{written(self.sample.size(self.groups[fate]))} of {self._about(everybody)} phones"

    def _about(self, groups: Collection[ByZone]) -> str:
        return written(self.sample.size(groups)).partition(" ")[0]

    def zones(self, fate: Fate) -> str:
        """``30,000 in Asia/Tokyo, 12,000 in Asia/Seoul and 9 more zones``."""
        by_zone: dict[str, list[ByZone]] = {}
        for group, zone in self.groups[fate].items():
            by_zone.setdefault(zone, []).append(group)
        largest = sorted(by_zone, key=lambda zone: (-self.sample.size(by_zone[zone]).subscribers, zone))
        named = ", ".join(f"{self._about(by_zone[zone])} in {zone}" for zone in largest[:NAMED])
        more = len(largest) - NAMED
        return f"{named} and {more} more zone{'s' if more > 1 else ''}" if more > 0 else named

    def refuse_unasked(self, request: FireRequest) -> None:
        """Raise ``NeedsYes`` if somebody would get nothing, and the request does not say that this is meant."""
        if Fate.NOTHING not in self.groups or request.expire_asleep is True:
            return
        value = shown(request.expires or f"{request.ttl_seconds}s", 40)
        what = f"{self.how_many(Fate.NOTHING)} would get nothing: {value} is before they may first get it"
        remedy = "let it expire later, or say yes: expire_asleep (fire --expire-asleep)"
        raise NeedsYes(Problem("expires", f"{what}: {self.zones(Fate.NOTHING)}", remedy, value), "expire_asleep")


async def foresee(desk: AudienceDesk, chosen: Chosen, times: Times, windows: Windows | None) -> Foreseen | None:
    """Count the people whom ``times`` treat otherwise than everybody else; None: there can be none.

    ``windows``: the window classes of this campaign.
    """
    if windows is None or not _may_differ(times, windows):
        return None
    sample = await desk.by_zones(chosen)
    groups: dict[Fate, dict[ByZone, str]] = {}
    for group, rows in sample.rows.items():
        zone, number = windows.place(group.channel, group.zone, group.slot)
        fate = _fate(times, windows, group.channel, zone, number) if rows.inside else None
        if fate is not None:
            groups.setdefault(fate, {})[group] = zone
    return Foreseen(sample, groups)


async def zoneless(desk: AudienceDesk, channels: list[str]) -> str:
    """Say how many subscribers of ``channels``, which have no time zone, have none either; empty: there are none."""
    sample = await desk.by_zones(Chosen(channels))
    unknown = {group: "" for group, rows in sample.rows.items() if rows.inside and group.zone not in zones_known()}
    return Foreseen(sample, {Fate.NO_ZONE: unknown}).sentence(Fate.NO_ZONE) if unknown else ""


def _may_differ(times: Times, windows: Windows) -> bool:
    """Whether the times can treat some people differently. If not, nobody is counted: Fire need not wait for it."""
    if times.moment is not None or windows.channels.keys() < windows.rules.keys():
        return True
    numbers = range(1, len(windows.classes) + 1)
    return not all(windows.reaches(name, number, times.expires_at) for name in windows.rules for number in numbers)


def _fate(times: Times, windows: Windows, channel: str, zone: str, number: int) -> Fate | None:
    if number == 0:
        return Fate.NO_ZONE
    one = windows.classes[number - 1]
    if one.over:
        return Fate.SKIPPED
    if not windows.reaches(channel, number, times.expires_at):
        return Fate.NOTHING
    if isinstance(times.moment, LocalTime) and one.start == times.start > times.moment.at(zone):
        return Fate.LATE
    held = windows.rules.get(channel, QuietRule.HOLD) is QuietRule.HOLD
    if times.moment is not None and held and one.due > one.start > times.start:
        return Fate.MOVED
    return None
