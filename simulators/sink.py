"""A provider that only counts: it answers any HTTP/2 request with 200, after a fixed latency.

For benchmarks, where a twin that checks requests would be the bottleneck. It understands frames but not HPACK: its own
answer is the one octet ``0x88`` (RFC 7541 appendix A: ``:status: 200``). ``distant_sink`` is the same, far away.
"""

from __future__ import annotations

import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = struct.Struct(">BHBBL")
_id = struct.Struct(">L").pack
ANSWER = b"\x00\x00\x01\x01\x05", b"\x88"
"""What comes before and after the stream's id."""
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_READ_SIZE = 65_536
_LEAST_WINDOW = 65_535
_WINDOW = 2**31 - 1


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return _HEAD.pack(0, len(payload), kind, flags, 0) + payload


class SinkLink:
    """One client's connection."""

    def __init__(
        self, stream: trio.abc.Stream, streams: int, latency: float, window: int = _WINDOW, credit: int = _WINDOW // 4
    ) -> None:
        """``window``: of the connection, octets; ``credit``: octets taken after which they are given back."""
        self.count = 0
        self.stream = stream
        self.wake = trio.lowlevel.ParkingLot()
        self._latency = latency
        self._buffer = b""
        self._taken = 0
        self._credit = credit
        settings = struct.pack(">HLHL", 3, streams, 4, _WINDOW)
        words = _frame(_SETTINGS, 0, settings)
        if window > _LEAST_WINDOW:
            words += _frame(8, 0, _id(window - _LEAST_WINDOW))
        self._out: deque[tuple[float, bytes]] = deque([(0.0, words)])

    async def run(self) -> None:
        """Answer until the client goes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.write)
            greeting = b""
            while len(greeting) < len(_PREFACE):
                data = await self.stream.receive_some(_READ_SIZE)
                if not data:
                    break
                greeting += data
            data = greeting[len(_PREFACE) :]
            while greeting.startswith(_PREFACE):
                self._feed(data)
                self.wake.unpark()
                data = await self.stream.receive_some(_READ_SIZE)
                if not data:
                    break
            nursery.cancel_scope.cancel()

    async def write(self) -> None:
        """Send what is due, for ever."""
        while True:
            while self._out:
                due = self._out[0][0]
                now = trio.current_time()
                if due > now:
                    await trio.sleep(due - now)
                    now = trio.current_time()
                parts = []
                while self._out and self._out[0][0] <= now:
                    parts.append(self._out.popleft()[1])
                await self.stream.send_all(b"".join(parts))
            await self.wake.park()

    def say(self, words: bytes) -> None:
        """Send frames that are no answers."""
        self._out.append((0.0, words))

    def answer(self, streams: list[bytes]) -> None:
        """Answer the requests of these streams."""
        front, block = ANSWER
        due = trio.current_time() + self._latency if self._latency else 0.0
        self._out.append((due, front + (block + front).join(streams) + block))

    def _feed(self, data: bytes | bytearray) -> None:
        data = bytes(self._buffer + data)
        position, size = 0, len(data)
        streams: list[bytes] = []
        words: list[bytes] = []
        while size - position >= 9:
            high, low, kind, flags, _ = _HEAD.unpack_from(data, position)
            end = position + 9 + (high << 16 | low)
            if end > size:
                break
            if kind == _DATA:
                self._taken += end - position - 9
            if kind <= _HEADERS and flags & 1:
                streams.append(data[position + 5 : position + 9])
            elif kind == _SETTINGS and not flags & 1:
                words.append(_frame(_SETTINGS, 1, b""))
            elif kind == _PING and not flags & 1:
                words.append(_frame(_PING, 1, data[position + 9 : end]))
            position = end
        self._buffer = data[position:]
        if self._taken > self._credit:
            words.append(_frame(8, 0, _id(self._taken)))
            self._taken = 0
        self.count += len(streams)
        if words:
            self.say(b"".join(words))
        if streams:
            self.answer(streams)


class MakeLink(Protocol):
    """Makes the link of a connection."""

    def __call__(self, stream: trio.abc.Stream) -> SinkLink:
        """``stream``: after its handshake."""


async def serve_links(
    context: ssl.SSLContext,
    make: MakeLink,
    *,
    port: int = 0,
    announce: Callable[[int], None] = lambda port: None,
    ended: Callable[[SinkLink], None] = lambda link: None,
    before: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> None:
    """Serve until cancelled. ``before``: awaited before a connection's handshake; ``ended``: called after its end."""

    async def serve(tcp: trio.SocketStream) -> None:
        link = make(trio.SSLStream(tcp, context, server_side=True, https_compatible=True))
        try:
            await before()
            await link.run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            ended(link)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(tcp)

    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    announce(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(serve, listeners)


async def serve_sink(
    context: ssl.SSLContext,
    *,
    streams: int = 1_000,
    latency: float = 0.0,
    port: int = 0,
    announce: Callable[[int], None] = lambda port: None,
    counted: Callable[[int], None] = lambda count: None,
) -> None:
    """Serve until cancelled.

    ``streams``: MAX_CONCURRENT_STREAMS; ``latency``: seconds from a request to its answer; ``announce`` is called with
    the port, ``counted`` with the number of requests of each connection that ends.
    """
    await serve_links(
        context,
        lambda stream: SinkLink(stream, streams, latency),
        port=port,
        announce=announce,
        ended=lambda link: counted(link.count),
    )
