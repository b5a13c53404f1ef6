"""Calls the node's own API for a page, with the cookie of the page's reader: so a page may do what its reader may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message

from broadside.api.idempotency import HEADER
from broadside.api.problem_details import ProblemDetails
from broadside.api.v1.route import Route

A = TypeVar("A")

_PASSED_ON = (b"host", b"cookie", b"origin", b"x-csrf-token")
"""Fields of the page's request that decide what its reader may do."""


class PageProblem(Exception):
    """The API has answered a page with an error. ``headers``: of that answer, in lower case."""

    def __init__(self, problem: ProblemDetails, headers: Mapping[str, str]) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers


async def ask(
    app: ASGIApp,
    request: Request,
    route: Route[A],
    *,
    body: Any = None,
    query: Mapping[str, Any] | None = None,
    key: str | None = None,
    named: Mapping[str, str] | None = None,
) -> A:
    """Call a ``route`` of the API for a page's ``request``; return the route's record (raises ``PageProblem``).

    ``body``: a record, or plain values; ``query``: its parameters; ``key``: an idempotency key; ``named``: the names in
    the route's path. A route whose answer is a stream is for the browser, not for this.
    """
    assert not route.stream
    assert not route.events
    status, headers, answer = await _exchange(app, _scope(request, route, query, key, named), _encoded(body))
    if status >= 400 and status not in route.also:
        raise PageProblem(msgspec.json.decode(answer, type=ProblemDetails), headers)
    found: A = msgspec.json.decode(answer, type=route.also.get(status, route.answer))
    return found


def _encoded(body: Any) -> bytes:
    return b"" if body is None else msgspec.json.encode(body)


def _scope(
    request: Request,
    route: Route[Any],
    query: Mapping[str, Any] | None,
    key: str | None,
    named: Mapping[str, str] | None,
) -> dict[str, Any]:
    path = route.path
    for name in route.names:
        path = path.replace(f"{{{name}}}", quote((named or {})[name], safe=""))
    headers = [(name, value) for name, value in request.scope["headers"] if name in _PASSED_ON]
    headers.append((b"content-type", b"application/json"))
    if key is not None:
        headers.append((HEADER.lower().encode(), key.encode()))
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return {
        **{name: request.scope[name] for name in ("type", "asgi", "http_version", "scheme", "client", "server")},
        "state": request.scope["state"],  # the server keeps a known client's connection
        "method": route.method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": urlencode(given).encode(),
        "headers": headers,
    }


async def _exchange(app: ASGIApp, scope: dict[str, Any], body: bytes) -> tuple[int, dict[str, str], bytes]:
    status, headers, answer = 500, dict[str, str](), bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers, answer
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        else:
            answer += message.get("body", b"")

    await app(scope, receive, send)
    return status, headers, bytes(answer)
