"""The API's routes about refused and deleted tokens."""

from __future__ import annotations

from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broadside.api import strict_json
from broadside.api.dead_records import DeadAnswer, DeadRestore
from broadside.console.http_answers import Guard, json_answer, refused
from broadside.console.request_parts import read_short_body
from broadside.errors import Problem, RecordError
from broadside.newsroom.dead_desk import DeadDesk
from campaigns.identity import parse_campaign

Wanted = TypeVar("Wanted", DeadAnswer, DeadRestore)
_LIST = "`broadside dead list` shows them"


def dead_routes(desk: DeadDesk, guard: Guard) -> list[Route]:
    """Build the routes."""

    async def read(request: Request, kind: type[Wanted], noun: str) -> Wanted:
        try:
            return strict_json.decode(await read_short_body(request), kind, noun)
        except RecordError as error:
            raise refused(error) from None

    def campaign(text: str | None) -> int | None:
        try:
            return None if text is None else parse_campaign(text)
        except ValueError as error:
            raise refused(RecordError(Problem("campaign", str(error), _LIST, text[:40] if text else ""))) from None

    async def list_(request: Request) -> Response:
        return json_answer(await desk.list())

    async def confirm(request: Request) -> Response:
        wanted = await read(request, DeadAnswer, "an answer about refused tokens")
        return json_answer(await desk.confirm(wanted.channel, campaign(wanted.campaign)))

    async def keep(request: Request) -> Response:
        wanted = await read(request, DeadAnswer, "an answer about refused tokens")
        return json_answer(await desk.keep(wanted.channel, campaign(wanted.campaign)))

    async def restore(request: Request) -> Response:
        wanted = await read(request, DeadRestore, "what to restore")
        if wanted.channel is None and wanted.campaign is None:
            raise refused(RecordError(Problem("body", "names neither a channel nor a campaign", _LIST)))
        return json_answer(await desk.restore(wanted.channel, campaign(wanted.campaign)))

    return [
        Route("/api/dead", guard(list_)),
        Route("/api/dead/confirm", guard(confirm, body=True), methods=["POST"]),
        Route("/api/dead/keep", guard(keep, body=True), methods=["POST"]),
        Route("/api/dead/restore", guard(restore, body=True), methods=["POST"]),
    ]
