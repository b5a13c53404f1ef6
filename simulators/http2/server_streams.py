"""The streams of an HTTP/2 connection, the limits that a server announces, and a frame's padding."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from simulators.errors import ConnectionFault
from simulators.http2 import framing as f
from simulators.http2.header_compression import Field


@dataclass(frozen=True, slots=True)
class Limits:
    """What this server announces in its first SETTINGS."""

    max_concurrent_streams: int = 1000
    initial_window: int = f.DEFAULT_WINDOW
    """Bytes a client may send on a stream before a WINDOW_UPDATE."""
    connection_window: int = 16 * 1024 * 1024
    """Bytes on the whole connection; Apple gives 65,535, which a fast client drains in one burst."""


class Stream:
    """A request on its way in, an answer on its way out. Nothing of it is kept after its end."""

    __slots__ = ("body", "expected", "fields", "id", "parked", "received", "recv_window", "remote_open", "send_window")

    def __init__(self, stream: int, fields: list[Field], recv_window: int, send_window: int) -> None:
        self.id = stream
        self.fields = fields
        self.body = b""
        self.expected = -1
        self.received = 0
        self.recv_window = recv_window
        self.send_window = send_window
        self.remote_open = True
        self.parked = memoryview(b"")


class AnnouncedWindow:
    """Our INITIAL_WINDOW_SIZE: a larger one applies once it is announced, a smaller one once the client acknowledges.

    RFC 9113 §6.9.2–3: until it acknowledges, a client may use the window it knew.
    """

    __slots__ = ("_announced", "_waiting", "size")

    def __init__(self) -> None:
        self.size = f.DEFAULT_WINDOW
        """Bytes that the client may send on a stream before a WINDOW_UPDATE."""
        self._announced = f.DEFAULT_WINDOW
        self._waiting: deque[int] = deque()

    def announce(self, size: int | None) -> int:
        """Note a SETTINGS frame that is sent (None: without a window); return what every stream's window grows by."""
        change = 0 if size is None else size - self._announced
        self._announced += change
        self._waiting.append(min(change, 0))
        growth = max(change, 0)
        self.size += growth
        return growth

    def acknowledged(self) -> int:
        """Note the client's ACK of the oldest frame; return what every stream's window changes by (0 or less)."""
        change = self._waiting.popleft() if self._waiting else 0
        self.size += change
        return change


def unpad(payload: bytes) -> bytes:
    """Strip the padding of a DATA or HEADERS payload (raises ``ConnectionFault``)."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(f.PROTOCOL_ERROR, "padding as long as its frame")
    return payload[1 : len(payload) - payload[0]]
