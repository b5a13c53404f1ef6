"""Budgets: how many of an audience had enough of a kind of news today, or of a channel's pushes, said before Fire."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from broadside.api.report_text import written
from broadside.errors import NeedsYes, Problem
from broadside.newsroom.audience_desk import AudienceDesk, Chosen
from campaigns.kind import Kind

DAY = 86_400_000
"""Milliseconds: the day of a newsroom that has no zone is the last 24 hours."""


class Budgets:
    """Counts before Fire what phones had today.

    ``limits``: channel → campaigns a day and phone, of any kind, beyond which its provider shows none; ``zone``: the
    newsroom's, whose day it is.
    """

    def __init__(self, desk: AudienceDesk, limits: Mapping[str, int], zone: str | None) -> None:
        self.limits = limits
        self._desk = desk
        self._zone = zone

    def asked(self, kind: Kind) -> bool:
        """Whether anybody counts."""
        return kind.budget is not None or bool(self.limits)

    async def said(self, chosen: Chosen, name: str, kind: Kind, now: int) -> Problem | None:
        """Say how many of an audience had enough today; None: nobody, or nobody counts. ``now``: ms UTC."""
        found = [await self._of_kind(chosen, name, kind, now)] if kind.budget is not None else []
        found += [
            await self._of_channel(chosen, channel, now)
            for channel in sorted(self.limits)
            if chosen.channels is None or channel in chosen.channels
        ]
        problems = [each for each in found if each is not None]
        if not problems:
            return None
        return dataclasses.replace(problems[0], what="; ".join(each.what for each in problems))

    async def _of_kind(self, chosen: Chosen, name: str, kind: Kind, now: int) -> Problem | None:
        what = await self._had(chosen, f"of the kind {name}", name, kind.budget or 0, now)
        remedy = "fire it to fewer, later, or as another kind; or say yes: over_budget (fire --over-budget)"
        return None if what is None else Problem("kind", f"{what}, which is its budget", remedy, name)

    async def _of_channel(self, chosen: Chosen, channel: str, now: int) -> Problem | None:
        alone = chosen._replace(channels=[channel])
        what = await self._had(alone, f"on the channel {channel}", None, self.limits[channel], now)
        remedy = "fire it to fewer, later, or to other channels; or say yes: over_budget (fire --over-budget)"
        return None if what is None else Problem("channels", f"{what}, which is its daily_limit", remedy, channel)

    async def _had(self, chosen: Chosen, of_what: str, kind: str | None, budget: int, now: int) -> str | None:
        found, of = await self._desk.over_budget(chosen, kind, day_began(now, self._zone), budget)
        if not found.subscribers:
            return None
        when = "today" if self._zone else "in the last 24 hours"
        return f"{written(found)} of {of:,} phones had {budget:,} or more {of_what} {when}"


def over_budget(said: Problem) -> NeedsYes:
    """Return the refusal of a campaign that nobody has said yes to."""
    return NeedsYes(said, "over_budget")


def day_began(now: int, zone: str | None) -> int:
    """Return when the newsroom's day began, ms UTC."""
    if zone is None:
        return now - DAY
    local = datetime.fromtimestamp(now / 1000, ZoneInfo(zone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight.timestamp() * 1000 > now:  # clocks were set back over midnight
        midnight -= timedelta(days=1)
    return int(midnight.timestamp() * 1000)
