"""HPACK (RFC 7541) for answers: exact about the table, and lazy about values that nobody reads.

Only three fields of an answer matter. The others are parsed so that the dynamic table stays in step with the peer's,
but their values are Huffman-decoded only when they enter the table. A block seen before is not parsed again while the
table is unchanged: a dictionary has it. Nor is a block that differs from it only in a value that nobody reads, such as
the ``apns-id`` of each answer.
"""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from h2.errors import ErrorCodes
from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from transports.http2.frames import PeerError

_STATIC = HeaderTable.STATIC_TABLE
_STATIC_SIZE = len(_STATIC)
_DEFAULT_SIZE = 4_096
_ENTRY_OVERHEAD = 32  # RFC 7541 §4.1
_MEMORY = 256  # blocks, and names, in the caches
_PATTERNS = 8

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")
_NUMBER = re.compile(rb"[0-9]{1,18}")
# Fields of HTTP/1.1: a fault here (RFC 9113 §8.2.2).
_CONNECTION_FIELDS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_WATCHED = _CONNECTION_FIELDS | {name for name, _ in _STATIC if name.startswith(b":")}
_WATCHED |= {b":status", b"content-length", b"retry-after"}


class Head(NamedTuple):
    """The parts that matter of an answer's (or a trailer's) header block."""

    status: int
    """0: there was none."""
    retry_after: bytes | None
    length: int | None
    """``content-length``; None: there was none."""
    fault: str | None
    """Why it is malformed (RFC 9113 §8.1.1); None: it is not."""
    fine: bool
    """200–299, and not malformed."""


