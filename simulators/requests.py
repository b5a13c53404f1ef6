"""A request as HTTP/2 carries it, and what makes one malformed (RFC 9113 §8)."""

from __future__ import annotations

import re

from simulators import frames as f
from simulators.errors import StreamFault
from simulators.header_compression import Field

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_FORBIDDEN = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")
_SEEN_LIMIT = 512
#: Lists of names that were found well-formed: a client sends the same few shapes for ever.
_seen: set[tuple[bytes, ...]] = set()


class Request:
    """One complete request. ``fields`` are in the order of the wire, pseudo-header fields first."""

    __slots__ = ("body", "fields", "stream")

    def __init__(self, stream: int, fields: list[Field], body: bytes) -> None:
        self.stream = stream
        self.fields = fields
        self.body = body


def check_names(fields: list[Field]) -> int:
    """Raise ``StreamFault`` for a malformed request; return its content-length, or -1."""
    names = tuple([name for name, _ in fields])
    if names not in _seen:
        _check_shape(names)
        if len(_seen) < _SEEN_LIMIT:
            _seen.add(names)
    expected = -1
    for name, value in fields:
        if b"\n" in value or _BAD_VALUE.search(value):
            raise _malformed(f"the value of {name!r} holds a forbidden character")
        if name == b"content-length":
            if not value.isdigit():
                raise _malformed("content-length is not a number")
            expected = int(value)
        elif name == b"te" and value != b"trailers":
            raise _malformed("te is not trailers")
    return expected


def check_trailers(fields: list[Field]) -> None:
    """Raise ``StreamFault`` unless ``fields`` may follow a body."""
    for name, _ in fields:
        if name.startswith(b":") or not _NAME.fullmatch(name):
            raise _malformed(f"{name!r} in trailers")


def _check_shape(names: tuple[bytes, ...]) -> None:
    regular = False
    for name in names:
        if not _NAME.fullmatch(name):
            raise _malformed(f"the field name {name!r}")
        if not name.startswith(b":"):
            regular = True
            if name in _FORBIDDEN:
                raise _malformed(f"the connection-specific field {name!r}")
        elif regular:
            raise _malformed(f"{name!r} after a regular field")
        elif name not in _PSEUDO or names.count(name) > 1:
            raise _malformed(f"{name!r}, unknown or twice")
    for name in (b":method", b":scheme", b":path"):
        if name not in names:
            raise _malformed(f"no {name!r}")


def _malformed(what: str) -> StreamFault:
    return StreamFault(f.PROTOCOL_ERROR, f"malformed request: {what}")
