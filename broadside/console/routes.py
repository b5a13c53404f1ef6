"""The node's HTTP API: binds every route of the table to the code that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from broadside.access.audit import noted
from broadside.api.v1 import table
from broadside.api.v1.openapi import document
from broadside.api.v1.route import Route
from broadside.console.access_routes import Access, access_routes
from broadside.console.calls import Admitted, Bound, Call, bind, read_call
from broadside.console.campaign_routes import campaign_routes
from broadside.console.channel_routes import channel_routes
from broadside.console.dead_routes import dead_routes
from broadside.console.draft_routes import draft_routes
from broadside.console.event_routes import event_routes
from broadside.console.host_names import HostNames
from broadside.console.http_answers import answered, failed, json_answer, no_route
from broadside.console.http_server import ADMITTED
from broadside.console.kept_answers import KeptAnswers
from broadside.console.metrics import Metrics
from broadside.console.node_routes import node_routes
from broadside.console.outward_routes import outward_routes
from broadside.console.ring_routes import ring_routes
from broadside.console.story_routes import story_routes
from broadside.console.subscriber_routes import subscriber_routes
from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.channel_desk import ChannelDesk
from broadside.newsroom.event_feed import EventFeed
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring

_ANY_HOST = (table.HEALTH, table.READY, table.METRICS)
"""Routes that show nothing which a page of another name could use."""


class Api:
    """The API. ``ready``: whether the node can fire; ``status``: its part of a ``NodeStatus``.

    ``kept``: its answers to requests that must not be done twice.
    """

    def __init__(
        self,
        newsroom: Newsroom,
        ring: Ring,
        access: Access,
        *,
        ready: Callable[[], bool],
        status: Callable[[], dict[str, Any]],
        board: AlarmBoard,
        metrics: Metrics,
        hosts: HostNames,
        probe: Callable[[], Awaitable[int]],
        channels: ChannelDesk,
        kept: KeptAnswers | None = None,
    ) -> None:
        self._access = access
        self._hosts = hosts
        self._kept = kept or KeptAnswers()
        self._bound: list[Bound] = [
            *node_routes(ready, status, board, metrics, probe),
            *campaign_routes(newsroom),
            *draft_routes(newsroom.drafts),
            *event_routes(newsroom, EventFeed(newsroom, board, ring)),
            *subscriber_routes(newsroom),
            *ring_routes(newsroom, ring),
            *channel_routes(newsroom, channels),
            *dead_routes(newsroom.dead),
            *outward_routes(newsroom),
            *story_routes(newsroom),
            *access_routes(access),
            bind(table.OPENAPI, _document),
        ]

    def app(self) -> Starlette:
        """Build the ASGI application."""
        handlers = dict(self._bound)
        return _application([self._served(route, handlers[route]) for route in table.TABLE])

    def probes(self) -> Starlette:
        """Build the application of an address where nobody needs a key: for probes and figures alone."""

        def open_to_all(route: Route[Any], handler: Callable[[Call], Awaitable[Any]]) -> StarletteRoute:
            async def serve(request: Request) -> Response:
                return _answered(route, await handler(Call(route, request)))

            return StarletteRoute(route.path, answered(serve), methods=[route.method])

        return _application([open_to_all(*bound) for bound in self._bound if bound[0] in _ANY_HOST])

    def _served(self, route: Route[Any], handler: Callable[[Call], Awaitable[Any]]) -> StarletteRoute:
        async def serve(request: Request) -> Response:
            if route not in _ANY_HOST and not getattr(request.state, ADMITTED, False):  # a trusted door has no names
                self._hosts.check(request)
            if route.scope is None:
                # a probe may add what keeps caches away, and nobody's body is read but a log-in's
                call = Call(route, request) if route.body is None else await read_call(route, request)
                return _answered(route, await handler(call))
            admission, scope = self._access.admission, route.scope
            holder = await admission.admit(request, scope)
            call = await read_call(route, request, Admitted(holder, lambda: admission.holds(request, scope)))

            async def act() -> Any:
                answer = await handler(call)
                # a dry run changes nothing: it has an answer of its own, not the route's record
                if route.method != "GET" and route.audited and not isinstance(answer, Response):
                    await self._audit(route, call, answer)
                return answer

            if call.key is not None and route.repeat == "node":
                answer = await self._kept.once(holder.owner, call.key, call.fingerprint, act)
            else:
                answer = await act()
            return _answered(route, answer)

        return StarletteRoute(route.path, answered(serve), methods=[route.method])

    async def _audit(self, route: Route[Any], call: Call, answer: Any) -> None:
        """Note who has changed what: the names in the path or the id of what is new, and what the request said."""
        about = " ".join(call.named(name) for name in route.names) or str(getattr(answer, "id", ""))
        body = noted(call.body(route.body), route.noted) if route.noted else {}
        said = {**call.request.query_params, **body}
        await self._access.audit.record(call.holder, f"{route.method} {route.path}", about, route.status, said)


def _application(routes: list[StarletteRoute]) -> Starlette:
    app = Starlette(exception_handlers={HTTPException: no_route, Exception: failed}, routes=routes)
    app.router.redirect_slashes = False  # a redirect names http://, whatever stands before the node
    return app


def _answered(route: Route[Any], answer: Any) -> Response:
    return answer if isinstance(answer, Response) else json_answer(answer, route.status)


async def _document(call: Call) -> dict[str, Any]:
    return document()
