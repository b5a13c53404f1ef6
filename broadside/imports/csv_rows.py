"""Reads CSV, as spreadsheets and databases write it, in a time that grows with the file's size and no faster.

A bad line costs itself alone. After an open quote the reading goes on one line further: the lines between an open
quote and the place where that shows have no open quotes of their own, so each line is read twice at most.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from broadside.errors import Problem, UsageError
from broadside.imports.lines import MAX_LINE, Line, Lines
from broadside.imports.rows import FileRow

FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""The begin of a text that spreadsheets run as a formula. An export writes an apostrophe before it."""
_QUOTED_FORMULA = re.compile(r"''*[=+\-@\t\r]")
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


class CsvHeader:
    """The names of a file's columns, and its delimiter."""

    def __init__(self, lines: Lines, name: str) -> None:
        """Take the header from ``lines``. Raises ``UsageError``."""
        line = _first(lines, name)
        separator = _SEPARATOR.fullmatch(line.text)
        if separator:
            next(lines)
            line = _first(lines, name)
        where = f"{name} line {line.number}"
        if line.problem:
            raise UsageError(f"{where}: the header is not UTF-8 (save the file as UTF-8)")
        self.line = next(lines)
        self.delimiter = separator[1] if separator else max((",", ";", "\t"), key=line.text.count)
        try:
            cells = next(csv.reader([line.text], delimiter=self.delimiter, strict=True, skipinitialspace=True))
        except csv.Error as error:
            raise UsageError(f"{where}: the header is not CSV: {error}") from None
        self.names = [cell.strip() for cell in cells]


def _first(lines: Lines, name: str) -> Line:
    if (line := lines.first()) is None:
        raise UsageError(f"{name}: is empty (CSV needs a header line, NDJSON one JSON object a line)")
    return line


class _Broken(Exception):
    """A record cannot go on: the next line cannot be read, or the record is too long already."""


class _Feed:
    """Gives the lines of one record to the CSV reader, and remembers them."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.taken: list[Line] = []
        self._size = 0

    def begin(self) -> None:
        self.taken = []
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.taken.append(line)
        self._size += len(line.raw)
        if line.problem or self._size > MAX_LINE:
            raise _Broken
        return line.text


def csv_rows(lines: Lines, header: CsvHeader) -> Iterator[FileRow]:
    """Yield the records after the header."""
    csv.field_size_limit(MAX_LINE)
    names, width = header.names, len(header.names)
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=header.delimiter, strict=True, skipinitialspace=True)
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _Broken) as error:
            first = feed.taken[0]
            lines.give_back(feed.taken[1:])
            yield FileRow(first.number, first.raw, {}, first.problem or _problem(error), first.more)
            continue
        if not cells:
            continue
        taken = feed.taken
        raw = taken[0].raw if len(taken) == 1 else b"".join([line.raw for line in taken])
        if len(cells) != width and (len(cells) < width or any(map(str.strip, cells[width:]))):
            what = f"has {len(cells)} columns where the header has {width}"
            remedy = f"quote texts with {header.delimiter!r} in them"
            yield FileRow(taken[0].number, raw, {}, Problem("line", what, remedy))
            continue
        if b"'" in raw:
            cells = [cell[1:] if _QUOTED_FORMULA.match(cell) else cell for cell in cells]
        yield FileRow(taken[0].number, raw, dict(zip(names, cells, strict=False)))


def _problem(error: Exception) -> Problem:
    is_open = isinstance(error, _Broken) or "unexpected end of data" in str(error)
    what = "a quote is opened but never closed" if is_open else f"is not CSV: {error}"
    return Problem("line", what, 'write a quote within quotes as ""')
