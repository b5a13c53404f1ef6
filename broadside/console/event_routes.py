"""Answers the API's route of the event stream."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from broadside.api.event_records import EVENT_STREAM, HELLO, PING
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.console.http_answers import ApiFailure
from broadside.console.outflow import Outflow
from broadside.console.stream_answer import StreamAnswer
from broadside.errors import Problem, RecordError
from broadside.newsroom.event_feed import MOST, EventFeed
from broadside.newsroom.newsroom import Newsroom
from campaigns.identity import campaign_text, parse_campaign

LAST = "last-event-id"
"""The header in which a client names the last event that it has got."""


def event_routes(newsroom: Newsroom, feed: EventFeed) -> list[Bound]:
    """Bind the route."""

    async def events(call: Call) -> Response:
        query = call.query(table.EventsQuery)
        campaign = await _known(newsroom, query.campaign) if query.campaign else None
        if feed.full:
            remedy = "close some of them, or listen at another node"
            raise ApiFailure(429, f"{MOST} clients listen to this node's events already", remedy=remedy)
        last = call.request.headers.get(LAST, "")

        async def write(out: Outflow) -> None:
            left = None if query.limit is msgspec.UNSET else query.limit
            # who counts events writes each by itself
            async with feed.listener(campaign, last, out if left is None else None, query.ring) as listener:
                await out.put(HELLO)
                while left is None or left > 0:
                    found = await listener.next(left)
                    left = None if left is None else left - len(found)
                    await out.put(b"".join(event.text for event in found) or PING)

        return StreamAnswer(EVENT_STREAM, write, call.ended)

    return [bind(table.EVENTS, events)]


async def _known(newsroom: Newsroom, text: str) -> str:
    """Return the id of a campaign (``RecordError`` or ``ApiFailure`` if there is none)."""
    remedy = "`campaign list` shows the ids"
    try:
        id = parse_campaign(text)
    except ValueError as error:
        raise RecordError(Problem("campaign", str(error)[:200], remedy, text[:40])) from None
    if await newsroom.campaign(id) is None:
        raise ApiFailure(404, f"no campaign {text}", field="campaign", value=text, remedy=remedy)
    return campaign_text(id)
