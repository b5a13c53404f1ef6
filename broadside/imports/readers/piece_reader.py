"""Reads one piece of a file: into bodies of requests, rejected rows, and sums. The same in whatever process it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from broadside.api.attributes.changes import Sums
from broadside.errors import UsageError
from broadside.imports.formats.csv_rows import CsvHeader, csv_slices
from broadside.imports.formats.json_rows import json_slices, ndjson_slices
from broadside.imports.formats.lines import Lines
from broadside.imports.formats.pieces import Piece
from broadside.imports.formats.rows import SLICE, Columns, FileRow, Slice
from broadside.imports.judging import judge
from broadside.imports.rules import Rules, Settings
from broadside.imports.values import KnownValues

Format = Literal["csv", "ndjson", "json", "tokens"]
_REMEMBERED = 16 * 1024 * 1024
"""Bytes of text whose values are remembered, so that a file of nothing but different ones fills no memory."""
_encode = msgspec.json.Encoder().encode_lines


class Layout(msgspec.Struct):
    """How a file's records are written."""

    format: Format
    header: CsvHeader | None = None
    each: str = ""
    """A key that holds an array; every entry becomes a row."""


class Fragment(msgspec.Struct, array_like=True):
    """Good rows that follow each other: a part of a request."""

    body: bytes
    """JSON objects, one on each line."""
    rows: int
    end: int
    """Every record that ends before this place of the piece is in this fragment or an earlier one, or rejected."""


class Read(msgspec.Struct, array_like=True):
    """What a piece holds. Lines and places count from its begin."""

    fragments: list[Fragment]
    rejected: list[FileRow]
    sums: Sums
    skipped: dict[str, int]
    unknown: list[str]
    """Columns that mean nothing to us."""
    taken: int
    """Bytes: what comes after them belongs to the next piece."""
    lines: int
    error: str = ""
    """Why nothing more can be read of this file."""


class PieceReader:
    """Reads pieces of one file."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        """Read files of ``layout`` by the rules of ``settings``."""
        self._layout = layout
        self._rules = Rules.of(settings)
        self._known, self._remembered = KnownValues(), 0

    def read(self, piece: Piece) -> Read:
        """Read ``piece``."""
        rules = self._rules
        rules.begin()
        self._remembered += len(piece.text)
        if self._remembered > _REMEMBERED:
            self._known, self._remembered = KnownValues(), 0
        fragments: list[Fragment] = []
        rejected: list[FileRow] = []
        slices = _Slices(piece, self._layout)
        error = ""
        try:
            for records in slices:
                judged = judge(records, rules, self._known)
                if judged.rows:
                    fragments.append(Fragment(_encode(judged.rows), len(judged.rows), records.end))
                rejected += [FileRow(row.number, row.raw, {}, problem, row.more) for row, problem in judged.rejected]
        except UsageError as wrong:
            error = str(wrong)
        sums, unknown = rules.changes.sums(), list(rules.mapping.unknown)
        return Read(fragments, rejected, sums, rules.skipped, unknown, slices.taken, slices.lines, error)

    def origins(self, piece: Piece, fragment: int) -> list[FileRow]:
        """Return the record of each row in a fragment of ``piece``: it is read again, because few are asked for."""
        self._rules.begin()
        for records in _Slices(piece, self._layout):
            judged = judge(records, self._rules, self._known)
            fragment -= bool(judged.rows)
            if fragment < 0:
                return [records.columns.row(index) for index in judged.origins]
        raise AssertionError("a piece that is read again holds the same")


class _Slices:
    """The records of a piece, and how far it has been read."""

    def __init__(self, piece: Piece, layout: Layout) -> None:
        self._piece, self._layout = piece, layout
        self.taken = self.lines = 0

    def __iter__(self) -> Iterator[Slice]:
        piece, layout = self._piece, self._layout
        if layout.format == "json":
            for records in json_slices(piece.text, first=piece.first, last=piece.last, each=layout.each):
                self.taken = records.end
                yield records
            self.lines = piece.text.count(b"\n", 0, self.taken)
            return
        lines = Lines(piece.text, piece.within)
        if layout.header is not None:
            found = csv_slices(lines, layout.header, last=piece.last)
        else:
            found = ndjson_slices(lines) if layout.format == "ndjson" else _token_slices(lines)
        yield from found
        self.taken, self.lines = lines.offset, lines.number - 1


def _token_slices(lines: Lines) -> Iterator[Slice]:
    while lines:
        at, number = lines.at, lines.number
        raws = lines.take(SLICE)
        try:
            texts = None if raws is None else [raw.decode().strip() for raw in raws]
        except UnicodeDecodeError:
            texts = None
        if raws is not None and texts is not None and all(texts):
            numbers = range(number, number + len(raws))
            yield Slice(lines.offset, columns=Columns(raws, numbers, {"token": texts}))
            continue
        lines.at = at
        read = [lines.next() for _ in range(min(SLICE, len(lines)))]
        rows = [
            FileRow(line.number, line.raw, {"token": line.text.strip()}, line.problem, line.more)
            for line in read
            if line.problem or line.text.strip()
        ]
        yield Slice(lines.offset, rows)
