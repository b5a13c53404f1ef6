"""HPACK (RFC 7541) as a provider's front end speaks it: a strict decoder and an encoder that uses its dynamic table.

The `hpack` library would do, but costs some 15–20 µs a request; a twin in a load test on the same machine must cost
less. The static table is the library's, and the tests compare both directions with it.
"""

from __future__ import annotations

from hpack.table import HeaderTable

from simulators.errors import HeaderBlockError
from simulators.http2.huffman import decode_huffman

Field = tuple[bytes, bytes]

TABLE_LIMIT = 4096
"""Bytes of dynamic table in both directions: what our SETTINGS_HEADER_TABLE_SIZE says, and what our encoder fills."""

_STATIC: tuple[Field, ...] = tuple((bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE)
_FIRST_DYNAMIC = len(_STATIC) + 1
_STATIC_FIELDS = {field: index for index, field in reversed(list(enumerate(_STATIC, 1)))}
_STATIC_NAMES = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC, 1)))}
_OVERHEAD = 32
_MAX_HEADER_LIST = 16_384
_MAX_INTEGER_BYTES = 5
#: Values that differ in every answer: indexing them would only push the useful entries out of the table.
_UNINDEXED = frozenset({b"apns-id", b"apns-unique-id", b"content-length", b"date"})


class _HeaderTable:
    """Static and dynamic table in one list, so that a lookup is one index: 1–61 static, then newest first."""

    __slots__ = ("fields", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.fields: list[Field] = [(b"", b""), *_STATIC]
        self.limit = limit
        self.size = 0

    def insert(self, field: Field) -> None:
        size = len(field[0]) + len(field[1]) + _OVERHEAD
        self._evict(self.limit - size)
        if size <= self.limit:
            self.fields.insert(_FIRST_DYNAMIC, field)
            self.size += size

    def resize(self, limit: int) -> None:
        self.limit = limit
        self._evict(limit)

    def _evict(self, room: int) -> None:
        while self.size > max(room, 0):
            name, value = self.fields.pop()
            self.size -= len(name) + len(value) + _OVERHEAD


class Decoder:
    """Decodes the header blocks of one connection, in order."""

    def __init__(self) -> None:
        self._table = _HeaderTable(TABLE_LIMIT)

    def decode(self, block: bytes) -> list[Field]:
        """Return the fields of a whole header block (raises ``HeaderBlockError``)."""
        fields: list[Field] = []
        known = self._table.fields
        at = 0
        end = len(block)
        listed = 0
        try:
            while at < end:
                first = block[at]
                if first & 0x80:
                    index = first & 0x7F
                    at += 1
                    if index == 0x7F:
                        index, at = _integer(block, at, 0x7F)
                    if not index:
                        raise HeaderBlockError("index 0")
                    field = known[index]
                elif first & 0xE0 == 0x20:
                    if fields:
                        raise HeaderBlockError("a table size update after a field")
                    at = self._size_update(block, at)
                    continue
                else:
                    mask = 0x3F if first & 0x40 else 0x0F
                    index = first & mask
                    at += 1
                    if index == mask:
                        index, at = _integer(block, at, mask)
                    if index:
                        name = known[index][0]
                    else:
                        name, at = _string(block, at)
                    length = block[at]
                    if length < 0x7F and at + length < end:
                        at += 1
                        value = block[at : at + length]
                        at += length
                    else:
                        value, at = _string(block, at)
                    field = (name, value)
                    if first & 0x40:
                        self._table.insert(field)
                fields.append(field)
                listed += len(field[0]) + len(field[1]) + _OVERHEAD
        except IndexError:
            raise HeaderBlockError("an index beyond the table, or a block that ends in mid-field") from None
        if listed > _MAX_HEADER_LIST:
            raise HeaderBlockError(f"a header list over {_MAX_HEADER_LIST} bytes")
        return fields

    def _size_update(self, block: bytes, at: int) -> int:
        limit = block[at] & 0x1F
        at += 1
        if limit == 0x1F:
            limit, at = _integer(block, at, 0x1F)
        if limit > TABLE_LIMIT:
            raise HeaderBlockError(f"a table of {limit} bytes where {TABLE_LIMIT} are allowed")
        self._table.resize(limit)
        return at


class Encoder:
    """Encodes the answers of one connection: repeated fields by dynamic index, per-answer ones as plain literals."""

    def __init__(self) -> None:
        self._table = _HeaderTable(TABLE_LIMIT)
        self._lowest: int | None = None

    def allow(self, limit: int) -> None:
        """Take note of the peer's SETTINGS_HEADER_TABLE_SIZE; the next block confirms it (RFC 7541 §4.2)."""
        limit = min(limit, TABLE_LIMIT)
        if limit == self._table.limit and self._lowest is None:
            return
        self._lowest = limit if self._lowest is None else min(self._lowest, limit)
        self._table.resize(limit)

    def encode(self, fields: tuple[Field, ...]) -> bytes:
        """Return one header block."""
        out = bytearray()
        if self._lowest is not None:
            if self._lowest < self._table.limit:
                out += _prefixed(self._lowest, 0x1F, 0x20)
            out += _prefixed(self._table.limit, 0x1F, 0x20)
            self._lowest = None
        for field in fields:
            index = _STATIC_FIELDS.get(field)
            if index is not None:
                out.append(0x80 | index)
                continue
            name, value = field
            if name in _UNINDEXED:
                out += _literal_name(name, 0x00, 0x0F)
            else:
                known = self._table.fields
                if field in known[_FIRST_DYNAMIC:]:
                    out += _prefixed(known.index(field, _FIRST_DYNAMIC), 0x7F, 0x80)
                    continue
                out += _literal_name(name, 0x40, 0x3F)
                self._table.insert(field)
            out += _prefixed(len(value), 0x7F, 0x00)
            out += value
        return bytes(out)


def _literal_name(name: bytes, pattern: int, mask: int) -> bytes:
    index = _STATIC_NAMES.get(name)
    if index is not None:
        return _prefixed(index, mask, pattern)
    key = (name, pattern)
    encoded = _NAMES.get(key)
    if encoded is None:
        encoded = _NAMES[key] = bytes([pattern]) + _prefixed(len(name), 0x7F, 0x00) + name
    return encoded


#: Literal names as encoded: a handful, all chosen by us.
_NAMES: dict[tuple[bytes, int], bytes] = {}


def _prefixed(value: int, mask: int, pattern: int) -> bytes:
    if value < mask:
        return bytes((pattern | value,))
    out = bytearray((pattern | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """Continue an integer whose prefix was all ones (RFC 7541 §5.1)."""
    for position in range(_MAX_INTEGER_BYTES):
        byte = block[at + position]
        value += (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, at + position + 1
    raise HeaderBlockError("an integer longer than any valid one")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    first = block[at]
    length = first & 0x7F
    at += 1
    if length == 0x7F:
        length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise HeaderBlockError("a string that ends beyond the block")
    text = block[at:end]
    if first & 0x80:
        text = decode_huffman(text)
    return text, end
