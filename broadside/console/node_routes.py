"""Answers the API's routes about this node: its health, and what runs in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from starlette.responses import Response

from broadside.api.node_status import Health, MemoryUse, NodeStatus, Readiness
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.console.http_answers import json_answer
from broadside.newsroom.alarms import channel_alarms, memory_alarms, outbox_alarms
from broadside.newsroom.newsroom import Newsroom
from campaigns.channel_state import ChannelState

READY_WITHIN = 3.0
"""Seconds in which Tarantool must answer ``/readyz``."""


def node_routes(
    newsroom: Newsroom, ready: Callable[[], bool], status: Callable[[], dict[str, Any]], alarms: Callable[[], list[str]]
) -> list[Bound]:
    """Bind the routes. ``ready``: whether the node can fire; ``status``: its part of a ``NodeStatus``."""

    def told(states: list[ChannelState]) -> list[str]:
        """Return questions and channels' alarms; for a channel that waits for an answer only the question."""
        questions = newsroom.questions()
        others = [state for state in states if state.reason != "question" or state.channel not in questions]
        return [*questions.values(), *channel_alarms(others)]

    async def healthz(call: Call) -> Health:
        return Health(ok=True)

    async def readyz(call: Call) -> Response:
        if not ready():
            return json_answer(Readiness(ready=False), 503)
        with trio.move_on_after(READY_WITHIN):
            found, full = memory_alarms(await newsroom.memory())
            found += outbox_alarms(await newsroom.outbox_age())
            # a sick channel is an alarm, but the node stays ready: other channels go on, and no other node is better
            states = await newsroom.channel_states()
            found += [*told(states), *alarms()]
            return json_answer(Readiness(ready=not full, alarms=found, channels=states), 503 if full else 200)
        return json_answer(Readiness(ready=False, alarms=["Tarantool did not answer in time"]), 503)

    async def whole(call: Call) -> NodeStatus:
        memory = await newsroom.memory()
        states = await newsroom.channel_states()
        owed = outbox_alarms(await newsroom.outbox_age())
        return NodeStatus(
            **status(),
            queue=await newsroom.tubes(),
            memory={name: MemoryUse(each.used, each.size) for name, each in memory.items()},
            alarms=[*memory_alarms(memory)[0], *owed, *told(states), *alarms()],
            channels=states,
        )

    return [bind(table.HEALTH, healthz), bind(table.READY, readyz), bind(table.STATUS, whole)]
