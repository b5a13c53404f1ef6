"""Answers the API's routes about the ring: its nodes, and their tubes."""

from __future__ import annotations

from broadside.api.node_status import TubeStatus
from broadside.api.operations import BuriedPage, EndedBatches, Forgotten, Kicked, Peers
from broadside.api.ring_state import RingState
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring


def ring_routes(newsroom: Newsroom, ring: Ring) -> list[Bound]:
    """Bind the routes."""

    async def peers(call: Call) -> Peers:
        return Peers(await ring.peers())

    async def state(call: Call) -> RingState:
        return await ring.state()

    async def forget(call: Call) -> Forgotten:
        return await ring.forget(call.named("name"), call.query(table.ForgetQuery).force)

    async def tubes(call: Call) -> TubeStatus:
        return await newsroom.tubes.status()

    async def buried(call: Call) -> BuriedPage:
        query = call.query(table.BuriedQuery)
        return await newsroom.tubes.buried(call.named("channel"), query.limit, query.cursor)

    async def kick(call: Call) -> Kicked:
        return Kicked(await newsroom.tubes.kick(call.named("channel"), call.query(table.KickQuery).count))

    async def end(call: Call) -> EndedBatches:
        return EndedBatches(*await newsroom.tubes.end_buried(call.named("channel"), call.query(table.EndQuery).limit))

    return [
        bind(table.RING, state),
        bind(table.PEERS, peers),
        bind(table.FORGET, forget),
        bind(table.TUBES, tubes),
        bind(table.BURIED, buried),
        bind(table.KICK, kick),
        bind(table.END, end),
    ]
