"""Answers the API's routes about the node's channels: which there are, and what comes, changes and goes."""

from __future__ import annotations

from broadside.api.base_records import Channels
from broadside.api.channel_records import ChannelChanged, ChannelCredentials, ChannelRecord, ChannelSettings
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.newsroom.channel_desk import ChannelDesk
from broadside.newsroom.newsroom import Newsroom


def channel_routes(newsroom: Newsroom, desk: ChannelDesk) -> list[Bound]:
    """Bind the routes."""

    async def channels(call: Call) -> Channels:
        return Channels(desk.listed(), await newsroom.served())

    async def show(call: Call) -> ChannelRecord:
        return desk.show(call.named("channel"))

    async def put(call: Call) -> ChannelChanged:
        return await desk.put(call.named("channel"), call.body(ChannelSettings))

    async def rotate(call: Call) -> ChannelChanged:
        return await desk.rotate(call.named("channel"), call.body(ChannelCredentials))

    async def remove(call: Call) -> ChannelChanged:
        return await desk.remove(call.named("channel"))

    return [
        bind(table.CHANNELS, channels),
        bind(table.CHANNEL, show),
        bind(table.CHANNEL_PUT, put),
        bind(table.CHANNEL_ROTATE, rotate),
        bind(table.CHANNEL_REMOVE, remove),
    ]
