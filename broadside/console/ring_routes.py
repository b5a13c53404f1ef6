"""The API's routes about the ring: its nodes, its channels, and their tubes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broadside.console.http_answers import Guard, json_answer
from broadside.console.request_parts import number, truth
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring


def ring_routes(newsroom: Newsroom, ring: Ring, guard: Guard) -> list[Route]:
    """Build the routes."""

    async def peers(request: Request) -> Response:
        return json_answer({"peers": await ring.peers()})

    async def forget(request: Request) -> Response:
        return json_answer(await ring.forget(request.path_params["name"], truth(request, "force")))

    async def tubes(request: Request) -> Response:
        return json_answer(await newsroom.tubes())

    async def buried(request: Request) -> Response:
        found = await newsroom.buried(request.path_params["channel"], number(request, "limit", 100, 1000))
        return json_answer({"buried": [batch._asdict() for batch in found]})

    async def kick(request: Request) -> Response:
        count = number(request, "count", 1, 10**9)
        return json_answer({"kicked": await newsroom.kick(request.path_params["channel"], count)})

    async def end(request: Request) -> Response:
        limit = number(request, "limit", 1000, 10_000)
        batches, recipients = await newsroom.end_buried(request.path_params["channel"], limit)
        return json_answer({"batches": batches, "recipients": recipients})

    async def channels(request: Request) -> Response:
        platforms = newsroom.device_tokens.channels
        here = {name: {"platform": platform} for name, platform in sorted(platforms.items())}
        return json_answer({"channels": here, "served": await newsroom.served()})

    return [
        Route("/api/peers", guard(peers)),
        Route("/api/peers/{name}/forget", guard(forget, "force"), methods=["POST"]),
        Route("/api/tubes", guard(tubes)),
        Route("/api/tubes/{channel}/buried", guard(buried, "limit")),
        Route("/api/tubes/{channel}/kick", guard(kick, "count"), methods=["POST"]),
        Route("/api/tubes/{channel}/end", guard(end, "limit"), methods=["POST"]),
        Route("/api/channels", guard(channels)),
    ]
