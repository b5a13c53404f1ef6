"""The API's routes about refused and deleted tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broadside.api import strict_json
from broadside.api.dead_records import DeadAnswer, DeadRestore
from broadside.errors import Problem, RecordError
from broadside.newsroom.dead_desk import DeadDesk
from campaigns.identity import parse_campaign

Handler = Callable[[Request], Awaitable[Response]]
Wanted = TypeVar("Wanted", DeadAnswer, DeadRestore)
_LIST = "`broadside dead list` shows them"


def dead_routes(
    desk: DeadDesk,
    guard: Callable[..., Handler],
    body: Callable[[Request], Awaitable[bytes]],
    refused: Callable[[RecordError], Exception],
) -> list[Route]:
    """Build the routes. ``guard`` checks the key, ``body`` reads a bounded body, ``refused`` makes the error answer."""

    async def read(request: Request, kind: type[Wanted], noun: str) -> Wanted:
        try:
            return strict_json.decode(await body(request), kind, noun)
        except RecordError as error:
            raise refused(error) from None

    def campaign(text: str | None) -> int | None:
        try:
            return None if text is None else parse_campaign(text)
        except ValueError as error:
            raise refused(RecordError(Problem("campaign", str(error), _LIST, text[:40] if text else ""))) from None

    def answer(content: Any) -> Response:
        return Response(msgspec.json.encode(content), media_type="application/json")

    async def list_(request: Request) -> Response:
        return answer(await desk.list())

    async def confirm(request: Request) -> Response:
        wanted = await read(request, DeadAnswer, "an answer about refused tokens")
        return answer(await desk.confirm(wanted.channel, campaign(wanted.campaign)))

    async def keep(request: Request) -> Response:
        wanted = await read(request, DeadAnswer, "an answer about refused tokens")
        return answer(await desk.keep(wanted.channel, campaign(wanted.campaign)))

    async def restore(request: Request) -> Response:
        wanted = await read(request, DeadRestore, "what to restore")
        if wanted.channel is None and wanted.campaign is None:
            raise refused(RecordError(Problem("body", "names neither a channel nor a campaign", _LIST)))
        return answer(await desk.restore(wanted.channel, campaign(wanted.campaign)))

    return [
        Route("/api/dead", guard(list_)),
        Route("/api/dead/confirm", guard(confirm, body=True), methods=["POST"]),
        Route("/api/dead/keep", guard(keep, body=True), methods=["POST"]),
        Route("/api/dead/restore", guard(restore, body=True), methods=["POST"]),
    ]
