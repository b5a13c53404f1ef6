"""Reads a request's parts: its body, its parameters, its ids."""

from __future__ import annotations

import functools
from contextlib import aclosing

import msgspec
from starlette.requests import ClientDisconnect, Request

from broadside.api import strict_json
from broadside.api.bounds import LARGEST_ANSWER
from broadside.console.http_answers import ApiFailure, refused
from broadside.errors import RecordError
from campaigns.identity import parse_campaign


async def read_body(request: Request, largest: int, remedy: str = "send it in several requests") -> bytes:
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


read_short_body = functools.partial(read_body, largest=LARGEST_ANSWER, remedy="docs/operating.md shows what it holds")
"""Read the body of an answer about refused tokens."""


def number(request: Request, name: str, default: int, most: int) -> int:
    """The parameter ``name``; raises ``ApiFailure`` unless it is a number up to ``most``."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise ApiFailure(400, f"{name}: {text[:40]!r} is not a number up to {most}", field=name, value=text[:40])
    return int(text)


def truth(request: Request, name: str) -> bool:
    """The parameter ``name``, absent for no; raises ``ApiFailure`` unless it is ``true`` or ``false``."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise ApiFailure(400, f"{name}: {text[:40]!r} is not true or false", field=name, value=text[:40])
    return text == "true"


def check_query(request: Request, known: tuple[str, ...]) -> None:
    """Raise ``ApiFailure`` if a parameter is not ``known``, or is given twice."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            raise refused(RecordError(strict_json.unknown(name[:64], name, known, "parameter")))
        if names.count(name) > 1:
            raise ApiFailure(400, f"{name}: is given {names.count(name)} times", field=name, remedy="give it once")


async def check_no_body(request: Request) -> None:
    """Raise ``ApiFailure`` if the request has a body although it takes none; an empty object is allowed."""
    body = await read_body(request, LARGEST_ANSWER, "leave the body out")
    try:
        plain = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, ValueError, RecursionError):
        plain = None
    if plain != {}:
        field = next(iter(plain)) if isinstance(plain, dict) else "body"
        raise ApiFailure(
            400, f"{field[:64]}: this request takes no body", field=field[:64], remedy="leave the body out"
        )


def campaign_id(request: Request) -> int:
    """The campaign's id in the path (raises ``ApiFailure``)."""
    text = request.path_params["id"]
    try:
        return parse_campaign(text)
    except ValueError as error:
        raise ApiFailure(400, str(error), field="id", value=text[:40], remedy="`campaign list` shows the ids") from None