class ReplyDecoder:
    """Decodes the peer's header blocks, and keeps its dynamic table."""

    def __init__(self) -> None:
        self.heads: dict[bytes, Head] = {}
        """Blocks seen before; valid until the table changes."""
        self.bare: set[bytes] = set()
        """The blocks among them that mean success and announce no body."""
        # Blocks seen before, with one unread value and its length octet cut out: the bytes before, the bytes after, the
        # position of the length octet, the block's length without the value, and its head.
        self._patterns: list[tuple[bytes, bytes, int, int, Head]] = []
        self._recent: tuple[bytes, Head | None] = b"", None  # the latest block that matched a pattern
        self._names: dict[bytes, bytes] = {}
        self._entries: deque[tuple[bytes, bytes]] = deque()
        self._size = 0
        self._limit = _DEFAULT_SIZE  # what the peer has chosen
        self._allowed = _DEFAULT_SIZE  # what it may choose

    def allow(self, size: int) -> None:
        """Allow the SETTINGS_HEADER_TABLE_SIZE that the peer has acknowledged.

        The peer must confirm it by a size update in its next block (RFC 9113 §4.3.1). Some servers never do: their
        blocks are decoded with the table that they still have, which loses nothing.
        """
        self._allowed = size

    def decode(self, block: bytes) -> Head:
        """Read a whole header block. Raises ``PeerError`` (COMPRESSION_ERROR) if it cannot be read."""
        head = self.heads.get(block) or self.alike(block)
        if head is not None:
            return head
        holes: list[tuple[int, int]] = []
        try:
            head, changed = self._walk(block, holes)
        except IndexError:
            raise PeerError(ErrorCodes.COMPRESSION_ERROR, "a header block ends too early") from None
        except HPACKError as error:
            raise PeerError(ErrorCodes.COMPRESSION_ERROR, f"a header block cannot be read ({error})") from None
        if changed or len(self.heads) >= _MEMORY:
            self.heads.clear()
            self.bare.clear()
            self._patterns.clear()
            self._recent = b"", None
        if not changed:
            self.heads[block] = head
            if head.fine and not head.length:
                self.bare.add(block)
            rest = len(block) + 1
            patterns = [(block[:start], block[end:], start, rest + start - end, head) for start, end in holes]
            self._patterns = (patterns + self._patterns)[:_PATTERNS]
        return head

    def alike(self, block: bytes) -> Head | None:
        """The head of a block that differs from an earlier one only in a value that nobody reads; None: it does not."""
        if block == self._recent[0]:  # with the same date, say
            return self._recent[1]
        length = len(block)
        for place, pattern in enumerate(self._patterns):
            before, after, start, rest, head = pattern
            size = length - rest
            if 0 <= size < 0x7F and block[start] & 0x7F == size and block.startswith(before) and block.endswith(after):
                if place:
                    del self._patterns[place]
                    self._patterns.insert(0, pattern)
                self._recent = block, head
                return head
        return None

    def _walk(self, block: bytes, holes: list[tuple[int, int]]) -> tuple[Head, bool]:
        changed = False
        fields: list[tuple[bytes, bytes]] = []
        fault = None
        regular = started = False
        position, end = 0, len(block)
        while position < end:
            octet = block[position]
            if octet & 0x80:
                index, position = _integer(block, position, 0x7F)
                name, value = self._entry(index)
            elif octet & 0xE0 == 0x20:
                size, position = _integer(block, position, 0x1F)
                if started:
                    raise PeerError(ErrorCodes.COMPRESSION_ERROR, "a table size update within a header block")
                self._resize(size)
                changed = True
                continue
            else:
                indexing = octet & 0x40
                index, position = _integer(block, position, 0x3F if indexing else 0x0F)
                if index:
                    name = self._entry(index)[0]
                else:
                    raw, huffman, position = _string(block, position)
                    name = self._huffman_name(raw) if huffman else raw
                start = position
                raw, huffman, position = _string(block, position)
                value = raw
                # A table without room takes nothing and does not change: nginx indexes every field even then.
                if indexing and self._limit >= _ENTRY_OVERHEAD:
                    value = decode_huffman(raw) if huffman else raw
                    self._insert(name, value)
                    changed = True
                elif name not in _WATCHED:
                    holes.append((start, position))
                elif huffman:
                    value = decode_huffman(raw)
            started = True
            if name in _WATCHED:
                fields.append((name, value))
            elif not 0 < index <= _STATIC_SIZE and not _NAME.fullmatch(name):
                fault = f"the field name {name[:40]!r}"
            if name[:1] != b":":
                regular = True
            elif regular:
                fault = f"{name[:40]!r} after regular fields"
        return _head(fields, fault), changed

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if 0 < index <= _STATIC_SIZE:
            return _STATIC[index - 1]
        index -= _STATIC_SIZE + 1
        if 0 <= index < len(self._entries):
            return self._entries[index]
        raise PeerError(ErrorCodes.COMPRESSION_ERROR, "a header field that is not in the table")

    def _huffman_name(self, raw: bytes) -> bytes:
        name = self._names.get(raw)
        if name is None:
            name = decode_huffman(raw)
            if len(self._names) >= _MEMORY:
                self._names.clear()
            self._names[raw] = name
        return name

    def _insert(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value) + _ENTRY_OVERHEAD
        self._entries.appendleft((name, value))
        self._size += size
        self._evict()

    def _resize(self, size: int) -> None:
        if size > self._allowed:
            raise PeerError(ErrorCodes.COMPRESSION_ERROR, f"a table of {size} octets, more than {self._allowed}")
        self._limit = size
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._entries.pop()
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    number = block[position] & mask
    position += 1
    if number < mask:
        return number, position
    shift = 0
    while True:
        octet = block[position]
        position += 1
        number += (octet & 0x7F) << shift
        if octet < 0x80:
            return number, position
        shift += 7
        if shift > 28:
            raise PeerError(ErrorCodes.COMPRESSION_ERROR, "a number in a header block is too large")


def _string(block: bytes, position: int) -> tuple[bytes, bool, int]:
    huffman = block[position] >= 0x80
    length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise PeerError(ErrorCodes.COMPRESSION_ERROR, "a header block ends too early")
    return block[position:end], huffman, end


def _head(fields: list[tuple[bytes, bytes]], fault: str | None) -> Head:
    status = 0
    retry_after = length = None
    for name, value in fields:
        if name == b":status":
            if status or not _STATUS.fullmatch(value):
                fault = f":status {value[:20]!r}"
            else:
                status = int(value)
        elif name == b"retry-after":
            retry_after = value
        elif name == b"content-length":
            if not _NUMBER.fullmatch(value) or length not in (None, int(value)):
                fault = f"content-length {value[:20]!r}"
            else:
                length = int(value)
        else:
            fault = f"the field {name[:40]!r}"
    return Head(status, retry_after, length, fault, fault is None and 200 <= status < 300)
