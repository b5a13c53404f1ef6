"""The node's HTTP API, for the command `broadside` and for any script that has the key."""

from __future__ import annotations

import functools
import hmac
import secrets
from collections.abc import AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import msgspec
import structlog
import trio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from broadside.api import strict_json
from broadside.api.attributes.changes import Changes
from broadside.api.bounds import LARGEST_ANSWER, LARGEST_CAMPAIGN, LARGEST_SUBSCRIBERS, request_problem
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.idempotency import HEADER, NODE_KEY, check_key
from broadside.api.subscriber import MAX_SUBSCRIBERS, decode_subscribers
from broadside.console.dead_routes import Handler, dead_routes
from broadside.console.http_server import ADMITTED
from broadside.errors import Conflict, FireFailed, Problem, RecordError
from broadside.newsroom.alarms import DISK_REMEDY, REMEDY, channel_alarms, memory_alarms, outbox_alarms
from broadside.newsroom.firing import KeyReused
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from campaigns.channel_state import ChannelState
from campaigns.identity import parse_campaign
from storage.errors import DiskFull, LinkDown, LinkLost, OutOfMemory, StorageError, VerbRefused

log = structlog.get_logger(__name__)

READY_WITHIN = 3.0
"""Seconds in which Tarantool must answer ``/readyz``."""


class ApiFailure(Exception):
    """The request is answered with a status other than 2xx."""

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


def _broken(request: Request, error: BaseException, message: str, more: dict[str, Any] | None = None) -> Response:
    """Answer 500 with an id, under which the log has the error and its traceback."""
    id = secrets.token_hex(4)
    log.error("a request failed", id=id, path=request.url.path[:200], why=repr(error)[:500], exc_info=error)
    known = more or {}
    remedy = "; ".join(filter(None, (known.get("remedy"), f"the node's log has the reason under the id {id}")))
    return _json({"error": {**known, "message": message, "id": id, "remedy": remedy}}, 500)


async def _body(request: Request, largest: int, remedy: str = "send it in several requests") -> bytes:
    """Read a body of ``largest`` bytes at most (raises ``ApiFailure``)."""
    body = bytearray()
    try:
        async with aclosing(request.stream()) as parts:
            async for part in parts:
                body += part
                if len(body) > largest:
                    raise ApiFailure(413, f"the body is larger than {largest:,} bytes", field="body", remedy=remedy)
    except ClientDisconnect:
        raise ApiFailure(
            400, "the body is incomplete or broken", remedy="send all the bytes that its length says"
        ) from None
    return bytes(body)


_short_body = functools.partial(_body, largest=LARGEST_ANSWER, remedy="docs/operating.md shows what it holds")


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise ApiFailure(400, f"{name}: {text[:40]!r} is not a number up to {most}", field=name, value=text[:40])
    return int(text)


