"""How the parts of an answer without an end reach its client: straight to its socket, if the server has opened a way.

Two hundred listeners get the same bytes five times a second. So the frame of a part is made once for all of them, and a
part is written without a task switch and without the application's framework, unless the client is slow.
"""

from __future__ import annotations

import os
import ssl
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


class Writing(Protocol):
    """Where bytes can be written without waiting."""

    def write(self, data: bytes) -> bytes | None:
        """Write what is taken now, and return the rest; None: nothing was written, and ``data`` is still to be sent."""


class PlainWire:
    """A socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    def write(self, data: bytes) -> bytes | None:
        """Write as much as the socket takes."""
        try:
            return data[os.write(self._stream.socket.fileno(), data) :]
        except OSError:  # its buffer is full; or the client has gone, which who waits for it finds out
            return None


class SecuredWire:
    """A socket with TLS. Trio's own way takes 35 µs for a part and this 5, so it uses the parts of Trio's stream.

    The rest of a part is sealed, and nothing else may be sent before it. A client that renews its keys while a rest is
    left is answered out of turn: it loses its connection, and comes again.
    """

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    def write(self, data: bytes) -> bytes | None:
        """Seal all of it, and write as much as the socket takes."""
        stream = self._stream
        # the first bytes go through Trio, which has kept session tickets for them; so do those that it is sending
        if stream._delayed_outgoing is not None or stream._inner_send_lock.locked():
            return None
        try:
            stream._ssl_object.write(data)
            sealed = stream._outgoing.read()
        except ssl.SSLError:
            return None
        try:
            return sealed[os.write(stream.transport_stream.socket.fileno(), sealed) :]
        except BlockingIOError:
            return sealed
        except OSError:
            return None


class Chunks:
    """The node's own server's way: HTTP/1.1's chunks.

    ``send`` writes bytes and waits for the client; ``send_rest`` does so with what the ``wire`` has left.
    """

    def __init__(
        self, send: Callable[[bytes], Awaitable[None]], send_rest: Callable[[bytes], Awaitable[None]], wire: Writing
    ) -> None:
        self._send = send
        self._send_rest = send_rest
        self._wire = wire
        self._rest = b""

    @property
    def behind(self) -> bool:
        """Whether a chunk was not written to its end."""
        return bool(self._rest)

    async def put(self, part: bytes) -> None:
        """Write a part."""
        await self.flush()
        await self._send(chunk(part))

    def put_now(self, part: bytes) -> bool:
        """Write as much of a part as the socket takes; False: nothing."""
        rest = None if self._rest else self._wire.write(chunk(part))
        if rest is None:
            return False
        self._rest = rest
        return True

    async def flush(self) -> None:
        """Write the rest of a chunk."""
        if self._rest:
            rest, self._rest = self._rest, b""
            await self._send_rest(rest)


@lru_cache(maxsize=16)
def chunk(part: bytes) -> bytes:
    """Frame a part that is not empty (RFC 9112, 7.1). Remembers the last frames: all listeners get the same object."""
    return b"%x\r\n%b\r\n" % (len(part), part)
