"""The API's routes about campaigns."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from broadside.api import strict_json
from broadside.api.bounds import LARGEST_CAMPAIGN, request_problem
from broadside.api.campaign_report import CampaignReport, FireRequest, NewsroomClock
from broadside.api.idempotency import HEADER, NODE_KEY, check_key
from broadside.api.text_rules import texts_problem
from broadside.console.http_answers import ApiFailure, Guard, json_answer, refused
from broadside.console.request_parts import campaign_id, read_body
from broadside.errors import FireFailed, Problem, RecordError
from broadside.newsroom.firing import KeyReused
from broadside.newsroom.newsroom import Newsroom


class _Progress(Response):
    """Streams a report a line, until the campaign has ended or the client has gone."""

    media_type = "application/x-ndjson"

    def __init__(self, reports: AbstractAsyncContextManager[AsyncIterable[CampaignReport]]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._reports = reports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, receive, nursery.cancel_scope)
            async with self._reports as reports:
                async for report in reports:
                    line = msgspec.json.encode(report) + b"\n"
                    await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()

    async def _watch(self, receive: Receive, life: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        life.cancel()


def campaign_routes(newsroom: Newsroom, guard: Guard) -> list[Route]:
    """Build the routes."""

    async def fire(request: Request) -> Response:
        try:
            wanted = await _wanted(request)
            key = _idempotency_key(request)
            if wanted.dry_run is True:
                return json_answer(await newsroom.rehearse(wanted))
            return json_answer(await newsroom.fire(wanted, key, NODE_KEY), 201)
        except RecordError as error:
            raise refused(error) from None
        except FireFailed as error:
            raise _not_fired(error) from None

    async def preview(request: Request) -> Response:
        try:
            return json_answer(newsroom.preview(await _wanted(request)))
        except RecordError as error:
            raise refused(error) from None

    async def preview_of(request: Request) -> Response:
        await one(request)
        return json_answer(await newsroom.preview_of(campaign_id(request)))

    async def clock(request: Request) -> Response:
        return json_answer(NewsroomClock(zone=newsroom.zone, now=newsroom.now()))

    async def newest(request: Request) -> Response:
        return json_answer({"campaigns": await newsroom.campaigns()})

    async def one(request: Request) -> Response:
        id = campaign_id(request)
        report = await newsroom.campaign(id)
        if report is None:
            text = request.path_params["id"]
            raise ApiFailure(404, f"no campaign {text}", field="id", value=text, remedy="`campaign list` shows the ids")
        return json_answer(report)

    async def progress(request: Request) -> Response:
        await one(request)
        id = campaign_id(request)

        return _Progress(newsroom.progress(id))

    async def move(request: Request) -> Response:
        moves = {"pause": newsroom.pause, "resume": newsroom.resume, "cancel": newsroom.cancel}
        act = request.path_params["act"]
        if act not in moves:
            raise ApiFailure(404, f"unknown action on a campaign: {act[:40]}", remedy=", ".join(moves))
        return json_answer(await moves[act](campaign_id(request)))

    async def coverage(request: Request) -> Response:
        await one(request)
        return json_answer(await newsroom.coverage(campaign_id(request)))

    async def verify(request: Request) -> Response:
        await one(request)
        return json_answer(await newsroom.verify(campaign_id(request)))

    return [
        Route("/api/newsroom", guard(clock)),
        Route("/api/campaigns", guard(fire, body=True), methods=["POST"]),
        Route("/api/campaigns", guard(newest)),
        Route("/api/campaigns/preview", guard(preview, body=True), methods=["POST"]),
        Route("/api/campaigns/{id}", guard(one)),
        Route("/api/campaigns/{id}/preview", guard(preview_of)),
        Route("/api/campaigns/{id}/progress", guard(progress)),
        Route("/api/campaigns/{id}/coverage", guard(coverage)),
        Route("/api/campaigns/{id}/verify", guard(verify)),
        Route("/api/campaigns/{id}/{act:str}", guard(move), methods=["POST"]),
    ]


async def _wanted(request: Request) -> FireRequest:
    """Read a request to fire. Raises ``RecordError`` for the first field that is not as it must be."""
    body = await read_body(request, LARGEST_CAMPAIGN, "shorten the message: no platform takes this much")
    wanted = strict_json.decode(body, FireRequest, "a campaign")
    if problem := request_problem(wanted) or texts_problem(wanted.message):
        raise RecordError(problem)
    return wanted


def _idempotency_key(request: Request) -> str | None:
    """Return the client's idempotency key for this Fire; None: it sent none (raises ``RecordError``)."""
    sent = request.headers.getlist(HEADER)
    if len(sent) > 1:
        raise RecordError(Problem(HEADER, "is given twice", "send it once"))
    return check_key(sent[0]) if sent else None


def _not_fired(error: FireFailed) -> ApiFailure:
    key = error.key if isinstance(error, KeyReused) else ""
    failure = ApiFailure(error.status, error.message, field=HEADER if key else "", value=key[:40], remedy=error.remedy)
    failure.error |= {"campaign": error.campaign, "fired": "maybe" if error.maybe else "no"}
    return failure
