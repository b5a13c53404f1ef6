"""The page of drills: the last ones with what was foreseen, and a button for one now."""

from __future__ import annotations

from starlette.responses import Response

from broadside.api.drill_records import DrillRequest
from broadside.api.v1 import table
from broadside.pages.page import PageCall, PageRoute


async def drills(call: PageCall) -> Response:
    """List drills."""
    return await _show(call, "operator/drills.html")


async def part(call: PageCall) -> Response:
    """The list, without the page around it."""
    return await _show(call, "operator/drills_part.html")


async def start(call: PageCall) -> Response:
    """Start one now."""
    await call.api(table.DRILL_START, body=DrillRequest())
    return await _show(call, "operator/drills_part.html")


async def _show(call: PageCall, template: str) -> Response:
    zone = (await call.api(table.NEWSROOM)).zone
    return call.show(template, found=await call.api(table.DRILLS), zone=zone)


PAGES = (
    PageRoute("/operator/drills", drills),
    PageRoute("/operator/drills/part", part),
    PageRoute("/operator/drills/start", start, "POST"),
)
