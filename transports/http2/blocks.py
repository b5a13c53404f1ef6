"""Header blocks of requests: encoded once by HPACK, then put together from pieces (RFC 7541 §6).

The rule that keeps both ends in step: an index is used only while the table is as it was when the index was looked up.
If the table has changed, the next request goes through the encoder, whose bytes also add the missing fields to the
peer's table; then all indices are looked up again.
"""

from __future__ import annotations

from typing import NamedTuple

from hpack import NeverIndexedHeaderTuple

from transports.http2.control import PlainEncoder
from transports.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, head
from transports.http2.messages import Header, Row, Template

_POST: tuple[Header, ...] = ((b":method", b"POST"), (b":scheme", b"https"))
_OVERHEAD = 32  # RFC 7541 §4.1
_SHAPES = 1_024


class Shape(NamedTuple):
    """The pieces between a request's varying parts; requests with the same unindexed fields share them, if their path,
    ident and body have equal lengths.
    """

    head: bytes
    """Frame header up to the stream id."""
    front: bytes
    """The block up to ``Request.path``."""
    middle: bytes
    """From there up to ``Request.ident``."""
    data: bytes
    """After it: the next frame's header up to the stream id."""


class Blocks:
    """The header blocks of templates that differ in their unindexed fields at most, for the table of one connection."""

    def __init__(self, template: Template, encoder: PlainEncoder) -> None:
        self._template = template
        self._encoder = encoder
        self._generation = -1
        self._shapes: dict[tuple[int, int, int, tuple[Header, ...]], Shape] = {}
        self._front = self._rest = b""

    @property
    def ready(self) -> bool:
        """Whether :meth:`shape` may be used; if not, the next request must go through :meth:`whole`."""
        return self._generation == self._encoder.generation

    def whole(self, row: Row, unindexed: tuple[Header, ...]) -> bytes:
        """Encode a request's whole header block. This changes the table: the block must be sent before any other.

        ``unindexed``: see :class:`Template`.
        """
        template, encoder = self._template, self._encoder
        constant = [*_POST, (b":authority", template.authority)]
        path: Header = (b":path", template.path + row[1])
        if not row[1]:
            constant.append(path)
        constant += template.fields
        # A field that does not fit beside the others stays out: they would evict each other at each request.
        free = encoder.header_table_size
        indexed: set[Header] = set()
        for field in constant:
            size = len(field[0]) + len(field[1]) + _OVERHEAD
            if encoder.find(*field)[0] <= 61 and encoder.find(*field)[1]:
                indexed.add(field)
            elif size <= free:
                free -= size
                indexed.add(field)
        fields = [field if field in indexed else NeverIndexedHeaderTuple(*field) for field in constant]
        if row[1]:
            fields.insert(len(_POST) + 1, NeverIndexedHeaderTuple(*path))
        # Varying fields stay out of the peer's table, too.
        fields += [NeverIndexedHeaderTuple(*field) for field in unindexed]
        fields.append(NeverIndexedHeaderTuple(b"content-length", b"%d" % len(row[3])))
        if template.ident:
            fields.append(NeverIndexedHeaderTuple(template.ident, template.ident_prefix + row[2]))
        fields += [NeverIndexedHeaderTuple(*field) for field in row[4]]
        block = encoder.encode(fields)
        self._look_up(indexed)
        return block

    def shape(self, path: int, ident: int, body: int, unindexed: tuple[Header, ...]) -> Shape:
        """The pieces for requests with parts of these lengths (octets). Only while :attr:`ready`."""
        key = (path, ident, body, unindexed)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = self._build(path, ident, body, unindexed)
        return shape

    def _look_up(self, indexed: set[Header]) -> None:
        template, find = self._template, self._encoder.find
        self._shapes.clear()
        fronts = [self._constant(field) for field in (*_POST, (b":authority", template.authority))]
        self._front = b"".join(fronts)
        self._rest = b"".join([self._constant(field) for field in template.fields])
        # A full table may have evicted a field that this block refers to: then the next request looks up again.
        complete = all(find(*field)[1] for field in indexed)
        self._generation = self._encoder.generation if complete else -1

    def _build(self, path: int, ident: int, body: int, unindexed: tuple[Header, ...]) -> Shape:
        template = self._template
        if path:
            size = len(template.path) + path
            front = self._front + self._name(b":path") + _integer(size, 0x7F) + template.path
        else:
            front = self._front + self._constant((b":path", template.path))
        literals = (*unindexed, (b"content-length", b"%d" % body))
        middle = self._rest + b"".join(self._literal(*field) for field in literals)
        if template.ident:
            size = len(template.ident_prefix) + ident
            middle += self._name(template.ident) + _integer(size, 0x7F) + template.ident_prefix
        length = len(front) + path + len(middle) + ident
        return Shape(head(length, HEADERS, END_HEADERS), front, middle, head(body, DATA, END_STREAM))

    def _constant(self, field: Header) -> bytes:
        index, whole = self._encoder.find(*field)
        return _integer(index, 0x7F, 0x80) if whole else self._literal(*field)

    def _literal(self, name: bytes, value: bytes) -> bytes:
        return self._name(name) + _integer(len(value), 0x7F) + value

    def _name(self, name: bytes) -> bytes:
        # Never indexed (RFC 7541 §6.2.3): no table on the way may keep a device's token or a credential.
        index, _ = self._encoder.find(name, b"")
        return _integer(index, 0x0F, 0x10) if index else b"\x10" + _integer(len(name), 0x7F) + name


def _integer(number: int, mask: int, flags: int = 0) -> bytes:
    """RFC 7541 §5.1: ``mask`` covers the prefix, ``flags`` stand above it."""
    if number < mask:
        return bytes((flags | number,))
    octets = [flags | mask]
    number -= mask
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*octets, number))
