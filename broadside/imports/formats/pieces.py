"""Cuts a file into pieces that can be read apart from each other."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from broadside.imports.formats.lines import MAX_LINE

PIECE = 512 * 1024
"""Bytes. Some thousand rows: reading them costs a hundred times as much as handing them to another process."""


_TRIED = 100
"""Braces. A record has fewer objects in it."""
_APART = 64
"""Bytes between two records: a comma and blanks."""


class Piece(msgspec.Struct):
    """A part of a file's text."""

    text: bytes
    first: bool = False
    last: bool = False
    within: bool = False
    """It begins within a line that is too long."""


def cut_at_lines(blocks: Iterator[bytes]) -> Iterator[Piece]:
    """Cut where lines end, or within one that is too long. The last piece may be empty."""
    rest, first, within = b"", True, False
    for block in blocks:
        rest += block
        if len(rest) < PIECE:
            continue
        # the last byte may be the half of "\r\n"
        end = max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, len(rest) - 1)) + 1
        if not end and len(rest) <= MAX_LINE:
            continue
        yield Piece(rest[: end or len(rest)], first=first, within=within)
        rest, first, within = rest[end or len(rest) :], False, not end
    yield Piece(rest, first=first, last=True, within=within)


def cut_at_objects(blocks: Iterator[bytes]) -> Iterator[Piece]:
    """Cut where a JSON object seems to end. One that does not is left to the next piece."""
    rest, first = b"", True
    for block in blocks:
        rest += block
        if len(rest) < PIECE:
            continue
        end = _between_objects(rest)
        yield Piece(rest[:end], first=first)
        rest, first = rest[end:], False
    yield Piece(rest, first=first, last=True)


def _between_objects(text: bytes) -> int:
    """Find the last ``},{``: mostly it stands between two records, and not within one."""
    at = len(text)
    for _ in range(_TRIED):
        at = text.rfind(b"{", 0, at)
        if at <= 0:
            break
        if text[max(0, at - _APART) : at].rstrip(b" \t\r\n,").endswith(b"}"):
            return at
    return len(text)
