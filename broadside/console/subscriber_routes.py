"""The API's routes about subscribers."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broadside.api.attributes.changes import Changes
from broadside.api.bounds import LARGEST_SUBSCRIBERS
from broadside.api.subscriber import MAX_SUBSCRIBERS, decode_subscribers
from broadside.console.http_answers import ApiFailure, Guard, json_answer, refused
from broadside.console.request_parts import number, read_body, truth
from broadside.errors import RecordError
from broadside.newsroom.newsroom import Newsroom


def subscriber_routes(newsroom: Newsroom, guard: Guard) -> list[Route]:
    """Build the routes."""

    async def remove(request: Request) -> Response:
        channel, token = (request.query_params.get(name, "") for name in ("channel", "token"))
        if not channel or not token:
            field = "token" if channel else "channel"
            raise ApiFailure(400, f"{field} is missing", field=field, remedy="?channel=NAME&token=TOKEN")
        return json_answer({"removed": await newsroom.remove(channel, token)})

    async def put(request: Request) -> Response:
        changes = Changes()
        try:
            body = await read_body(request, LARGEST_SUBSCRIBERS)
            rows = decode_subscribers(body, changes, strict=truth(request, "strict"))
            stored = await newsroom.put(rows)
        except RecordError as error:
            raise refused(error) from None
        answer: dict[str, Any] = {"inserted": stored.inserted, "updated": stored.updated}
        if any(row.replaces is not None for row in rows):
            answer["replaces"] = {"moved": stored.moved, "merged": stored.merged, "unknown": stored.unknown}
        return json_answer({**answer, **changes.report()})

    async def page(request: Request) -> Response:
        after, limit = number(request, "after", 0, 2**63), number(request, "limit", 1000, MAX_SUBSCRIBERS)
        rows = await newsroom.page(after, limit)
        return Response(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), media_type="application/x-ndjson")

    async def count(request: Request) -> Response:
        channels = await newsroom.count()
        return json_answer({"total": sum(channels.values()), "channels": channels})

    return [
        Route("/api/subscribers", guard(remove, "channel", "token"), methods=["DELETE"]),
        Route("/api/subscribers", guard(put, "strict", body=True), methods=["POST"]),
        Route("/api/subscribers", guard(page, "after", "limit")),
        Route("/api/subscribers/count", guard(count)),
    ]
