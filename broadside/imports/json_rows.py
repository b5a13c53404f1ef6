"""Reads JSON: an object a line (NDJSON), or objects over several lines, in an array or one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from broadside.api.bounds import DEEPEST
from broadside.api.subscriber import no_object
from broadside.errors import Problem, shown
from broadside.imports.lines import MAX_LINE, Lines
from broadside.imports.rows import FileRow

_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DECODE = msgspec.json.Decoder().decode
_MARKS = re.compile(rb'"(?:[^"\\\n]|\\.)*+(?:"|\Z)|[{}\n]')
"""Strings, and what stands between them. No line end belongs to a string."""
_BETWEEN = b" \t\r\n,[]}"
_LIST = re.compile(rb'\s*\{\s*"notifications"\s*:\s*\[')
_LOOKED_AT = 20


def is_one_a_line(first_block: bytes) -> bool:
    """Whether one of the first lines is an object by itself."""
    lines = [line for line in first_block.splitlines()[: 5 * _LOOKED_AT] if line.strip()]
    return any(isinstance(_object(_bare(line)), dict) for line in lines[:_LOOKED_AT] if len(line) <= MAX_LINE)


def ndjson_rows(lines: Lines) -> Iterator[FileRow]:
    """Yield the object of each line. Commas after it, and lines with only the brackets of an array, mean nothing."""
    for line in lines:
        bare = _bare(line.raw)
        if line.problem is None and not bare.strip(b"[]"):
            continue
        if line.problem:
            yield FileRow(line.number, line.raw, {}, line.problem, line.more)
        else:
            yield _row(line.number, line.raw, bare)


def json_rows(blocks: Iterator[bytes]) -> Iterator[FileRow]:
    """Yield each outermost object of a text, wherever its lines end."""
    buffer, line, depth, started = b"", 1, 0, 1
    begin = at = 0  # of the object, or of what stands before it; and of what was not looked at yet
    for number, block in enumerate(_ended(blocks)):
        last = block is None
        buffer += block or b""
        if number == 0 and (prefix := _LIST.match(buffer)):
            at = begin = prefix.end()
            line += prefix[0].count(b"\n")
        for mark in _MARKS.finditer(buffer, at):
            text = mark[0]
            if mark.end() == len(buffer) and text[:1] == b'"' and not last:
                break  # the string may go on in the next block
            at = mark.end()
            if text == b"\n":
                line += 1
            elif text == b"{":
                if depth == 0:
                    if stray := buffer[begin : mark.start()].strip(_BETWEEN):
                        yield FileRow(line, stray + b"\n", {}, no_object(stray.decode(errors="replace")))
                    begin, started = mark.start(), line
                depth += 1
            elif text == b"}" and depth:
                depth -= 1
                if depth == 0:
                    raw = buffer[begin:at]
                    yield _row(started, raw, raw)
                    begin = at
        buffer, at, begin = buffer[begin:], at - begin, 0
        if len(buffer) > MAX_LINE or (last and buffer.strip(_BETWEEN)):
            what = f"is longer than {MAX_LINE // 1024} KiB" if len(buffer) > MAX_LINE else "an object is never closed"
            yield FileRow(
                started if depth else line, buffer + b"\n", {}, Problem("line", what, "one object a subscriber")
            )
            buffer, at, depth = b"", 0, 0


def _ended(blocks: Iterator[bytes]) -> Iterator[bytes | None]:
    yield from blocks
    yield None


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
