"""The calendar: what is still to come, by the time at which phones get it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response

from broadside.api.campaign_report import CampaignLine, CampaignReport
from broadside.api.report_text import where
from broadside.api.v1 import table
from broadside.pages.page import PageCall, PageRoute

NEWEST = 1000
"""Campaigns that are looked through: one that was scheduled before them is not shown."""
MOST = 50
"""Campaigns with people who wait, whose times are asked for."""


@dataclass(frozen=True)
class CalendarEntry:
    """One moment of a campaign. ``people``: about how many get it then; ``zones``: where, in words."""

    at: int
    line: CampaignLine
    people: int
    zones: str


async def calendar(call: PageCall) -> Response:
    """Show what is scheduled, and who is held until when."""
    return call.show("calendar.html", **await _values(call))


async def part(call: PageCall) -> Response:
    """Show the same without the page around it."""
    return call.show("calendar_part.html", **await _values(call))


async def cancel(call: PageCall) -> Response:
    """Cancel a campaign, and show what is left."""
    await call.api(table.CANCEL, id=call.named("id"))
    return await part(call)


async def _values(call: PageCall) -> dict[str, Any]:
    lines = await _to_come(call)
    entries = [
        CalendarEntry(line.start, line, sum(each.audience for each in line.channels.values()), "")
        for line in lines
        if line.state == "scheduled" and line.start is not None
    ]
    waiting = [line for line in lines if line.state != "scheduled"]
    for line in waiting[:MOST]:
        report: CampaignReport = await call.api(table.CAMPAIGN, id=line.id)
        entries += [CalendarEntry(each.at, line, each.recipients, where(each)) for each in report.schedule]
    entries.sort(key=lambda entry: entry.at)
    zone = lines[0].zone if lines else None
    days = [(day, list(each)) for day, each in groupby(entries, key=lambda entry: _day(entry.at, zone))]
    return {"days": days, "left_out": len(waiting) - MOST, "zone": zone}


def _day(ms: int, zone: str | None) -> str:
    day = datetime.fromtimestamp(ms / 1000, ZoneInfo(zone) if zone else UTC)
    return f"{day:%A}, {day.day} {day:%B %Y}"


async def _to_come(call: PageCall) -> list[CampaignLine]:
    found: list[CampaignLine] = []
    cursor: str | None = None
    for _ in range(NEWEST // 100):
        page = await call.api(table.CAMPAIGNS, query={"limit": 100, "cursor": cursor})
        found += [line for line in page.items if line.state == "scheduled" or line.held]
        cursor = page.next
        if cursor is None:
            break
    return found


PAGES = (
    PageRoute("/calendar", calendar),
    PageRoute("/calendar/part", part),
    PageRoute("/calendar/{id}/cancel", cancel, "POST"),
)
