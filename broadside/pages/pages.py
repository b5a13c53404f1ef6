"""The node's pages: binds each page to its address, in front of the API that all of them are made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from broadside.api.problem_details import ProblemDetails, problem
from broadside.api.v1.table import TABLE
from broadside.console.host_names import HostNames
from broadside.console.http_answers import ApiFailure
from broadside.console.http_server import ADMITTED
from broadside.console.request_failure import failure, logged
from broadside.pages import (
    armed_pages,
    calendar_page,
    campaign_pages,
    compose_pages,
    drill_pages,
    key_pages,
    login_page,
    operator_pages,
    refused_pages,
    story_pages,
)
from broadside.pages.api_in_process import PageProblem
from broadside.pages.assets import Assets
from broadside.pages.page import FROM_HTMX, PageCall, PageRoute, log_in_first, session_of
from broadside.pages.templates import Templates

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: https:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every page. ``nosniff`` is the server's."""

_API = frozenset(route.path.split("/")[1] for route in TABLE)
"""The first parts of the API's paths."""

PAGES: tuple[PageRoute, ...] = (
    *compose_pages.PAGES,
    *campaign_pages.PAGES,
    *armed_pages.PAGES,
    *calendar_page.PAGES,
    *operator_pages.PAGES,
    *refused_pages.PAGES,
    *key_pages.PAGES,
    *drill_pages.PAGES,
    *story_pages.PAGES,
)
"""All pages that want a log-in. A page of a new feature is a record more."""


class Pages:
    """The pages, and behind them the ``api``: an ASGI application of both."""

    def __init__(self, api: ASGIApp, hosts: HostNames, pages: Iterable[PageRoute] = PAGES) -> None:
        self._api = api
        self._hosts = hosts
        self._assets = Assets()
        self._templates = Templates(self._assets.address)
        routes = [self._route(page.path, self._page(page), page.method) for page in pages]
        routes.append(self._route(login_page.PATH, self._login, "GET"))
        routes.append(Route("/static/{version}/{name:path}", self._static, methods=["GET"]))
        self._missing = self._route("/", _no_page, "GET")
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = False
        self._app.router.default = self._elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    def _route(self, path: str, answer: Callable[[Request], Awaitable[Response]], method: str) -> Route:
        async def serve(request: Request) -> Response:
            try:
                if not getattr(request.state, ADMITTED, False):  # a trusted door has no names
                    self._hosts.check(request)
                response = await answer(request)
            except ApiFailure as error:
                response = self._problem(request, error.problem)
            except PageProblem as error:
                nobody = error.problem.status == 401
                response = log_in_first(request) if nobody else self._problem(request, error.problem)
            except Exception as error:
                id = logged(request.url.path, error)
                response = self._problem(request, failure(id, f"the node failed: {type(error).__name__}", ""))
            response.headers.update(HEADERS)
            return response

        return Route(path, serve, methods=[method])

    def _page(self, page: PageRoute) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            session = await session_of(request, self._api)
            return await page.answer(PageCall(request, self._api, self._templates, session))

        return answer

    def _problem(self, request: Request, shown: ProblemDetails) -> Response:
        template = "problem_part.html" if FROM_HTMX in request.headers else "problem.html"
        return HTMLResponse(self._templates.render(template, problem=shown), shown.status)

    async def _login(self, request: Request) -> Response:
        inside = login_page.inside(request)
        return HTMLResponse(self._templates.render("login.html", next=inside, ended="ended" in request.query_params))

    async def _static(self, request: Request) -> Response:
        return self._assets.answer(request) or self._problem(request, problem(404, "there is no such file"))

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is no page: a person's mistake with a page that says so, all else by the API."""
        wants_page = b"text/html" in dict(scope["headers"]).get(b"accept", b"")
        is_api = scope["path"].split("/")[1] in _API
        await (self._missing.app if wants_page and not is_api else self._api)(scope, receive, send)


async def _no_page(request: Request) -> Response:
    raise ApiFailure(404, f"there is no page {request.url.path[:100]}", remedy="the campaigns are a page")
