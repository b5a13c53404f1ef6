"""The budget of a kind of news: how many of an audience had enough of it today, said before Fire."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from broadside.api.report_text import written
from broadside.errors import NeedsYes, Problem
from broadside.newsroom.audience_desk import AudienceDesk, Chosen
from campaigns.kind import Kind

DAY = 86_400_000
"""Milliseconds: the day of a newsroom that has no zone is the last 24 hours."""


async def budget_said(
    desk: AudienceDesk, chosen: Chosen, name: str, kind: Kind, now: int, zone: str | None
) -> Problem | None:
    """Say how many of an audience had enough of a kind today; None: nobody, or nobody counts. ``now``: ms UTC."""
    if kind.budget is None:
        return None
    found, of = await desk.over_budget(chosen, name, day_began(now, zone), kind.budget)
    if not found.subscribers:
        return None
    had = f"had {kind.budget:,} or more of the kind {name} {'today' if zone else 'in the last 24 hours'}"
    remedy = "fire it to fewer, later, or as another kind; or say yes: over_budget (fire --over-budget)"
    return Problem("kind", f"{written(found)} of {of:,} phones {had}, which is its budget", remedy, name)


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
