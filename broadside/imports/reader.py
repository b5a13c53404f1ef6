"""Reads a file's records in whatever format it has: CSV, NDJSON, other JSON, or one token a line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from broadside.api.subscriber import FIELDS
from broadside.errors import UsageError, shown
from broadside.imports.csv_rows import CsvHeader, csv_rows
from broadside.imports.json_rows import is_one_a_line, json_rows, ndjson_rows
from broadside.imports.lines import Lines
from broadside.imports.mapping import preset_of
from broadside.imports.rows import FileRow
from broadside.imports.rules import Rules
from broadside.imports.source import Source

Format = Literal["csv", "ndjson", "json", "tokens"]


@dataclass(frozen=True, slots=True)
class Records:
    """What a file holds."""

    format: Format
    rows: Iterator[FileRow]
    header: bytes = b""
    """The header's line, if there is one."""


def read_records(source: Source, rules: Rules) -> Records:
    """Recognise the format by the first bytes. Raises ``UsageError`` if the file is unusable."""
    first = source.first.lstrip()
    if first.startswith((b"{", b"[")):
        if first.startswith(b"{") and is_one_a_line(source.first) and not rules.mapping.map_file.each:
            return Records("ndjson", ndjson_rows(Lines(source)))
        each = rules.mapping.map_file.each
        rows = json_rows(source.blocks())
        return Records("json", _exploded(rows, each) if each else rows)
    lines = Lines(source)
    if not rules.mapping.map_file.header:
        return Records("tokens", _tokens(lines))
    header = CsvHeader(lines, source.name)
    _check(header, source.name, rules)
    return Records("csv", csv_rows(lines, header), header.line.raw)


def _check(header: CsvHeader, name: str, rules: Rules) -> None:
    where = f"{name} line {header.line.number}"
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


def _tokens(lines: Lines) -> Iterator[FileRow]:
    for line in lines:
        if line.problem or line.text.strip():
            yield FileRow(line.number, line.raw, {"token": line.text.strip()}, line.problem, line.more)


def _exploded(rows: Iterator[FileRow], each: str) -> Iterator[FileRow]:
    """Make one row of each entry of the array ``each``."""
    for row in rows:
        entries = row.record.get(each)
        if not isinstance(entries, list):
            yield row
            continue
        for entry in entries:
            record = {**row.record, each: entry}
            yield FileRow(row.number, msgspec.json.encode({**row.record, each: [entry]}), record)
