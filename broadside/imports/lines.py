"""Cuts a file into lines, numbered and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from broadside.errors import Problem
from broadside.imports.source import Source

MAX_LINE = 256 * 1024
"""Bytes of a line, and of a record that spans several. The largest row that is stored is smaller."""
_TOO_LONG = Problem("line", f"is longer than {MAX_LINE // 1024} KiB", "one subscriber a line")


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line with its end. ``problem``: it cannot be read; if it is too long, ``raw`` is a piece of it."""

    number: int
    raw: bytes
    text: str
    problem: Problem | None = None
    more: bool = False
    """The rest of a line that is too long: it belongs to the line before it."""


class Lines:
    """The lines of a source, one after the other. A line can be given back, to be read again."""

    def __init__(self, source: Source) -> None:
        """Read ``source``."""
        self._lines = _lines(source.blocks())
        self._back: deque[Line] = deque()

    def __iter__(self) -> Iterator[Line]:
        """Return itself."""
        return self

    def __next__(self) -> Line:
        """Return the next line."""
        return self._back.popleft() if self._back else next(self._lines)

    def give_back(self, lines: list[Line]) -> None:
        """Have ``lines`` read again, before all others."""
        self._back.extendleft(reversed(lines))

    def first(self) -> Line | None:
        """Return the first line that is not blank, without taking it; None: there is none."""
        for line in self:
            if line.problem or line.text.strip():
                self.give_back([line])
                return line
        return None


def _lines(blocks: Iterator[bytes]) -> Iterator[Line]:
    number, rest, within = 0, b"", False
    for block in blocks:
        parts = (rest + block).splitlines(keepends=True)
        # the last line may go on in the next block, and so may "\r\n"
        rest = parts.pop() if parts and not parts[-1].endswith(b"\n") else b""
        for raw in parts:
            number += not within
            yield Line(number, raw, "", _TOO_LONG, more=True) if within else _line(number, raw)
            within = False
        if len(rest) > MAX_LINE:
            number += not within
            yield Line(number, rest, "", _TOO_LONG, more=within)
            within, rest = True, b""
    if rest:
        yield Line(number, rest, "", _TOO_LONG, more=True) if within else _line(number + 1, rest)


def _line(number: int, raw: bytes) -> Line:
    if len(raw) > MAX_LINE:
        return Line(number, raw, "", _TOO_LONG)
    try:
        return Line(number, raw, raw.decode())
    except UnicodeDecodeError as error:
        what = f"byte 0x{raw[error.start]:02x} at column {error.start + 1} is not UTF-8"
        return Line(number, raw, "", Problem("line", what, "save the file as UTF-8"))
