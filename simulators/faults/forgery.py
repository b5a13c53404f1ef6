"""Frames that no server may send (RFC 9113), or not in such numbers: a script can inject them into a connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

from simulators.http2 import framing as f

Forgery = Literal[
    "bad-hpack",
    "continuation-alone",
    "continuation-flood",
    "data-on-0",
    "data-on-idle",
    "headers-on-closed",
    "headers-on-even",
    "headers-on-idle",
    "oversized",
    "ping-flood",
    "ping-size",
    "push-promise",
    "reset-on-idle",
    "settings-flood",
    "settings-size",
    "settings-value",
    "unknown-type",
    "window-overflow",
    "window-zero",
]

#: ``:status: 200``, from the static table.
_OK: Final = b"\x88"
#: One field that needs no table: a literal, never indexed.
_FIELD: Final = b"\x10\x01x\x7e" + b"x" * 126
_BEYOND: Final = 1_000_000


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return f.head(len(payload), kind, flags, stream) + payload


def _headers(stream: int) -> bytes:
    return _frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, stream, _OK)


_MADE: Final[Mapping[Forgery, Callable[[int, int], bytes]]] = {
    "bad-hpack": lambda stream, _: _frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, stream, b"\x80"),
    "continuation-alone": lambda stream, _: _frame(f.CONTINUATION, f.END_HEADERS, stream, _OK),
    "continuation-flood": lambda stream, count: (
        _frame(f.HEADERS, 0, stream, _OK) + _frame(f.CONTINUATION, 0, stream, _FIELD * 8) * count
    ),
    "data-on-0": lambda _, __: _frame(f.DATA, 0, 0, b"x"),
    "data-on-idle": lambda stream, _: _frame(f.DATA, 0, stream + _BEYOND, b"x"),
    # Twice, because the stream may still wait for its answer.
    "headers-on-closed": lambda stream, _: _headers(stream) * 2,
    "headers-on-even": lambda _, __: _headers(2),
    "headers-on-idle": lambda stream, _: _headers(stream + _BEYOND),
    "oversized": lambda stream, _: _frame(f.DATA, 0, stream, bytes(f.FRAME_LIMIT + 1)),
    "ping-flood": lambda _, count: _frame(f.PING, 0, 0, b"floods!!") * count,
    "ping-size": lambda _, __: _frame(f.PING, 0, 0, b"short"),
    "push-promise": lambda stream, _: _frame(f.PUSH_PROMISE, f.END_HEADERS, stream, b"\0\0\0\2" + _OK),
    "reset-on-idle": lambda stream, _: f.rst_stream(stream + _BEYOND, f.CANCEL),
    "settings-flood": lambda _, count: f.settings({}) * count,
    "settings-size": lambda _, __: _frame(f.SETTINGS, 0, 0, b"\0\3\0\0"),
    "settings-value": lambda _, __: f.settings({f.INITIAL_WINDOW_SIZE: f.WINDOW_LIMIT + 1}),
    # The one that a client must ignore (RFC 9113 §4.1).
    "unknown-type": lambda stream, _: _frame(0xFA, 0xFF, stream, b"from the future"),
    "window-overflow": lambda _, __: f.window_update(0, f.WINDOW_LIMIT),
    "window-zero": lambda _, __: f.window_update(0, 0),
}
assert set(_MADE) == set(get_args(Forgery))


def forge(what: Forgery, stream: int, count: int) -> bytes:
    """Return the bytes of one forgery.

    Args:
        what: the kind of forgery.
        stream: the last request's, if the frame belongs to a stream.
        count: frames of a flood.
    """
    return _MADE[what](stream, count)
