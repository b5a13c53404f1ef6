"""A provider that only counts: it answers any HTTP/2 request with 200, after a fixed latency.

For benchmarks, where a twin that checks requests would be the bottleneck. It understands frames but not HPACK: its own
answer is the one octet ``0x88`` (RFC 7541 appendix A: ``:status: 200``). ``distant_sink`` is the same, far away.
"""

from __future__ import annotations

import ssl
import struct
from collections import deque
from collections.abc import Callable

import trio

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = struct.Struct(">BHBBL")
_id = struct.Struct(">L").pack
ANSWER = b"\x00\x00\x01\x01\x05", b"\x88"
"""What comes before and after the stream's id."""
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_READ_SIZE = 65_536
_LEAST_WINDOW = 65_535
_WINDOW = 2**31 - 1


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return HEAD.pack(0, len(payload), kind, flags, 0) + payload


class RequestCounter:
    """What is read of one client's connection: it counts requests, and has them answered."""

    def __init__(self, credit: int) -> None:
        """``credit``: octets of bodies taken after which they are given back."""
        self.count = 0
        self._buffer = b""
        self._taken = 0
        self._credit = credit

    def say(self, words: bytes) -> None:
        """Send frames that are no answers."""
        raise NotImplementedError

    def answer(self, streams: list[bytes]) -> None:
        """Answer the requests of these streams."""
        raise NotImplementedError

    def feed(self, data: bytes | bytearray) -> None:
        """Take what comes after the preface."""
        data = bytes(self._buffer + data)
        position, size = 0, len(data)
        streams: list[bytes] = []
        words: list[bytes] = []
        while size - position >= 9:
            high, low, kind, flags, _ = HEAD.unpack_from(data, position)
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


def settings(streams: int, window: int) -> bytes:
    """The first frames of a server. ``window``: of the connection, octets."""
    words = _frame(_SETTINGS, 0, struct.pack(">HLHL", 3, streams, 4, _WINDOW))
    return words if window <= _LEAST_WINDOW else words + _frame(8, 0, _id(window - _LEAST_WINDOW))


class SinkLink(RequestCounter):
    """One client's connection."""

    def __init__(self, stream: trio.abc.Stream, streams: int, latency: float) -> None:
        super().__init__(credit=_WINDOW // 4)
        self._stream = stream
        self._wake = trio.lowlevel.ParkingLot()
        self._latency = latency
        self._out: deque[tuple[float, bytes]] = deque([(0.0, settings(streams, _WINDOW))])

    async def run(self) -> None:
        """Answer until the client goes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            greeting = b""
            while len(greeting) < len(PREFACE):
                data = await self._stream.receive_some(_READ_SIZE)
                if not data:
                    break
                greeting += data
            data = greeting[len(PREFACE) :]
            while greeting.startswith(PREFACE):
                self.feed(data)
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

    def say(self, words: bytes) -> None:
        """Send frames that are no answers."""
        self._out.append((0.0, words))

    def answer(self, streams: list[bytes]) -> None:
        """Answer the requests of these streams."""
        front, block = ANSWER
        due = trio.current_time() + self._latency if self._latency else 0.0
        self._out.append((due, front + (block + front).join(streams) + block))


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
        link = SinkLink(trio.SSLStream(tcp, context, server_side=True, https_compatible=True), streams, latency)
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
