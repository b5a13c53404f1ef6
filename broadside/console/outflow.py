"""How the parts of an answer without an end reach its client: straight to its socket, if the server has opened a way.

Two hundred listeners get the same bytes five times a second. So the frame of a part is made once for all of them, and a
part is written without a task switch and without the application's framework, unless the client is slow.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Protocol

import trio
from starlette.types import Send

STRAIGHT = "broadside.straight"
"""The entry of ``scope["extensions"]`` with a `Chunks`: for an answer without a ``content-length``."""


class Outflow(Protocol):
    """A way to one client."""

    @property
    def behind(self) -> bool:
        """Whether a part was not written to its end: `put` or `flush` must do that."""

    async def put(self, part: bytes) -> None:
        """Write a part (OSError: the client has gone)."""

    def put_now(self, part: bytes) -> bool:
        """Write a part without waiting; False: nothing was written, because the client is slow or has gone."""

    async def flush(self) -> None:
        """Write the rest of what `put_now` has begun."""


class Sent:
    """The way that every ASGI server has: ``send``, which may wait."""

    behind = False

    def __init__(self, send: Send) -> None:
        self._send = send

    async def put(self, part: bytes) -> None:
        """Write a part."""
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    def put_now(self, part: bytes) -> bool:
        """Write nothing: ``send`` may wait."""
        return False

    async def flush(self) -> None:
        """Do nothing: there is no rest."""


class Chunks:
    """The node's own server's way: HTTP/1.1's chunks.

    ``send`` writes bytes and waits for the client. ``socket``: where bytes can be written at once; None: by TLS.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]], socket: trio.socket.SocketType | None) -> None:
        self._send = send
        self._socket = socket
        self._rest = b""

    @property
    def behind(self) -> bool:
        """Whether a chunk was not written to its end."""
        return bool(self._rest)

    async def put(self, part: bytes) -> None:
        """Write a part."""
        rest, self._rest = self._rest, b""
        await self._send(rest + chunk(part))

    def put_now(self, part: bytes) -> bool:
        """Write as much of a part as the socket takes; False: nothing."""
        if self._socket is None or self._rest:
            return False
        data = chunk(part)
        try:
            written = os.write(self._socket.fileno(), data)
        except OSError:  # its buffer is full; or the client has gone, which `put` finds out
            return False
        self._rest = data[written:]
        return True

    async def flush(self) -> None:
        """Write the rest of a chunk."""
        if self._rest:
            rest, self._rest = self._rest, b""
            await self._send(rest)


@lru_cache(maxsize=16)
def chunk(part: bytes) -> bytes:
    """Frame a part that is not empty (RFC 9112, 7.1). Remembers the last frames: all listeners get the same object."""
    return b"%x\r\n%b\r\n" % (len(part), part)
