"""Answers the API's routes about subscribers."""

from __future__ import annotations

from broadside.api.attributes.changes import Changes
from broadside.api.base_records import BaseCount, Imported, ImportedLines, Removed, SubscriberPage
from broadside.api.subscriber import decode_lines
from broadside.api.v1 import table
from broadside.console.bulk_load import BulkLoad, counts
from broadside.console.calls import Bound, Call, bind
from broadside.errors import Problem, RecordError
from broadside.newsroom.newsroom import Newsroom


def subscriber_routes(newsroom: Newsroom) -> list[Bound]:
    """Bind the routes."""

    async def register(call: Call) -> Imported:
        changes, strict = Changes(), call.query(table.RegisterQuery).strict
        (row,) = decode_lines([call.raw], changes, strict=strict)
        if isinstance(row, Problem):
            raise RecordError(row)
        stored, faults = await newsroom.subscribers.put([row])
        if faults:
            raise RecordError(faults[0])
        return Imported(**counts(stored, replacing=row.replaces is not None), **changes.report())

    async def bulk(call: Call) -> ImportedLines:
        return await BulkLoad(newsroom, strict=call.query(table.RegisterQuery).strict).run(call)

    async def unregister(call: Call) -> Removed:
        query = call.query(table.UnregisterQuery)
        return Removed(await newsroom.subscribers.remove(query.channel, query.token))

    async def page(call: Call) -> SubscriberPage:
        query = call.query(table.SubscribersQuery)
        return await newsroom.subscribers.page(query.limit, query.cursor)

    async def count(call: Call) -> BaseCount:
        channels = await newsroom.subscribers.count()
        return BaseCount(sum(channels.values()), channels)

    return [
        bind(table.REGISTER, register),
        bind(table.UNREGISTER, unregister),
        bind(table.BULK, bulk),
        bind(table.SUBSCRIBERS, page),
        bind(table.COUNT, count),
    ]
