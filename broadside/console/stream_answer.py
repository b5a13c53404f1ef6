"""An answer without an end: parts are sent as they come, until the client, its key or its session has gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broadside.console.http_server import ClientGone
from broadside.console.outflow import STRAIGHT, Outflow, Sent


class StreamAnswer(Response):
    """Sends what ``write`` puts, until it returns."""

    def __init__(
        self, media: str, write: Callable[[Outflow], Awaitable[None]], ended: Callable[[], Awaitable[None]]
    ) -> None:
        """``ended`` returns when the client may read no more: its key or session has ended."""
        # a proxy that collects an answer before it passes it on would show nothing
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"}, media_type=media)
        del self.headers["content-length"]
        self._write = write
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        end = {"type": "http.response.body", "body": b"", "more_body": False}
        if scope["method"] == "HEAD":
            await send(end)
            return
        out: Outflow = scope.get("extensions", {}).get(STRAIGHT) or Sent(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, receive, nursery.cancel_scope)
            reading = trio.CancelScope()
            nursery.start_soon(self._until_ended, reading)
            try:
                with reading:
                    await self._write(out)
                await out.flush()
                await send(end)
            except* ClientGone:
                pass
            nursery.cancel_scope.cancel()

    async def _watch(self, receive: Receive, life: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        life.cancel()

    async def _until_ended(self, reading: trio.CancelScope) -> None:
        await self._ended()
        reading.cancel()
