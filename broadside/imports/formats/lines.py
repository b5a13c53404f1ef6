"""Cuts a piece of a file into lines, numbered and bounded."""

from __future__ import annotations

import msgspec

from broadside.errors import Problem

MAX_LINE = 256 * 1024
"""Bytes of a line, and of a record that spans several. The largest row that is stored is smaller."""
_TOO_LONG = Problem("line", f"is longer than {MAX_LINE // 1024} KiB", "one subscriber a line")


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line with its end. ``problem``: it cannot be read; if it is too long, ``raw`` may be a piece of it."""

    number: int
    raw: bytes
    text: str
    problem: Problem | None = None
    more: bool = False
    """The rest of a line that is too long: it belongs to the line before it."""


class Lines:
    """The lines of a piece of a file. Going back to an earlier line costs nothing."""

    def __init__(self, text: bytes, within: bool = False) -> None:
        """Cut ``text``; ``within``: it begins within a line that is too long."""
        self.raws = text.splitlines(keepends=True)
        self.at = 0
        """Index of the next line."""
        self._within = within
        self._offsets = [0]

    def __len__(self) -> int:
        """Return the number of lines that are left."""
        return len(self.raws) - self.at

    @property
    def number(self) -> int:
        """The next line's number: the first has 1, or 0 if it began before this piece."""
        return self.at + 1 - self._within

    @property
    def offset(self) -> int:
        """Bytes before the next line."""
        for raw in self.raws[len(self._offsets) - 1 : self.at]:
            self._offsets.append(self._offsets[-1] + len(raw))
        return self._offsets[self.at]

    def next(self) -> Line:
        """Take the next line; ``IndexError`` if there is none."""
        raw, number, more = self.raws[self.at], self.number, self._within and not self.at
        self.at += 1
        if more or len(raw) > MAX_LINE:
            return Line(number, raw, "", _TOO_LONG, more)
        try:
            return Line(number, raw, raw.decode())
        except UnicodeDecodeError as error:
            what = f"byte 0x{raw[error.start]:02x} at column {error.start + 1} is not UTF-8"
            return Line(number, raw, "", Problem("line", what, "save the file as UTF-8"))

    def take(self, most: int) -> list[bytes] | None:
        """Take ``most`` lines or fewer; None, and none is taken: one of them is too long."""
        raws = self.raws[self.at : self.at + most]
        if (self._within and not self.at) or max(map(len, raws), default=0) > MAX_LINE:
            return None
        self.at += len(raws)
        return raws

    def skip_blank(self) -> bool:
        """Go to the next line that is not blank; returns whether there is one."""
        while self.at < len(self.raws):
            line = self.next()
            if line.problem or line.text.strip():
                self.at -= 1
                return True
        return False
