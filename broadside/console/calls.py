"""One call of a route: reads and checks what the route's record says of a request, and binds the record to its code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from broadside.access.keyring import Holder
from broadside.api import strict_json
from broadside.api.idempotency import HEADER, check_key
from broadside.api.v1.route import Route
from broadside.console.http_answers import ApiFailure
from broadside.errors import Problem, RecordError
from campaigns.identity import parse_campaign

LOOK_EVERY = 2.0
"""Seconds between two looks at whether the key of a stream still holds."""

A = TypeVar("A")
T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whom a request comes from, and whether it still would be admitted."""

    holder: Holder
    holds: Callable[[], Awaitable[bool]]


class Call:
    """A request that fits its route."""

    def __init__(
        self,
        route: Route[Any],
        request: Request,
        query: msgspec.Struct | None = None,
        key: str | None = None,
        raw: bytes = b"",
        admitted: Admitted | None = None,
    ) -> None:
        self.request = request
        self.key = key
        """The client's idempotency key."""
        self.raw = raw
        """The body's bytes."""
        self._route, self._query = route, query
        self._admitted = admitted

    def query(self, kind: type[T]) -> T:
        """Return the parameters, of the route's own ``kind``."""
        assert isinstance(self._query, kind)
        return self._query

    def body(self, kind: type[T]) -> T:
        """Decode the body, of the route's own ``kind`` (raises ``RecordError``)."""
        assert self._route.body is kind
        return strict_json.decode(self.raw, kind, self._route.noun)

    async def lines(self, take: Callable[[int, bytes], Awaitable[None]]) -> None:
        """Give ``take`` the whole lines of each part of the body as it comes, with the number of the first one.

        Each line has its end. A line longer than the route's ``largest`` may be cut, to one byte more.
        """
        rest, number = b"", 1

        async def split(part: bytes) -> None:
            nonlocal rest, number
            end = part.rfind(b"\n") + 1
            if not end:
                rest = (rest + part)[: self._route.largest + 1]
                return
            whole, rest = rest + part[:end], part[end:][: self._route.largest + 1]
            first = number
            number += whole.count(b"\n")
            await take(first, whole)

        await _each_part(self.request, split)
        await split(b"\n")

    @property
    def holder(self) -> Holder:
        """Whom the request comes from."""
        assert self._admitted is not None
        return self._admitted.holder

    async def ended(self) -> None:
        """Return once the request's key or session does not hold any more."""
        assert self._admitted is not None
        while await self._admitted.holds():  # noqa: ASYNC110 - it ends in the store, at any node
            await trio.sleep(LOOK_EVERY)

    def named(self, name: str) -> str:
        """Return what stands in the path for ``name``."""
        return str(self.request.path_params[name])

    @property
    def fingerprint(self) -> bytes:
        """What makes this request another one than those with another value."""
        url = self.request.url
        return b"\n".join([self.request.method.encode(), url.path.encode(), url.query.encode(), self.raw])

    @property
    def campaign(self) -> int:
        """The campaign's id in the path (raises ``RecordError``)."""
        text = self.named("id")
        try:
            return parse_campaign(text)
        except ValueError as error:
            raise RecordError(Problem("id", str(error)[:200], "`campaign list` shows the ids", text[:40])) from None


Bound: TypeAlias = tuple[Route[Any], Callable[[Call], Awaitable[Any]]]


def bind(route: Route[A], handler: Callable[[Call], Awaitable[A | Response]]) -> Bound:
    """Bind a route to the code that answers it with the route's record, or with a whole response."""
    return route, handler


async def read_call(route: Route[Any], request: Request, admitted: Admitted | None = None) -> Call:
    """Read a request (raises ``RecordError`` or ``ApiFailure`` for the first part that is not as it must be)."""
    query = strict_json.parameters(request.query_params.multi_items(), route.query)
    key = _idempotency_key(request) if route.method == "POST" else None
    raw = b"" if route.lines else await _read_body(route, request)
    if route.body is None and raw.strip():
        _refuse_body(raw)
    return Call(route, request, query, key, raw, admitted)


async def _read_body(route: Route[Any], request: Request) -> bytes:
    body = bytearray()

    async def take(part: bytes) -> None:
        nonlocal body
        body += part
        if len(body) > route.largest:
            remedy = route.too_large if route.body else "leave the body out"
            raise ApiFailure(413, f"the body is larger than {route.largest:,} bytes", field="body", remedy=remedy)

    await _each_part(request, take)
    return bytes(body)


async def _each_part(request: Request, take: Callable[[bytes], Awaitable[None]]) -> None:
    try:
        async with aclosing(request.stream()) as stream:
            async for part in stream:
                await take(part)
    except ClientDisconnect:
        remedy = "send all the bytes that its length says"
        raise ApiFailure(400, "the body is incomplete or broken", field="body", remedy=remedy) from None


def _refuse_body(body: bytes) -> None:
    """Raise ``RecordError`` for a body where none is taken; an empty object is allowed."""
    try:
        plain = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        plain = None
    if plain != {}:
        field = next(iter(plain))[:64] if isinstance(plain, dict) else "body"
        raise RecordError(Problem(field, "this request takes no body", "leave the body out"))


def _idempotency_key(request: Request) -> str | None:
    """Return the client's idempotency key; None: it sent none (raises ``RecordError``)."""
    sent = request.headers.getlist(HEADER)
    if len(sent) > 1:
        raise RecordError(Problem(HEADER, "is given twice", "send it once"))
    return check_key(sent[0]) if sent else None
