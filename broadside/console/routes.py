"""The node's HTTP API: binds every route of the table to the code that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from broadside.api.idempotency import NODE_KEY
from broadside.api.v1 import table
from broadside.api.v1.openapi import document
from broadside.api.v1.route import Route
from broadside.console.admission import Admission
from broadside.console.calls import Bound, Call, bind, read_call
from broadside.console.campaign_routes import campaign_routes
from broadside.console.dead_routes import dead_routes
from broadside.console.http_answers import answered, failed, json_answer, no_route
from broadside.console.kept_answers import KeptAnswers
from broadside.console.metrics import Metrics
from broadside.console.node_routes import node_routes
from broadside.console.ring_routes import ring_routes
from broadside.console.subscriber_routes import subscriber_routes
from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring


class Api:
    """The API. ``ready``: whether the node can fire; ``status``: its part of a ``NodeStatus``."""

    def __init__(
        self,
        newsroom: Newsroom,
        ring: Ring,
        key: str,
        *,
        ready: Callable[[], bool],
        status: Callable[[], dict[str, Any]],
        board: AlarmBoard,
        metrics: Metrics,
    ) -> None:
        self._admission = Admission(key)
        self._kept = KeptAnswers()
        self._bound: list[Bound] = [
            *node_routes(newsroom, ready, status, board, metrics),
            *campaign_routes(newsroom),
            *subscriber_routes(newsroom),
            *ring_routes(newsroom, ring),
            *dead_routes(newsroom.dead),
            bind(table.OPENAPI, _document),
        ]

    def app(self) -> Starlette:
        """Build the ASGI application."""
        handlers = dict(self._bound)
        app = Starlette(
            exception_handlers={HTTPException: no_route, Exception: failed},
            routes=[self._served(route, handlers[route]) for route in table.TABLE],
        )
        app.router.redirect_slashes = False  # a redirect names http://, whatever stands before the node
        return app

    def _served(self, route: Route[Any], handler: Callable[[Call], Awaitable[Any]]) -> StarletteRoute:
        async def serve(request: Request) -> Response:
            if route.scope is not None:
                self._admission.admit(request, route.scope)
                call = await read_call(route, request)
            else:  # a probe may add what keeps caches away, and nobody's body is read
                call = Call(route, request)
            if call.key is not None and route.repeat == "node":
                answer = await self._kept.once(NODE_KEY, call.key, call.fingerprint, lambda: handler(call))
            else:
                answer = await handler(call)
            return answer if isinstance(answer, Response) else json_answer(answer, route.status)

        return StarletteRoute(route.path, answered(serve), methods=[route.method])


async def _document(call: Call) -> dict[str, Any]:
    return document()
