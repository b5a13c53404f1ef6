"""A provider that only counts: it answers any HTTP/2 request with 200, after a fixed latency.

For benchmarks, where a twin that checks requests would be the bottleneck. It understands frames but not HPACK: its own
answer is the one octet ``0x88`` (RFC 7541 appendix A: ``:status: 200``).
"""

from __future__ import annotations

import ssl
import struct
from collections import deque
from collections.abc import Callable

import trio

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = struct.Struct(">BHBBL")
_id = struct.Struct(">L").pack
_ANSWER = b"\x00\x00\x01\x01\x05"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_READ_SIZE = 65_536
_WINDOW = 2**31 - 1


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return _HEAD.pack(0, len(payload), kind, flags, 0) + payload


class _Link:
    """One client's connection."""

    def __init__(self, stream: trio.abc.Stream, streams: int, latency: float) -> None:
        self.count = 0
        self._stream = stream
        self._latency = latency
        self._buffer = b""
        self._taken = 0
        settings = struct.pack(">HLHL", 3, streams, 4, _WINDOW)
        self._out: deque[tuple[float, bytes]] = deque()
        self._out.append((0.0, _frame(_SETTINGS, 0, settings) + _frame(8, 0, _id(_WINDOW - 65_535))))
        self._wake = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            greeting = b""
            while len(greeting) < len(_PREFACE):
                data = await self._stream.receive_some(_READ_SIZE)
                if not data:
                    break
                greeting += data
            data = greeting[len(_PREFACE) :]
            while greeting.startswith(_PREFACE):
                self._feed(data)
                self._wake.unpark()
                data = await self._stream.receive_some(_READ_SIZE)
                if not data:
                    break
            nursery.cancel_scope.cancel()

    async def _write(self) -> None:
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
                await self._stream.send_all(b"".join(parts))
            await self._wake.park()

    def _feed(self, data: bytes | bytearray) -> None:
        data = self._buffer + data
        position, size = 0, len(data)
        answers: list[bytes] = []
        words: list[bytes] = []
        while size - position >= 9:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(data, position)
            end = position + 9 + (high << 16 | low)
            if end > size:
                break
            if kind == _DATA:
                self._taken += end - position - 9
            if kind <= _HEADERS and flags & 1:
                answers += (_ANSWER, _id(stream_id), b"\x88")
            elif kind == _SETTINGS and not flags & 1:
                words.append(_frame(_SETTINGS, 1, b""))
            elif kind == _PING and not flags & 1:
                words.append(_frame(_PING, 1, data[position + 9 : end]))
            position = end
        self._buffer = data[position:]
        if self._taken > _WINDOW // 4:
            words.append(_frame(8, 0, _id(self._taken)))
            self._taken = 0
        self.count += len(answers) // 3
        if words:
            self._out.append((0.0, b"".join(words)))
        if answers:
            due = trio.current_time() + self._latency if self._latency else 0.0
            self._out.append((due, b"".join(answers)))


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

    async def serve(tcp: trio.SocketStream) -> None:
        link = _Link(trio.SSLStream(tcp, context, server_side=True, https_compatible=True), streams, latency)
        try:
            await link.run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            counted(link.count)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(tcp)

    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    announce(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(serve, listeners)