def _check_query(request: Request, known: tuple[str, ...]) -> None:
    """Raise ``ApiFailure`` if a parameter is not ``known``, or is given twice."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            raise _refused(RecordError(strict_json.unknown(name[:64], name, known, "parameter")))
        if names.count(name) > 1:
            raise ApiFailure(400, f"{name}: is given {names.count(name)} times", field=name, remedy="give it once")


async def _check_no_body(request: Request) -> None:
    """Raise ``ApiFailure`` if the request has a body although it takes none; an empty object is allowed."""
    body = await _body(request, LARGEST_ANSWER, "leave the body out")
    try:
        plain = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, ValueError, RecursionError):
        plain = None
    if plain != {}:
        field = next(iter(plain)) if isinstance(plain, dict) else "body"
        raise ApiFailure(
            400, f"{field[:64]}: this request takes no body", field=field[:64], remedy="leave the body out"
        )


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
        return Starlette(
            routes=[
                Route("/healthz", self._open(self._healthz)),
                Route("/readyz", self._open(self._readyz)),
                Route("/api/status", guard(self._get_status)),
                Route("/api/campaigns", guard(self._fire, body=True), methods=["POST"]),
                Route("/api/campaigns", guard(self._campaigns)),
                Route("/api/campaigns/{id}", guard(self._campaign)),
                Route("/api/campaigns/{id}/progress", guard(self._progress)),
                Route("/api/campaigns/{id}/coverage", guard(self._coverage)),
                Route("/api/campaigns/{id}/verify", guard(self._verify)),
                Route("/api/campaigns/{id}/{act:str}", guard(self._move), methods=["POST"]),
                Route("/api/peers", guard(self._peers)),
                Route("/api/peers/{name}/forget", guard(self._forget, "force"), methods=["POST"]),
                Route("/api/tubes", guard(self._tubes)),
                Route("/api/tubes/{channel}/buried", guard(self._buried, "limit")),
                Route("/api/tubes/{channel}/kick", guard(self._kick, "count"), methods=["POST"]),
                Route("/api/tubes/{channel}/end", guard(self._end_buried, "limit"), methods=["POST"]),
                Route("/api/subscribers", guard(self._remove, "channel", "token"), methods=["DELETE"]),
                Route("/api/subscribers", guard(self._put, body=True), methods=["POST"]),
                Route("/api/subscribers", guard(self._page, "after", "limit")),
                Route("/api/subscribers/count", guard(self._count)),
                Route("/api/channels", guard(self._channels)),
                *dead_routes(self._newsroom.dead, guard, _short_body, _refused),
            ]
        )

    def _open(self, endpoint: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except ApiFailure as failure:
                if failure.status == 500:
                    return _broken(request, failure.__context__ or failure, str(failure), failure.error)
                return _json({"error": failure.error}, failure.status)
            except DiskFull as error:
                text = f"Tarantool's disk is full: {error}"
                return _json({"error": {"message": text, "remedy": DISK_REMEDY}}, 507)
            except (LinkLost, LinkDown) as error:
                text = f"the node does not reach its Tarantool: {error}"
                remedy = "try again in a moment; `broadside doctor` says more"
                return _json({"error": {"message": text, "remedy": remedy}}, 503)
            except Conflict as conflict:
                error_ = {"message": conflict.what, "remedy": conflict.remedy}
                return _json({"error": error_}, 404 if conflict.missing else 409)
            except OutOfMemory as error:
                text = f"Tarantool's memory is full: {error.text}"
                return _json({"error": {"message": text, "remedy": REMEDY}}, 507)
            except VerbRefused as error:
                return _broken(request, error, f"Tarantool refuses: {error.text}")
            except StorageError as error:
                return _broken(request, error, str(error))
            except Exception as error:
                return _broken(request, error, f"the node failed: {type(error).__name__}")

        return answer

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
            _check_query(request, query)
            if not body:
                await _check_no_body(request)
            return await endpoint(request)

        return self._open(checked)

    async def _healthz(self, request: Request) -> Response:
        return _json({"ok": True})

    async def _readyz(self, request: Request) -> Response:
        if not self._ready():
            return _json({"ready": False}, 503)
        with trio.move_on_after(READY_WITHIN):
            alarms, full = memory_alarms(await self._newsroom.memory())
            alarms += outbox_alarms(await self._newsroom.outbox_age())
            # a sick channel is an alarm, but the node stays ready: other channels go on, and no other node is better
            states = await self._newsroom.channel_states()
            alarms += [*self._told(states), *self._alarms()]
            return _json({"ready": not full, "alarms": alarms, "channels": states}, 503 if full else 200)
        return _json({"ready": False, "alarms": ["Tarantool did not answer in time"]}, 503)

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
        return _json({**self._status(), **found})

    async def _fire(self, request: Request) -> Response:
        try:
            body = await _body(request, LARGEST_CAMPAIGN, "shorten the message: no platform takes this much")
            wanted = strict_json.decode(body, FireRequest, "a campaign")
            if problem := request_problem(wanted):
                raise RecordError(problem)
            key = _idempotency_key(request)
            if wanted.dry_run is True:
                return _json(await self._newsroom.rehearse(wanted))
            return _json(await self._newsroom.fire(wanted, key, NODE_KEY), 201)
        except RecordError as error:
            raise _refused(error) from None
        except FireFailed as error:
            raise _not_fired(error) from None

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

    async def _move(self, request: Request) -> Response:
        moves = {"pause": self._newsroom.pause, "resume": self._newsroom.resume, "cancel": self._newsroom.cancel}
        act = request.path_params["act"]
        if act not in moves:
            raise ApiFailure(404, f"unknown action on a campaign: {act[:40]}", remedy=", ".join(moves))
        return _json(await moves[act](_campaign_id(request)))

    async def _coverage(self, request: Request) -> Response:
        await self._campaign(request)
        return _json(await self._newsroom.coverage(_campaign_id(request)))

    async def _verify(self, request: Request) -> Response:
        await self._campaign(request)
        return _json(await self._newsroom.verify(_campaign_id(request)))

    async def _peers(self, request: Request) -> Response:
        return _json({"peers": await self._ring.peers()})

    async def _forget(self, request: Request) -> Response:
        force = request.query_params.get("force", "false")
        if force not in ("true", "false"):
            raise ApiFailure(400, f"force: {force[:40]!r} is not true or false", field="force", value=force[:40])
        return _json(await self._ring.forget(request.path_params["name"], force == "true"))

    async def _tubes(self, request: Request) -> Response:
        return _json(await self._newsroom.tubes())

    async def _buried(self, request: Request) -> Response:
        found = await self._newsroom.buried(request.path_params["channel"], _number(request, "limit", 100, 1000))
        return _json({"buried": [batch._asdict() for batch in found]})

    async def _kick(self, request: Request) -> Response:
        count = _number(request, "count", 1, 10**9)
        return _json({"kicked": await self._newsroom.kick(request.path_params["channel"], count)})

    async def _end_buried(self, request: Request) -> Response:
        limit = _number(request, "limit", 1000, 10_000)
        batches, recipients = await self._newsroom.end_buried(request.path_params["channel"], limit)
        return _json({"batches": batches, "recipients": recipients})

    async def _remove(self, request: Request) -> Response:
        channel, token = (request.query_params.get(name, "") for name in ("channel", "token"))
        if not channel or not token:
            field = "token" if channel else "channel"
            raise ApiFailure(400, f"{field} is missing", field=field, remedy="?channel=NAME&token=TOKEN")
        return _json({"removed": await self._newsroom.remove(channel, token)})

    async def _put(self, request: Request) -> Response:
        changes = Changes()
        try:
            rows = decode_subscribers(await _body(request, LARGEST_SUBSCRIBERS), changes)
            stored = await self._newsroom.put(rows)
        except RecordError as error:
            raise _refused(error) from None
        answer: dict[str, Any] = {"inserted": stored.inserted, "updated": stored.updated}
        if any(row.replaces is not None for row in rows):
            answer["replaces"] = {"moved": stored.moved, "merged": stored.merged, "unknown": stored.unknown}
        return _json({**answer, **changes.report()})

    async def _channels(self, request: Request) -> Response:
        platforms = self._newsroom.device_tokens.channels
        here = {name: {"platform": platform} for name, platform in sorted(platforms.items())}
        return _json({"channels": here, "served": await self._newsroom.served()})

    async def _page(self, request: Request) -> Response:
        after, limit = _number(request, "after", 0, 2**63), _number(request, "limit", 1000, MAX_SUBSCRIBERS)
        rows = await self._newsroom.page(after, limit)
        return Response(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), media_type="application/x-ndjson")

    async def _count(self, request: Request) -> Response:
        channels = await self._newsroom.count()
        return _json({"total": sum(channels.values()), "channels": channels})
