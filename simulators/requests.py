"""A request as HTTP/2 carries it, and what makes one malformed (RFC 9113 §8)."""

from __future__ import annotations

import re

from simulators import frames as f
from simulators.errors import StreamFault
from simulators.header_compression import Field

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_FORBIDDEN = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
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
    if not fields:
        raise _malformed("no fields")
    names, values = zip(*fields, strict=True)
    if names not in _seen:
        _check_shape(names)
        if len(_seen) < _SEEN_LIMIT:
            _seen.add(names)
    # All values in one piece, because this runs for each request: a NUL may stand between them only.
    joined = b"\0%b\0" % b"\0".join(values)
    if (
        joined.count(b"\0") != len(values) + 1
        or b"\r" in joined
        or b"\n" in joined
        or b"\0 " in joined
        or b" \0" in joined
        or b"\0\t" in joined
        or b"\t\0" in joined
    ):
        raise _malformed("a value holds a forbidden character")
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
