"""HTTP/2 frames as bytes (RFC 9113 §4, §6): numbers, heads and the few frames a server sends besides answers."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

#: Error codes by the names of RFC 9113 §7, for scripts.
CODES: Final[Mapping[str, int]] = {
    "NO_ERROR": NO_ERROR,
    "PROTOCOL_ERROR": PROTOCOL_ERROR,
    "INTERNAL_ERROR": 2,
    "FLOW_CONTROL_ERROR": FLOW_CONTROL_ERROR,
    "SETTINGS_TIMEOUT": 4,
    "STREAM_CLOSED": STREAM_CLOSED,
    "FRAME_SIZE_ERROR": FRAME_SIZE_ERROR,
    "REFUSED_STREAM": REFUSED_STREAM,
    "CANCEL": CANCEL,
    "COMPRESSION_ERROR": COMPRESSION_ERROR,
    "CONNECT_ERROR": 10,
    "ENHANCE_YOUR_CALM": ENHANCE_YOUR_CALM,
    "INADEQUATE_SECURITY": 12,
    "HTTP_1_1_REQUIRED": 13,
}

NAMES: Final[Mapping[int, str]] = {code: name for name, code in CODES.items()}

FRAME_LIMIT: Final = 16_384
WINDOW_LIMIT: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535

_HEAD = struct.Struct(">BHBBI")
_SETTING = struct.Struct(">HI")
_WORD = struct.Struct(">I")
_TWO_WORDS = struct.Struct(">II")

unpack_head = _HEAD.unpack_from
"""``(length >> 16, length & 0xffff, type, flags, stream)`` of the nine bytes at an offset."""
unpack_word = _WORD.unpack_from
iter_settings = _SETTING.iter_unpack


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload of ``length`` bytes."""
    return _HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream)


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return head(6 * len(values), SETTINGS, 0, 0) + b"".join(_SETTING.pack(*item) for item in values.items())


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection's window."""
    return head(4, WINDOW_UPDATE, 0, stream) + _WORD.pack(increment)


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return head(4, RST_STREAM, 0, stream) + _WORD.pack(code)


def goaway(last_stream: int, code: int, debug: bytes = b"") -> bytes:
    """A GOAWAY frame; ``debug`` is what Apple fills with ``{"reason": …}``."""
    return head(8 + len(debug), GOAWAY, 0, 0) + _TWO_WORDS.pack(last_stream, code) + debug
