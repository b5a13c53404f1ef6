"""Recognises how a file's records are written: CSV, NDJSON, other JSON, or one token a line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from broadside.api.subscriber import FIELDS
from broadside.errors import UsageError, shown
from broadside.imports.formats.csv_rows import CsvHeader, read_header
from broadside.imports.formats.json_rows import is_one_a_line
from broadside.imports.formats.lines import Lines
from broadside.imports.formats.pieces import Piece, cut_at_lines, cut_at_objects
from broadside.imports.formats.source import Source
from broadside.imports.mapping import preset_of
from broadside.imports.readers.piece_reader import Layout
from broadside.imports.rules import Rules


@dataclass(frozen=True, slots=True)
class Records:
    """What a file holds: its ``pieces`` begin at ``offset``, after ``line`` lines."""

    layout: Layout
    pieces: Iterator[Piece]
    offset: int = 0
    line: int = 0


def recognise(source: Source, rules: Rules) -> Records:
    """Recognise the format by the first bytes. Raises ``UsageError`` if the file is unusable."""
    first = source.first.lstrip()
    if first.startswith((b"{", b"[")):
        each = rules.mapping.map_file.each
        if first.startswith(b"{") and not each and is_one_a_line(source.first):
            return Records(Layout("ndjson"), cut_at_lines(source.blocks()))
        return Records(Layout("json", each=each), cut_at_objects(source.blocks()))
    pieces = cut_at_lines(source.blocks())
    if not rules.mapping.map_file.header:
        return Records(Layout("tokens"), pieces)
    offset = line = 0
    for piece in pieces:
        lines = Lines(piece.text, piece.within)
        if lines.skip_blank():
            header = read_header(lines, source.name, line)
            _check(header, source.name, rules)
            piece.text = piece.text[lines.offset :]
            line += lines.number - 1
            return Records(Layout("csv", header), chain([piece], pieces), offset + lines.offset, line)
        offset, line = offset + lines.offset, line + lines.number - 1
    raise UsageError(f"{source.name}: is empty (CSV needs a header line, NDJSON one JSON object a line)")


def _check(header: CsvHeader, name: str, rules: Rules) -> None:
    where = f"{name} line {header.number}"
    fields: dict[str, str] = {}
    for column in header.names:
        found = rules.mapping.column(column)
        if found is None or not found.field:
            continue
        if found.field in fields:
            both = f"{shown(fields[found.field])} and {shown(column)} both mean {found.field}"
            raise UsageError(f"{where}: columns {both} (remove or rename one)")
        fields[found.field] = column
    for needed in ("token",) if rules.fills_channel else ("channel", "token"):
        if needed not in fields:
            raise UsageError(f"{where}: the header has no column {needed} ({_remedy(header.names, needed)})")
    if rules.strict and rules.mapping.unknown:
        unknown = next(iter(rules.mapping.unknown))
        near = difflib.get_close_matches(unknown.lower(), FIELDS, 1)
        guess = f"did you mean {near[0]}?" if near else "own data goes into columns named fields.NAME"
        raise UsageError(f"{where}: unknown column {shown(unknown)} ({guess}; known: {', '.join(FIELDS)})")


def _remedy(names: list[str], needed: str) -> str:
    if found := preset_of(names):
        return f"these are {found}'s columns: --preset {found}"
    near = difflib.get_close_matches(needed, [name.lower() for name in names], 1)
    guess = f"is it {shown(near[0])}? " if near else ""
    other = "--channel NAME gives all rows one channel" if needed == "channel" else "--preset and --map read others"
    return f"{guess}the first line names the columns; {other}: docs/import.md"
