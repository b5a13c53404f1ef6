"""The page of refused tokens: questions with their two answers, and the undo of a day."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from broadside.api.dead_records import DeadAnswer, DeadRestore
from broadside.api.v1 import table
from broadside.pages.page import PageCall, PageRoute

PAGE_SIZE = 100


async def listed(call: PageCall) -> Response:
    """List questions, refusals that wait, and deletions of the last day."""
    return call.show("operator/refused.html", **await _values(call))


async def part(call: PageCall) -> Response:
    """Show what changes of it, without the page around it."""
    return call.show("operator/refused_part.html", **await _values(call))


async def confirm(call: PageCall) -> Response:
    """Answer that the phones are dead."""
    done = await call.api(table.DEAD_CONFIRM, body=_answer(call))
    said = f"{done.kept:,} refused tokens of {done.channel} are being deleted. This can be undone for a day."
    return call.show("operator/refused_part.html", **await _values(call, said))


async def keep(call: PageCall) -> Response:
    """Answer that the key was wrong."""
    done = await call.api(table.DEAD_KEEP, body=_answer(call))
    said = f"{done.channel}: nothing is deleted. Waiting pushes go out once the key is right."
    return call.show("operator/refused_part.html", **await _values(call, said))


async def restore(call: PageCall) -> Response:
    """Undo a channel's deletions of the last day."""
    done = await call.api(table.DEAD_RESTORE, body=DeadRestore(channel=call.named("channel")))
    again = f"; {done.registered_again:,} phones had registered again" if done.registered_again else ""
    return call.show(
        "operator/refused_part.html", **await _values(call, f"{done.restored:,} subscribers are back{again}.")
    )


def _answer(call: PageCall) -> DeadAnswer:
    return DeadAnswer(channel=call.named("channel"), campaign=call.named("campaign"))


async def _values(call: PageCall, said: str = "") -> dict[str, Any]:
    page = await call.api(table.DEAD, query={"limit": PAGE_SIZE, "cursor": call.request.query_params.get("cursor")})
    return {
        "questions": [each for each in page.items if each.open],
        "waiting": [each for each in page.items if each.kept and not each.open],
        "removed": [each for each in page.items if each.removed],
        "next": page.next,
        "zone": (await call.api(table.NEWSROOM)).zone,
        "said": said,
    }


PAGES = (
    PageRoute("/operator/refused", listed),
    PageRoute("/operator/refused/part", part),
    PageRoute("/operator/refused/{channel}/{campaign}/confirm", confirm, "POST"),
    PageRoute("/operator/refused/{channel}/{campaign}/keep", keep, "POST"),
    PageRoute("/operator/refused/{channel}/restore", restore, "POST"),
)
