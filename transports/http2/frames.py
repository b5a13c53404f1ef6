"""Frames on the wire (RFC 9113 §4 and §6), and the error that ends a connection."""

from __future__ import annotations

import struct
from typing import Final

from h2.errors import ErrorCodes

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

MAX_STREAM_ID: Final = 2**31 - 1
MAX_WINDOW: Final = 2**31 - 1
INITIAL_WINDOW: Final = 65_535
MAX_FRAME: Final = 16_384
"""Most octets of payload that we take: the least that RFC 9113 allows, and more than any provider sends."""

HEAD: Final = struct.Struct(">BHBBL")
"""A frame's first nine octets: length (the highest octet, the other two), type, flags, stream id."""
HEAD_SIZE: Final = 9
stream_octets = struct.Struct(">L").pack
"""Packs a stream id, an error code or a window increment for a frame."""


class PeerError(Exception):
    """The peer broke HTTP/2: a connection error (RFC 9113 §5.4.1), with its code and a text."""

    def __init__(self, code: ErrorCodes, text: str) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code


def head(length: int, kind: int, flags: int) -> bytes:
    """A frame's first five octets; the stream id follows."""
    return HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, 0)[:5]


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags) + stream_octets(stream_id) + payload


def reset(stream_id: int, code: ErrorCodes) -> bytes:
    """RST_STREAM (RFC 9113 §6.4)."""
    return frame(RST_STREAM, 0, stream_id, stream_octets(code))


def credit(stream_id: int, size: int) -> bytes:
    """WINDOW_UPDATE (RFC 9113 §6.9)."""
    return frame(WINDOW_UPDATE, 0, stream_id, stream_octets(size))


def unpadded(payload: bytes) -> bytes:
    """The content of a payload whose frame is PADDED. Raises ``PeerError``."""
    if not payload:
        raise PeerError(ErrorCodes.FRAME_SIZE_ERROR, "a padded frame without its pad length")
    if payload[0] >= len(payload):
        raise PeerError(ErrorCodes.PROTOCOL_ERROR, f"{payload[0]} octets of padding in a frame of {len(payload)}")
    return payload[1 : len(payload) - payload[0]]
