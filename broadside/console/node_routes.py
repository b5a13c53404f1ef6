"""Answers the API's routes about this node: its health, what is wrong, its figures, and what runs in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from broadside.api.base_records import Probed
from broadside.api.node_status import Health, MemoryUse, NodeStatus, Readiness
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.console.http_answers import json_answer
from broadside.console.metrics import CONTENT_TYPE, Metrics
from broadside.newsroom.alarm_board import RECENT, AlarmBoard, closed


def node_routes(
    ready: Callable[[], bool],
    status: Callable[[], dict[str, Any]],
    board: AlarmBoard,
    metrics: Metrics,
    probe: Callable[[], Awaitable[int]],
) -> list[Bound]:
    """Bind the routes. ``ready``: whether the node can fire; ``status``: its part of a ``NodeStatus``.

    ``probe``: asks the providers' connections whether they are alive, and returns how many workers do so.
    """

    async def healthz(call: Call) -> Health:
        return Health(ok=True)

    async def readyz(call: Call) -> Response:
        # a sick channel is an alarm, but the node stays ready: other channels go on, and no other node is better
        alarms = (await board.look(RECENT)).alarms
        fit = ready() and not closed(alarms)
        return json_answer(Readiness(ready=fit, alarms=alarms), 200 if fit else 503)

    async def figures(call: Call) -> Response:
        return Response(await metrics.text(), media_type=CONTENT_TYPE)

    async def whole(call: Call) -> NodeStatus:
        seen = await board.look()
        return NodeStatus(
            **status(),
            queue=seen.tubes,
            memory={name: MemoryUse(each.used, each.size) for name, each in seen.memory.items()},
            alarms=seen.alarms,
            channels=seen.channels,
        )

    async def probed(call: Call) -> Probed:
        return Probed(await probe())

    return [
        bind(table.HEALTH, healthz),
        bind(table.READY, readyz),
        bind(table.METRICS, figures),
        bind(table.STATUS, whole),
        bind(table.PROBE, probed),
    ]
