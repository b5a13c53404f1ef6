"""The operator's panel: what is wrong in the whole ring, what runs in each node, and the tubes of this one."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from broadside.api.alarm import Alarm
from broadside.api.ring_state import ActorState, RingNode
from broadside.api.v1 import table
from broadside.console.http_answers import ApiFailure
from broadside.pages.api_in_process import PageProblem
from broadside.pages.page import PageCall, PageRoute
from broadside.pages.runbooks import in_html, runbook
from campaigns.channel_state import ChannelState, worst

LARGEST = 10
"""Campaigns in the list by size."""
NEWEST = 100
"""The campaigns among which the largest are looked for."""
BURIED = 25
"""Batches on one page."""
ENDED_AT_ONCE = 10_000
KICKED_AT_ONCE = 10**9
_TUBE = "push_"
"""How the names of channels' tubes begin."""
STATES = {
    "running": "runs",
    "starting": "is starting",
    "restarting": "is being restarted",
    "parked": "parked: crashes too often, tried again every minute",
    "stopping": "is stopping",
    "stopped": "stopped",
}
NODES = {
    "alive": "alive",
    "away": "away: no heartbeat for 15 s",
    "fenced": "forgotten; its last lease still runs",
    "forgotten": "forgotten",
}
BREAKERS = {"closed": "sends", "open": "refused: nothing is sent", "half-open": "refused: one batch is being tried"}


async def panel(call: PageCall) -> Response:
    """Show the whole ring."""
    values = await _wrong(call) | await _ring(call) | await _heard(call) | await _largest(call)
    return call.show("operator/panel.html", **values)


async def wrong(call: PageCall) -> Response:
    """Show what is wrong, without the page around it."""
    return call.show("operator/wrong.html", **await _wrong(call))


async def ring(call: PageCall) -> Response:
    """Show the nodes, without the page around them."""
    return call.show("operator/ring.html", **await _ring(call))


async def heard(call: PageCall) -> Response:
    """Show what the newsroom's other systems hear, and what the site says, without the page around it."""
    return call.show("operator/heard.html", **await _heard(call))


async def largest(call: PageCall) -> Response:
    """Show the largest campaigns, without the page around them."""
    return call.show("operator/largest.html", **await _largest(call))


async def forget(call: PageCall) -> Response:
    """Forget a node."""
    done = await call.api(table.FORGET, name=call.named("name"))
    return call.show("operator/ring.html", **(await _ring(call) | {"said": done.message}))


async def buried(call: PageCall) -> Response:
    """Show a channel's buried batches on this node."""
    return call.show("operator/buried.html", **await _buried(call))


async def kick(call: PageCall) -> Response:
    """Put a channel's buried batches back on their tube."""
    done = await call.api(table.KICK, query={"count": KICKED_AT_ONCE}, channel=call.named("channel"))
    said = f"{done.kicked:,} {_batches(done.kicked)} back on the tube."
    return call.show("operator/buried_part.html", **(await _buried(call) | {"said": said}))


async def end(call: PageCall) -> Response:
    """End a channel's buried batches."""
    done = await call.api(table.END, query={"limit": ENDED_AT_ONCE}, channel=call.named("channel"))
    said = f"{done.batches:,} {_batches(done.batches)} ended; {done.recipients:,} recipients are rejected."
    return call.show("operator/buried_part.html", **(await _buried(call) | {"said": said}))


async def explained(call: PageCall) -> Response:
    """Show the runbook of an alarm."""
    found = runbook(call.named("name"))
    if found is None:
        raise ApiFailure(404, f"there is no runbook {call.named('name')[:40]}", remedy="see docs/runbooks")
    return call.show("operator/runbook.html", book=found)


async def _wrong(call: PageCall) -> dict[str, Any]:
    try:
        alarms = (await call.api(table.STATUS)).alarms
    except PageProblem as problem:
        if problem.problem.status not in (503, 507):
            raise
        alarms = (await call.api(table.READY)).alarms  # Tarantool is away: an alarm says so
    return {
        "alarms": list(map(_shown, alarms)),
        "zone": await _zone(call),
        "in_html": in_html,
        "sentence": lambda text: text[:1].upper() + text[1:],
    }


def _shown(alarm: Alarm) -> dict[str, Any]:
    return {**msgspec.structs.asdict(alarm), "severity": alarm.severity.value, "name": alarm.name.value}


async def _heard(call: PageCall) -> dict[str, Any]:
    webhooks, herd = (await call.api(table.WEBHOOKS)).webhooks, await call.api(table.HERD)
    return {"webhooks": webhooks, "herd": herd, "heard_zone": await _zone(call)}


async def _ring(call: PageCall) -> dict[str, Any]:
    state = await call.api(table.RING)
    return {
        "ring": state,
        "memory": _memory(state.nodes, state.memory),
        "standing": {node.name: _standing(node) for node in state.nodes},
        "states": STATES,
        "node_states": NODES,
        "breakers": BREAKERS,
        "zone": await _zone(call),
        "tube_channel": lambda name: name.removeprefix(_TUBE) if name.startswith(_TUBE) else None,
        "faults": faults,
        "in_html": in_html,
        "tube_buried": lambda queue: any(tasks.get("buried") for tasks in queue.tubes.values()),
        "said": "",
    }


def _standing(node: RingNode) -> dict[str, ChannelState]:
    return worst(node.standing)


def _memory(nodes: list[RingNode], store: Any) -> dict[str, tuple[int, int]]:
    """Server → bytes used and bytes for data."""
    found = {name: (each.used, each.size) for name, each in store.items()}
    for node in nodes:
        use = node.state.queue.memory if node.state and node.state.queue else {}
        if {"used", "size"} <= use.keys() and (use["used"], use["size"]) not in found.values():
            found[f"queue of {node.name}"] = (use["used"], use["size"])
    return found


def faults(actor: ActorState) -> tuple[int, int]:
    """How many actors of a tree do not run, and how many of the others have crashed."""
    down, before = map(sum, zip((0, 0), *map(faults, actor.children), strict=True))
    return (down, before + bool(actor.crash)) if actor.state == "running" else (down + 1, before)


async def _largest(call: PageCall) -> dict[str, Any]:
    page = await call.api(table.CAMPAIGNS, query={"limit": NEWEST})
    lines = [
        (
            line,
            sum(tally.audience for tally in line.channels.values()),
            sum(t.remaining for t in line.channels.values()),
        )
        for line in page.items
    ]
    return {"campaigns": sorted(lines, key=lambda each: -each[1])[:LARGEST]}


async def _buried(call: PageCall) -> dict[str, Any]:
    channel, cursor = call.named("channel"), call.request.query_params.get("cursor")
    page = await call.api(table.BURIED, query={"limit": BURIED, "cursor": cursor}, channel=channel)
    return {"channel": channel, "page": page, "first": cursor is None, "said": ""}


async def _zone(call: PageCall) -> str | None:
    return (await call.api(table.NEWSROOM)).zone


def _batches(n: int) -> str:
    return "batch is" if n == 1 else "batches are"


PAGES = (
    PageRoute("/operator", panel),
    PageRoute("/operator/wrong", wrong),
    PageRoute("/operator/ring", ring),
    PageRoute("/operator/heard", heard),
    PageRoute("/operator/campaigns", largest),
    PageRoute("/operator/nodes/{name}/forget", forget, "POST"),
    PageRoute("/operator/tubes/{channel}", buried),
    PageRoute("/operator/tubes/{channel}/kick", kick, "POST"),
    PageRoute("/operator/tubes/{channel}/end", end, "POST"),
    PageRoute("/operator/runbooks/{name}", explained),
)
