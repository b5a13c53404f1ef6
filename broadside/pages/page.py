"""One page as a record: a path, and the function that answers it with a template."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from broadside.api.access_records import SessionRecord
from broadside.api.v1 import table
from broadside.api.v1.route import Route
from broadside.console.http_answers import ApiFailure
from broadside.pages.api_in_process import ask
from broadside.pages.templates import Templates

A = TypeVar("A")

FROM_HTMX = "hx-request"
"""A header field of requests that htmx makes: they want a part of a page."""
LARGEST_FORM = 1 << 18
"""Bytes of a form: all texts of a message, twice."""
MOST_FIELDS = 2000


@dataclass(frozen=True)
class PageRoute:
    """One page, or a part of one. ``answer`` may raise ``PageProblem``, which is shown in the page's place."""

    path: str
    answer: Callable[[PageCall], Awaitable[Response]]
    method: Literal["GET", "POST"] = "GET"
    """A POST is a form: it needs a session, its token (``X-CSRF-Token``), and the node's own origin."""


class PageCall:
    """A request for a page by somebody who has logged in."""

    def __init__(self, request: Request, api: ASGIApp, templates: Templates, session: SessionRecord) -> None:
        self.request = request
        self.session = session
        self._api = api
        self._templates = templates

    async def api(
        self, route: Route[A], *, body: Any = None, query: Mapping[str, Any] | None = None, key: str | None = None,
        **named: str,
    ) -> A:  # fmt: skip
        """Call the API as the page's reader; return the route's record (raises ``PageProblem``).

        ``body``: a record or plain values; ``query``: parameters, ``None`` left out; ``key``: an idempotency key;
        ``named``: the names in the route's path.
        """
        return await ask(self._api, self.request, route, body=body, query=query, key=key, named=named)

    def named(self, name: str) -> str:
        """Return what stands in the page's path for ``name``."""
        return str(self.request.path_params[name])

    async def form(self) -> Mapping[str, list[str]]:
        """Return a form's fields, each with all its values (raises ``ApiFailure`` for one that is too large)."""
        body = bytearray()
        async for part in self.request.stream():
            body += part
            if len(body) > LARGEST_FORM:
                raise ApiFailure(413, f"the form is larger than {LARGEST_FORM:,} bytes", remedy="shorten its texts")
        return parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)

    def may(self, scope: str) -> bool:
        """Whether the reader's role has a scope of the API."""
        return scope in self.session.scopes

    def show(self, template: str, /, *, status: int = 200, **values: Any) -> Response:
        """Answer with a template. It also knows ``session``, ``may``, ``path``."""
        text = self._templates.render(
            template, session=self.session, may=self.may, path=self.request.url.path, **values
        )
        return HTMLResponse(text, status)

    def go_to(self, path: str) -> Response:
        """Answer with another address, for a whole page and for htmx alike."""
        return go_to(self.request, path)


def go_to(request: Request, path: str) -> Response:
    """Answer with another address."""
    if FROM_HTMX in request.headers:
        return Response(status_code=204, headers={"hx-redirect": path})
    return Response(status_code=303, headers={"location": path})


def log_in_first(request: Request) -> Response:
    """Answer with the log-in, which then leads back to this page; it says so if a session has ended meanwhile."""
    path = request.headers.get("hx-current-url") or str(request.url)
    back = "/" + path.partition("://")[2].partition("/")[2]
    query = {"ended": "1"} if FROM_HTMX in request.headers or request.cookies else {}
    if back != "/":
        query["next"] = back
    return go_to(request, f"/login?{urlencode(query)}" if query else "/login")


async def session_of(request: Request, api: ASGIApp) -> SessionRecord:
    """Return who reads the page (raises ``PageProblem`` with status 401: nobody has logged in)."""
    return await ask(api, request, table.SESSION)
