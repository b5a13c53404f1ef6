"""What quiet hours mean for a campaign: the hours of its kind or of the newsroom, and the zones of its channels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from broadside.api.report_text import QUIET
from campaigns import windows
from campaigns.quiet_hours import QuietHours, read_hours, written_hours
from campaigns.windows import Moment, QuietRule, Windows

HOURS = "quiet_hours"
"""The entry of a campaign's policy with its quiet hours, as ``read_hours`` reads them."""
HELD_INSTEAD = "held_instead"
"""The entry of a campaign's policy with the channels on which its rule *silent* means *hold*."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Quiet hours in the time zone of each subscriber: the newsroom's, or those of a kind of news (:meth:`at`)."""

    hours: QuietHours | None = None
    """None: there are none."""
    zones: Mapping[str, str | None] = field(default_factory=dict)
    """Channel → the zone of its subscribers without one; None: nobody knows, and no quiet hours hold for them."""
    silent: Collection[str] = frozenset()
    """Channels on which a push can be shown asleep. On the others *silent* means *hold*."""

    def at(self, hours: str | None) -> Quiet:
        """The same with other hours, as ``read_hours`` reads them; None: with these."""
        return self if hours is None else replace(self, hours=read_hours(hours))

    def policy(self, rule: QuietRule, channels: Collection[str] | None) -> dict[str, Any]:
        """Return the entries of a campaign's policy. ``channels``: None for all."""
        entries: dict[str, Any] = {HOURS: written_hours(self.hours)}
        if self.hours is None:
            return entries
        entries["quiet"] = rule
        if rule is QuietRule.SILENT:
            entries[HELD_INSTEAD] = sorted(name for name in channels or self.zones if name not in self.silent)
        return entries

    def windows(
        self,
        rule: QuietRule,
        channels: Collection[str],
        start: int,
        ttl: int,
        moment: Moment = None,
        expires_at: int | None = None,
    ) -> Windows | None:
        """The window classes of a campaign that starts at ``start`` (ms UTC); None: it starts for everybody at once.

        ``ttl``: milliseconds for which a push is wanted; ``moment``: when it starts in each zone; ``expires_at``: a
        moment (ms UTC) after which nobody gets it. Takes 0.2 s for the first campaign of a day, later 1 ms.
        """
        if moment is None and (self.hours is None or rule is QuietRule.BREAK_THROUGH):
            return None
        rules = {name: self.rule_on(name, rule) for name in channels}
        zones = {name: self.zones.get(name) for name in channels}
        return windows.compute(
            quiet=self.hours, rules=rules, zones=zones, start=start, ttl=ttl, moment=moment, expires_at=expires_at
        )

    def shows_asleep(self, channel: str) -> bool:
        """Whether a campaign with the rule *silent* may show its pushes asleep on this channel."""
        return self.hours is not None and channel in self.silent

    def rule_on(self, channel: str, rule: QuietRule) -> QuietRule:
        """Return what a campaign's rule means on a channel: *silent* is *hold* where nothing can be shown asleep."""
        return QuietRule.HOLD if rule is QuietRule.SILENT and channel not in self.silent else rule

    def at_night(self, channel: str, rule: QuietRule) -> str:
        """Say what becomes of a channel's people in quiet hours; empty: there are no such hours."""
        if self.hours is None:
            return ""
        means = self.rule_on(channel, rule)
        return f"{self.hours}: {QUIET[means]}" + ("" if means is rule else f"; {instead(channel)}")


def instead(channel: str) -> str:
    """Say that *silent* means *hold* on a channel, and why."""
    return (
        f"silent means hold on {channel}, because nothing can be shown there without a sound"
        " (Android: name the app's own channel without sound as quiet_channel)"
    )


def notes(policy: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each channel on which a campaign's rule *silent* means *hold*."""
    return [instead(channel) for channel in policy.get(HELD_INSTEAD, ())]


NO_QUIET = Quiet()
"""Nobody has quiet hours."""
