"""A request as HTTP/2 carries it, and what makes one malformed (RFC 9113 §8)."""

from __future__ import annotations

import re

from simulators.errors import StreamFault
from simulators.http2 import framing as f
from simulators.http2.header_compression import Field

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_FORBIDDEN = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_SEEN_LIMIT = 512
_GOOD_LIMIT = 4096
#: Lists of names that were found well-formed: a client keeps sending the same few lists.
_seen: set[tuple[bytes, ...]] = set()
#: Values that were found well-formed: all but the path are the same in most requests.
_good_values: set[bytes] = set()


class ReceivedRequest:
    """One complete request. ``fields`` are in the order of the wire, pseudo-header fields first."""

    __slots__ = ("body", "fields", "stream")

    def __init__(self, stream: int, fields: list[Field], body: bytes) -> None:
        self.stream = stream
        self.fields = fields
        self.body = body


def check_names(fields: list[Field]) -> int:
    """Raise ``StreamFault`` for a malformed request; return its content-length, or -1."""
    if not fields:
        raise _malformed("no fields")
    names, values = zip(*fields, strict=True)
    if names not in _seen:
        _check_shape(names)
        if len(_seen) < _SEEN_LIMIT:
            _seen.add(names)
    for value in values:
        if value not in _good_values:
            if _BAD_VALUE.search(value):
                raise _malformed("a value holds a forbidden character")
            if len(_good_values) >= _GOOD_LIMIT:
                _good_values.clear()
            _good_values.add(value)
    expected = -1
    if b"content-length" in names:
        length = values[names.index(b"content-length")]
        if not length.isdigit() or names.count(b"content-length") > 1:
            raise _malformed("content-length is not one number")
        expected = int(length)
    if b"te" in names and values[names.index(b"te")] != b"trailers":
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
