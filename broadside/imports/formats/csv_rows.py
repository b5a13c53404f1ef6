"""Reads CSV, as spreadsheets and databases write it, in a time that grows with the file's size and no faster.

A bad line costs itself alone. After an open quote the reading goes on one line further: the lines between an open
quote and the place where that shows have no open quotes of their own, so each line is read twice at most.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from broadside.errors import Problem, UsageError
from broadside.imports.formats.lines import MAX_LINE, Lines
from broadside.imports.formats.rows import SLICE, Columns, FileRow, Slice

FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""The begin of a text that spreadsheets run as a formula. An export writes an apostrophe before it."""
_QUOTED_FORMULA = re.compile(r"''*[=+\-@\t\r]")
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


class CsvHeader(msgspec.Struct):
    """The names of a file's columns, and its delimiter."""

    names: list[str]
    delimiter: str
    number: int
    """Its line."""
    raw: bytes

    def rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Read ``lines`` as this file's CSV."""
        return csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=True)


def read_header(lines: Lines, name: str, before: int) -> CsvHeader:
    """Take the header from ``lines``, whose next line is not blank. Raises ``UsageError``.

    ``before``: the number of lines before these.
    """
    line = lines.next()
    separator = _SEPARATOR.fullmatch(line.text)
    if separator:
        if not lines.skip_blank():
            raise UsageError(f"{name}: has no header, only a separator")
        line = lines.next()
    number = before + line.number
    where = f"{name} line {number}"
    if line.problem:
        raise UsageError(f"{where}: the header is not UTF-8 (save the file as UTF-8)")
    delimiter = separator[1] if separator else max((",", ";", "\t"), key=line.text.count)
    header = CsvHeader([], delimiter, number, line.raw)
    try:
        cells = next(header.rows([line.text]))
    except csv.Error as error:
        raise UsageError(f"{where}: the header is not CSV: {error}") from None
    header.names = [cell.strip() for cell in cells]
    return header


class _Broken(Exception):
    """A record cannot go on: the next line cannot be read, or the record is too long already."""


class _Cut(Exception):
    """The piece of the file ends within the record."""


class _Feed:
    """Gives the lines of one record to the CSV reader."""

    def __init__(self, lines: Lines, *, last: bool) -> None:
        self._lines, self._last = lines, last
        self._first = lines.at
        self.size = 0

    def begin(self) -> None:
        self._first = self._lines.at
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._lines:
            if self.size and not self._last:
                raise _Cut
            raise StopIteration
        line = self._lines.next()
        self.size += len(line.raw)
        if line.problem or self.size > MAX_LINE:
            raise _Broken
        return line.text


def csv_slices(lines: Lines, header: CsvHeader, *, last: bool) -> Iterator[Slice]:
    """Yield the records in ``lines``. Unless they are the ``last``, a record that does not end stays there."""
    csv.field_size_limit(MAX_LINE)
    while lines:
        at = lines.at
        found = _at_once(lines, header)
        if found is None:
            lines.at = at
            rows = list(_one_by_one(lines, header, at + SLICE, last=last))
            if not rows and lines.at == at:
                return
            found = Slice(lines.offset, rows)
        yield found


def _at_once(lines: Lines, header: CsvHeader) -> Slice | None:
    """Take a slice whose records have one line each, and no fault; None: they must be read one by one."""
    number, raws = lines.number, lines.take(SLICE)
    if raws is None:
        return None
    try:
        cells = list(header.rows(map(bytes.decode, raws)))
    except (csv.Error, UnicodeDecodeError):
        return None
    if len(cells) != len(raws):
        return None
    numbers: Sequence[int] = range(number, number + len(raws))
    if not all(cells):
        numbers = [at for at, row in zip(numbers, cells, strict=True) if row]
        raws = [raw for raw, row in zip(raws, cells, strict=True) if row]
        cells = [row for row in cells if row]
    width = len(header.names)
    if set(map(len, cells)) - {width}:
        if not all(_fits(row, width) for row in cells):
            return None
        cells = [row[:width] for row in cells]
    columns: list[Sequence[str]] = list(zip(*cells, strict=True)) or [()] * width
    if b"'" in b"".join(raws):
        columns = [[_harmless(cell) for cell in column] for column in columns]
    return Slice(lines.offset, columns=Columns(raws, numbers, dict(zip(header.names, columns, strict=True))))


def _one_by_one(lines: Lines, header: CsvHeader, until: int, *, last: bool) -> Iterator[FileRow]:
    """Yield the records up to the line of index ``until``, and the rest of the last one."""
    width = len(header.names)
    feed = _Feed(lines, last=last)
    reader = header.rows(feed)
    while lines and lines.at < until:
        at, number = lines.at, lines.number
        feed.begin()
        try:
            cells = next(reader)
        except _Cut:
            lines.at = at
            return
        except StopIteration:
            return
        except (csv.Error, _Broken) as error:
            lines.at = at
            first = lines.next()
            yield FileRow(first.number, first.raw, {}, first.problem or _problem(error), first.more)
            continue
        if not cells:
            continue
        raw = lines.raws[at] if lines.at == at + 1 else b"".join(lines.raws[at : lines.at])
        if len(cells) != width and not _fits(cells, width):
            what = f"has {len(cells)} columns where the header has {width}"
            remedy = f"quote texts with {header.delimiter!r} in them"
            yield FileRow(number, raw, {}, Problem("line", what, remedy))
            continue
        yield FileRow(number, raw, dict(zip(header.names, map(_harmless, cells), strict=False)))


def _fits(cells: list[str], width: int) -> bool:
    """Whether there are ``width`` cells, and only blank ones after them."""
    return len(cells) >= width and not any(map(str.strip, cells[width:]))


def _harmless(cell: str) -> str:
    """Take off the apostrophe that keeps a spreadsheet from running the cell."""
    return cell[1:] if cell[:1] == "'" and _QUOTED_FORMULA.match(cell) else cell


def _problem(error: Exception) -> Problem:
    is_open = isinstance(error, _Broken) or "unexpected end of data" in str(error)
    what = "a quote is opened but never closed" if is_open else f"is not CSV: {error}"
    return Problem("line", what, 'write a quote within quotes as ""')
