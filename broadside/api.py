"""The node's HTTP API: what `broadside` the command talks to, and any script that has the key."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from broadside.errors import RecordError
from broadside.newsroom import Newsroom
from broadside.records import CampaignReport, FireRequest, decode_subscribers
from storage.errors import LinkDown, LinkLost, StorageError, VerbRefused
from transports.identity import parse_campaign

LARGEST_BODY = 32 * 1024 * 1024
"""Bytes of a request's body."""
LARGEST_PAGE = 5_000
OUT_OF_MEMORY = 2
"""Tarantool's ER_MEMORY_ISSUE."""
_FIRE = msgspec.json.Decoder(FireRequest)

Endpoint = Callable[[Request], Awaitable[Response]]


class ApiFailure(Exception):
    """An answer other than 2xx."""

    def __init__(
        self, status: int, message: str, *, field: str = "", value: str = "", remedy: str = "", index: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"message": message, "field": field, "value": value, "remedy": remedy}
        if index is not None:
            self.error["index"] = index


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise ApiFailure(413, f"the body is larger than {LARGEST_BODY} bytes", remedy="send it in several requests")
    return bytes(body)


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise ApiFailure(400, f"{name}: {text[:40]!r} is not a number up to {most}", field=name, value=text[:40])
    return int(text)


def _campaign_id(request: Request) -> int:
    text = request.path_params["id"]
    try:
        return parse_campaign(text)
    except ValueError as error:
        raise ApiFailure(400, str(error), field="id", value=text[:40], remedy="`campaign list` shows the ids") from None


def _refused(error: RecordError) -> ApiFailure:
    problem = error.problem
    return ApiFailure(
        400, str(error), field=problem.where, value=problem.value, remedy=problem.remedy, index=error.index
    )


class _Progress(Response):
    """A report a line, until the campaign has ended or nobody listens any more."""

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


class Api:
    """The routes. ``ready``: whether the node can fire; ``status``: its trees and figures as plain data."""

    def __init__(
        self, newsroom: Newsroom, key: str, *, ready: Callable[[], bool], status: Callable[[], dict[str, Any]]
    ) -> None:
        self._newsroom = newsroom
        self._key = f"Bearer {key}".encode()
        self._ready = ready
        self._status = status

    def app(self) -> Starlette:
        """The ASGI application."""
        guard = self._guarded
        return Starlette(
            routes=[
                Route("/healthz", self._open(self._healthz)),
                Route("/readyz", self._open(self._readyz)),
                Route("/api/status", guard(self._get_status)),
                Route("/api/campaigns", guard(self._fire), methods=["POST"]),
                Route("/api/campaigns", guard(self._campaigns)),
                Route("/api/campaigns/{id}", guard(self._campaign)),
                Route("/api/campaigns/{id}/progress", guard(self._progress)),
                Route("/api/subscribers", guard(self._put), methods=["POST"]),
                Route("/api/subscribers", guard(self._page)),
                Route("/api/subscribers/count", guard(self._count)),
            ]
        )

    def _open(self, endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except ApiFailure as failure:
                return _json({"error": failure.error}, failure.status)
            except (LinkLost, LinkDown) as error:
                text = f"the node does not reach its Tarantool: {error}"
                remedy = "try again in a moment; `broadside doctor` tells more"
                return _json({"error": {"message": text, "remedy": remedy}}, 503)
            except VerbRefused as error:
                status = 507 if error.code == OUT_OF_MEMORY else 500
                return _json({"error": {"message": f"Tarantool refuses: {error.text}"}}, status)
            except StorageError as error:
                return _json({"error": {"message": str(error)}}, 500)

        return answer

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, self._key):
                raise ApiFailure(
                    401,
                    "the key is missing or wrong",
                    field="authorization",
                    remedy="send `Authorization: Bearer KEY` with the key in the data folder's api.key",
                )
            return await endpoint(request)

        return self._open(checked)

    async def _healthz(self, request: Request) -> Response:
        return _json({"ok": True})

    async def _readyz(self, request: Request) -> Response:
        ready = self._ready()
        return _json({"ready": ready}, 200 if ready else 503)

    async def _get_status(self, request: Request) -> Response:
        return _json({**self._status(), "queue": await self._newsroom.tubes()})

    async def _fire(self, request: Request) -> Response:
        try:
            wanted = _FIRE.decode(await _body(request))
        except msgspec.DecodeError as error:
            raise ApiFailure(400, f"the body is not a campaign: {error}", field="body") from None
        try:
            if wanted.dry_run is True:
                return _json(await self._newsroom.rehearse(wanted))
            return _json(await self._newsroom.fire(wanted), 201)
        except RecordError as error:
            raise _refused(error) from None

    async def _campaigns(self, request: Request) -> Response:
        return _json({"campaigns": await self._newsroom.campaigns()})

    async def _campaign(self, request: Request) -> Response:
        id = _campaign_id(request)
        report = await self._newsroom.campaign(id)
        if report is None:
            text = request.path_params["id"]
            raise ApiFailure(404, f"no campaign {text}", field="id", value=text, remedy="`campaign list` shows the ids")
        return _json(report)

    async def _progress(self, request: Request) -> Response:
        await self._campaign(request)
        id = _campaign_id(request)

        return _Progress(self._newsroom.progress(id))

    async def _put(self, request: Request) -> Response:
        try:
            rows = decode_subscribers(await _body(request))
        except RecordError as error:
            raise _refused(error) from None
        inserted, updated = await self._newsroom.put(rows)
        return _json({"inserted": inserted, "updated": updated})

    async def _page(self, request: Request) -> Response:
        after, limit = _number(request, "after", 0, 2**63), _number(request, "limit", 1000, LARGEST_PAGE)
        rows = await self._newsroom.page(after, limit)
        return Response(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), media_type="application/x-ndjson")

    async def _count(self, request: Request) -> Response:
        channels = await self._newsroom.count()
        return _json({"total": sum(channels.values()), "channels": channels})
