"""Answers the API's routes about the newsroom's other systems: the load of its site, the feed, the webhooks."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from broadside.api.campaign_report import CampaignReport
from broadside.api.delivery_records import ReceiptsNoted, ReceiptsRequest
from broadside.api.outward_records import HerdReport, LoadNoted, LoadRequest, RateRequest, Webhooks
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.newsroom.newsroom import Newsroom


def outward_routes(newsroom: Newsroom) -> list[Bound]:
    """Bind the routes."""
    outward = newsroom.outward

    async def load(call: Call) -> LoadNoted:
        wanted = call.body(LoadRequest)
        await outward.herd.note_load(wanted.load)
        return LoadNoted(load=wanted.load)

    async def herd(call: Call) -> HerdReport:
        return outward.herd.state()

    async def rate(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits)
        return await newsroom.set_rate(call.campaign, call.body(RateRequest).rate)

    async def feed(call: Call) -> Response:
        query = call.query(table.FeedQuery)
        lines = await outward.feed.lines(query.cursor, query.limit, call.holder.limits)
        return Response(
            b"".join(msgspec.json.encode(line) + b"\n" for line in lines), media_type="application/x-ndjson"
        )

    async def webhooks(call: Call) -> Webhooks:
        return await outward.webhooks()

    async def receipts(call: Call) -> ReceiptsNoted:
        return await newsroom.receipts.note(call.body(ReceiptsRequest).receipts)

    return [
        bind(table.LOAD, load),
        bind(table.HERD, herd),
        bind(table.RATE, rate),
        bind(table.FEED, feed),
        bind(table.WEBHOOKS, webhooks),
        bind(table.RECEIPTS, receipts),
    ]
