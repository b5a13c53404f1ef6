"""Reads JSON: an object a line (NDJSON), or objects over several lines, in an array or one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeVar

import msgspec

from broadside.api.bounds import DEEPEST
from broadside.api.subscriber import no_object
from broadside.errors import Problem, shown
from broadside.imports.formats.lines import MAX_LINE, Lines
from broadside.imports.formats.rows import SLICE, Columns, FileRow, Slice, columns_of

T = TypeVar("T")
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DECODE = msgspec.json.Decoder().decode
_RECORD = msgspec.json.Decoder(dict[str, Any])
_RECORDS = msgspec.json.Decoder(list[dict[str, Any]])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_MARKS = re.compile(rb'"(?:[^"\\\n]|\\.)*+(?:"|\Z)|[{}\n]')
"""Strings, and what stands between them. No line end belongs to a string."""
_BETWEEN = b" \t\r\n,[]}"
_BEFORE, _AFTER = b" \t\r\n,[", b" \t\r\n,]"
_LIST = re.compile(rb'\s*\{\s*"notifications"\s*:\s*\[')
_LOOKED_AT = 20


def is_one_a_line(first_block: bytes) -> bool:
    """Whether one of the first lines is an object by itself."""
    lines = [line for line in first_block.splitlines()[: 5 * _LOOKED_AT] if line.strip()]
    return any(isinstance(_object(_bare(line)), dict) for line in lines[:_LOOKED_AT] if len(line) <= MAX_LINE)


def ndjson_slices(lines: Lines) -> Iterator[Slice]:
    """Yield the object of each line. Commas after it, and lines with only the brackets of an array, mean nothing."""
    while lines:
        at, number = lines.at, lines.number
        raws = lines.take(SLICE)
        records = None if raws is None else _each_decoded(raws)
        if raws is not None and records is not None:
            numbers = range(number, number + len(raws))
            yield Slice(lines.offset, columns=Columns(raws, numbers, columns_of(records), records))
            continue
        lines.at = at
        rows = []
        while lines and lines.at < at + SLICE:
            line = lines.next()
            bare = _bare(line.raw)
            if line.problem:
                rows.append(FileRow(line.number, line.raw, {}, line.problem, line.more))
            elif bare.strip(b"[]"):
                rows.append(_row(line.number, line.raw, bare))
        yield Slice(lines.offset, rows)


def json_slices(text: bytes, *, first: bool, last: bool, each: str = "") -> Iterator[Slice]:
    """Yield each outermost object of ``text``, wherever its lines end; of each entry of the array ``each``, a row.

    ``first``: the text begins its file. Unless it is the ``last``, an object that does not end in it is left.
    """
    at_once = None if each or (first and _LIST.match(text)) else _objects_at_once(text)
    if at_once is not None:
        yield from at_once
        return
    rows: list[FileRow] = []
    begin = end = 0
    for row, after in _objects(text, first=first, last=last):
        for part in _exploded(row, each) if each else (row,):
            rows.append(part)
            # a record is read when its last row is
            end = after if part.complete else begin
            if len(rows) >= SLICE:
                yield Slice(end, rows)
                rows = []
        begin = after
    yield Slice(begin if text[begin:].strip(_BETWEEN) else len(text), rows)


def _objects_at_once(text: bytes) -> list[Slice] | None:
    """The objects of ``text``, if all of it is the middle of an array without a fault."""
    bare = b"[" + text.lstrip(_BEFORE).rstrip(_AFTER) + b"]"
    written = _decoded(_RAWS, bare)
    records = written and _decoded(_RECORDS, bare)
    if not written or not records or max(map(len, written)) > MAX_LINE:
        return None
    raws = list(map(bytes, written))
    numbers, ends = [], []
    between, at, line = text[: text.index(b"{")], 0, 1
    for raw in raws:
        if not text.startswith(between + raw, at):  # mostly there is the same between all of them
            between = text[at : text.index(raw, at)]
        line += between.count(b"\n")
        numbers.append(line)
        at += len(between) + len(raw)
        ends.append(at)
        line += raw.count(b"\n")
    ends[-1] = len(text)
    slices = []
    for at, end in pairwise([*range(0, len(raws), SLICE), len(raws)]):
        some = records[at:end]
        slices.append(Slice(ends[end - 1], columns=Columns(raws[at:end], numbers[at:end], columns_of(some), some)))
    return slices


def _objects(text: bytes, *, first: bool, last: bool) -> Iterator[tuple[FileRow, int]]:
    line, depth, started = 1, 0, 1
    begin = at = 0  # of the object, or of what stands before it; and of what was not looked at yet
    if first and (prefix := _LIST.match(text)):
        at = begin = prefix.end()
        line += prefix[0].count(b"\n")
    for mark in _MARKS.finditer(text, at):
        found = mark[0]
        if mark.end() == len(text) and found[:1] == b'"' and not last:
            break  # the string may go on in the next piece
        at = mark.end()
        if found == b"\n":
            line += 1
        elif found == b"{":
            if depth == 0:
                if stray := text[begin : mark.start()].strip(_BETWEEN):
                    no = no_object(stray.decode(errors="replace"))
                    yield FileRow(line, stray + b"\n", {}, no), mark.start()
                begin, started = mark.start(), line
            depth += 1
        elif found == b"}" and depth:
            depth -= 1
            if depth == 0:
                raw = text[begin:at]
                yield _row(started, raw, raw), at
                begin = at
    rest = text[begin:]
    if len(rest) > MAX_LINE or (last and rest.strip(_BETWEEN)):
        what = f"is longer than {MAX_LINE // 1024} KiB" if len(rest) > MAX_LINE else "an object is never closed"
        problem = Problem("line", what, "one object a subscriber")
        yield FileRow(started if depth else line, rest + b"\n", {}, problem), len(text)


def _exploded(row: FileRow, each: str) -> Iterator[FileRow]:
    """Make one row of each entry of the array ``each``."""
    entries = row.record.get(each)
    if not isinstance(entries, list):
        yield row
        return
    for left, entry in zip(range(len(entries) - 1, -1, -1), entries, strict=True):
        record = {**row.record, each: entry}
        raw = msgspec.json.encode({**row.record, each: [entry]})
        yield FileRow(row.number, raw, record, complete=not left)


def _each_decoded(lines: list[bytes]) -> list[dict[str, Any]] | None:
    try:
        return list(map(_RECORD.decode, lines))
    except _ERRORS:
        return None


def _decoded(decoder: msgspec.json.Decoder[T], text: bytes) -> T | None:
    try:
        return decoder.decode(text)
    except _ERRORS:
        return None


def _row(number: int, raw: bytes, text: bytes) -> FileRow:
    try:
        record = _DECODE(text)
    except _ERRORS as error:
        said, remedy = f"is no object: {error}", "one JSON object a line"
        if isinstance(error, UnicodeDecodeError):
            said, remedy = "is not UTF-8", "write it in UTF-8"
        elif isinstance(error, RecursionError):
            said, remedy = "is nested too deeply", f"at most {DEEPEST} levels"
        written = shown(text[:40].decode(errors="replace"), 40)
        return FileRow(number, raw, {}, Problem("line", f"{said}: {written}", remedy))
    if not isinstance(record, dict):
        return FileRow(number, raw, {}, no_object(record))
    return FileRow(number, raw, record)


def _bare(line: bytes) -> bytes:
    return line.strip().removesuffix(b",").rstrip()


def _object(text: bytes) -> object:
    try:
        return _DECODE(text)
    except _ERRORS:
        return None
