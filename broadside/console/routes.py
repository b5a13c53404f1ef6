"""The node's HTTP API, for the command `broadside` and for any script that has the key."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broadside.console.audience_routes import audience_routes
from broadside.console.campaign_routes import campaign_routes
from broadside.console.dead_routes import dead_routes
from broadside.console.http_answers import ApiFailure, Handler, answered, failed, json_answer, no_route
from broadside.console.http_server import ADMITTED
from broadside.console.request_parts import check_no_body, check_query
from broadside.console.ring_routes import ring_routes
from broadside.console.subscriber_routes import subscriber_routes
from broadside.newsroom.alarms import channel_alarms, memory_alarms, outbox_alarms
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from campaigns.channel_state import ChannelState

READY_WITHIN = 3.0
"""Seconds in which Tarantool must answer ``/readyz``."""


class Api:
    """The API's routes. ``ready``: whether the node can fire; ``status``: its trees and figures as plain data."""

    def __init__(
        self,
        newsroom: Newsroom,
        ring: Ring,
        key: str,
        *,
        ready: Callable[[], bool],
        status: Callable[[], dict[str, Any]],
        alarms: Callable[[], list[str]] = list,
    ) -> None:
        self._newsroom = newsroom
        self._ring = ring
        self._key = f"Bearer {key}".encode()
        self._ready = ready
        self._status = status
        self._alarms = alarms

    def app(self) -> Starlette:
        """Build the ASGI application."""
        guard = self._guarded
        app = Starlette(
            exception_handlers={HTTPException: no_route, Exception: failed},
            routes=[
                Route("/healthz", answered(self._healthz)),
                Route("/readyz", answered(self._readyz)),
                Route("/api/status", guard(self._get_status)),
                *campaign_routes(self._newsroom, guard),
                *subscriber_routes(self._newsroom, guard),
                *ring_routes(self._newsroom, self._ring, guard),
                *audience_routes(self._newsroom.audience, guard),
                *dead_routes(self._newsroom.dead, guard),
            ],
        )
        app.router.redirect_slashes = False  # a redirect names http://, whatever stands before the node
        return app

    def _guarded(self, endpoint: Handler, *query: str, body: bool = False) -> Handler:
        """Admit only requests with the key. ``query``: known parameters; ``body``: whether the endpoint reads one."""

        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, self._key):
                raise ApiFailure(
                    401,
                    "the key is missing or wrong",
                    field="authorization",
                    remedy="send `Authorization: Bearer KEY` with the key in the data folder's api.key",
                )
            setattr(request.state, ADMITTED, True)
            check_query(request, query)
            if not body:
                await check_no_body(request)
            return await endpoint(request)

        return answered(checked)

    async def _healthz(self, request: Request) -> Response:
        return json_answer({"ok": True})

    async def _readyz(self, request: Request) -> Response:
        if not self._ready():
            return json_answer({"ready": False}, 503)
        with trio.move_on_after(READY_WITHIN):
            alarms, full = memory_alarms(await self._newsroom.memory())
            alarms += outbox_alarms(await self._newsroom.outbox_age())
            # a sick channel is an alarm, but the node stays ready: other channels go on, and no other node is better
            states = await self._newsroom.channel_states()
            alarms += [*self._told(states), *self._alarms()]
            return json_answer({"ready": not full, "alarms": alarms, "channels": states}, 503 if full else 200)
        return json_answer({"ready": False, "alarms": ["Tarantool did not answer in time"]}, 503)

    def _told(self, states: list[ChannelState]) -> list[str]:
        """Return questions and channels' alarms; for a channel that waits for an answer only the question."""
        questions = self._newsroom.questions()
        others = [state for state in states if state.reason != "question" or state.channel not in questions]
        return [*questions.values(), *channel_alarms(others)]

    async def _get_status(self, request: Request) -> Response:
        memory = await self._newsroom.memory()
        told = {name: {"used": each.used, "size": each.size} for name, each in memory.items()}
        states = await self._newsroom.channel_states()
        owed = outbox_alarms(await self._newsroom.outbox_age())
        alarms = [*memory_alarms(memory)[0], *owed, *self._told(states), *self._alarms()]
        queue = await self._newsroom.tubes()
        found = {"queue": queue, "memory": told, "alarms": alarms, "channels": states}
        return json_answer({**self._status(), **found})
