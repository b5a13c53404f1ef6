"""One stream of an HTTP/2 connection, what a server allows, and what becomes of a frame's padding."""

from __future__ import annotations

from dataclasses import dataclass

from simulators import frames as f
from simulators.errors import ConnectionFault
from simulators.header_compression import Field


@dataclass(frozen=True, slots=True)
class Limits:
    """What this server announces in its first SETTINGS."""

    max_concurrent_streams: int = 1000
    header_table_size: int = 4096
    initial_window: int = f.DEFAULT_WINDOW
    """Bytes a client may send on a stream before a WINDOW_UPDATE."""
    connection_window: int = 16 * 1024 * 1024
    """Bytes on the whole connection; Apple gives 65,535, which a fast client drains in one burst."""
    max_header_list: int = 8000


class Stream:
    """A request on its way in, an answer on its way out. Nothing of it outlives its end."""

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
        self.parked = b""


def unpad(payload: bytes) -> bytes:
    """Strip the padding of a DATA or HEADERS payload (raises ``ConnectionFault``)."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(f.PROTOCOL_ERROR, "padding as long as its frame")
    return payload[1 : len(payload) - payload[0]]
