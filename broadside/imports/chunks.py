"""Turns lines into chunks of checked subscribers, ready to be sent. Only this file knows CSV and NDJSON apart.

For speed the rows of a slice are decoded in one call and checked in one loop. Only if that fails is each row checked
alone, to say what is wrong with it.
"""

from __future__ import annotations

import csv
import difflib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from broadside.api import subscriber
from broadside.api.served_channels import unserved
from broadside.api.subscriber import Subscriber
from broadside.api.token_rules import DeviceTokens
from broadside.errors import Problem, UsageError, shown
from broadside.imports.lines import MAX_LINE, SLICE, Lines, Rejects

Format = Literal["csv", "ndjson"]
_REQUEST_ROWS = 2_500
_REQUEST_BYTES = 1024 * 1024
_ENCODE = msgspec.json.Encoder().encode


class Rules:
    """The rules that a row must keep before it is sent: its channel, the record's rules, the platform's token rules.

    ``served``: the channels that the ring serves; None: no node has joined yet, so every channel is accepted.
    """

    def __init__(self, device_tokens: DeviceTokens, served: frozenset[str] | None = None) -> None:
        """Check tokens by ``device_tokens``, and times of registration against the current time."""
        self._device_tokens = device_tokens
        self._served = served
        self._latest = subscriber.latest_registration()

    def all_good(self, rows: list[Subscriber]) -> bool:
        """Whether ``check`` finds nothing in any of ``rows``."""
        if self._served is not None and not self._served.issuperset([row.channel for row in rows]):
            return False
        return not rows or (subscriber.all_good(rows, self._latest) and self._device_tokens.all_good(rows))

    def check(self, row: Subscriber) -> Problem | None:
        """Return the first problem with a row."""
        if self._served is not None and row.channel not in self._served:
            return unserved(row.channel, self._served)
        token = self._device_tokens.one(row.channel, row.kind, row.token)
        return token if isinstance(token, Problem) else subscriber.check(row, self._latest)


@dataclass(slots=True)
class Chunk:
    """Good rows for one request."""

    raw: list[bytes]
    """Each row's bytes in the file, for the rejects if the node refuses it."""
    numbers: list[int]
    """The line on which each row begins."""
    parts: list[bytes]
    """JSON objects, separated by commas."""

    @property
    def body(self) -> bytes:
        """The rows as the API takes them."""
        return b"[" + b",".join(self.parts) + b"]"

    def without(self, index: int) -> Chunk:
        """Return this chunk without one row."""
        rows = subscriber.ROWS.decode(self.body)
        return Chunk(
            self.raw[:index] + self.raw[index + 1 :],
            self.numbers[:index] + self.numbers[index + 1 :],
            [_objects(rows[:index] + rows[index + 1 :])],
        )


def read_chunks(lines: Lines, name: str, rules: Rules, rejects: Rejects) -> tuple[Format, Iterator[Chunk]]:
    """Recognise the format by the first line, and read the file. Raises ``UsageError`` if the file is unusable."""
    first = lines.first()
    if not first.strip():
        raise UsageError(f"{name}: is empty (CSV needs a header line, NDJSON one JSON object a line)")
    if first.lstrip().startswith(b"["):
        raise UsageError(f"{name}: is a JSON array (one object a line is needed: jq -c '.[]' FILE)")
    if first.lstrip().startswith(b"{"):
        return "ndjson", _gathered(_ndjson(lines, rules, rejects))
    number, header = lines.take_first()
    columns = Columns(name, number, header)
    rejects.header = header if header.endswith((b"\n", b"\r")) else header + b"\n"
    return "csv", _gathered(_csv(lines, columns, rules, rejects))


def _gathered(slices: Iterator[Chunk]) -> Iterator[Chunk]:
    """Combine slices into requests that are large enough for a round trip."""
    chunk = Chunk([], [], [])
    size = 0
    for part in slices:
        chunk.raw += part.raw
        chunk.numbers += part.numbers
        chunk.parts += part.parts
        size += sum(map(len, part.parts))
        if len(chunk.raw) > _REQUEST_ROWS - SLICE or size >= _REQUEST_BYTES:
            yield chunk
            chunk = Chunk([], [], [])
            size = 0
    if chunk.raw:
        yield chunk


def _objects(rows: list[Subscriber]) -> bytes:
    return _ENCODE(rows)[1:-1]


def _ndjson(lines: Lines, rules: Rules, rejects: Rejects) -> Iterator[Chunk]:
    for first, some in lines.slices():
        joined = b",".join(some)
        try:
            rows = subscriber.ROWS.decode(b"[" + joined + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            rows = []
        if len(rows) == len(some) and rules.all_good(rows):
            yield Chunk(some, list(range(first, first + len(some))), [joined])
        elif one_by_one := _good_lines(first, some, rules, rejects):
            yield one_by_one


def _good_lines(first: int, lines: list[bytes], rules: Rules, rejects: Rejects) -> Chunk | None:
    raw: list[bytes] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        problem: Problem | None
        try:
            row = subscriber.ROW.decode(line)
            problem = rules.check(row)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = subscriber.explain(_plain(line), error)
        if problem is None:
            raw.append(line)
            numbers.append(number)
        else:
            rejects.reject(number, problem, [line])
    return Chunk(raw, numbers, [b",".join(raw)]) if raw else None


def _plain(line: bytes) -> object:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Columns:
    """A checked CSV header; names the cells of a row."""

    def __init__(self, name: str, number: int, header: bytes) -> None:
        """Read ``header``, from line ``number`` of the file ``name`` (raises ``UsageError``)."""
        where = f"{name} line {number}"
        try:
            text = header.decode()
        except UnicodeDecodeError:
            raise UsageError(f"{where}: the header is not UTF-8 (save the file as UTF-8)") from None
        self.delimiter = max((",", ";", "\t"), key=text.count)
        try:
            names = [cell.strip() for cell in next(csv.reader([text], delimiter=self.delimiter, strict=True))]
        except csv.Error as error:
            raise UsageError(f"{where}: the header is not CSV: {error}") from None
        known = list(subscriber.FIELDS)
        for index, column in enumerate(names):
            if column in names[:index]:
                raise UsageError(f"{where}: column {shown(column)} is in the header twice (remove or rename one)")
            if column not in known and not (column.startswith("fields.") and len(column) > 7):
                near = difflib.get_close_matches(column.lower(), known, 1)
                guess = f"did you mean {near[0]}?" if near else "own data goes into columns named fields.NAME"
                raise UsageError(f"{where}: unknown column {shown(column)} ({guess}; known: {', '.join(known)})")
        for needed in ("channel", "token"):
            if needed not in names:
                raise UsageError(f"{where}: the header has no column {needed} (the first line names the columns)")
        self.names = names

    def records(self, rows: list[list[str]]) -> list[dict[str, Any]]:
        """Name the cells of all ``rows``, column by column (three times as fast as row by row).

        Raises ``ValueError`` if any row is bad; ``record`` then shows which.
        """
        if set(map(len, rows)) - {len(self.names)}:
            raise ValueError("a row and the header differ in their number of columns")
        names, columns = [], []
        own: list[tuple[str, tuple[str, ...]]] = []
        for name, cells in zip(self.names, zip(*rows, strict=True), strict=True):
            if name.startswith("fields."):
                own.append((name[7:], cells))
                continue
            names.append(name)
            convert = _CELLS.get(name)
            columns.append(list(map(convert, cells)) if convert else cells)
        records = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
        for name, cells in own:
            for record, cell in zip(records, cells, strict=True):
                if cell:
                    record.setdefault("fields", {})[name] = cell
        return records

    def record(self, cells: list[str]) -> dict[str, Any]:
        """Name the cells (raises ``ValueError`` carrying a ``Problem``)."""
        if len(cells) != len(self.names):
            what = f"has {len(cells)} columns where the header has {len(self.names)}"
            raise ValueError(Problem("line", what, f"quote texts with {self.delimiter!r} in them"))
        try:
            return self.records([cells])[0]
        except (msgspec.DecodeError, RecursionError):
            written = cells[self.names.index("fields")]
            what = f"{shown(written, 40)} is not a JSON object"
            raise ValueError(Problem("fields", what, 'as in {"first_name": "Ada"}')) from None


def _fields(cell: str) -> dict[str, str]:
    return _OBJECT.decode(cell) if cell else {}


# Text columns need no conversion, and are empty by default; in these columns an empty cell means "not given".
_OBJECT = msgspec.json.Decoder(dict[str, str])
_CELLS: dict[str, Callable[[str], object]] = {
    "id": lambda cell: cell or None,
    "kind": lambda cell: sys.intern(cell or "token"),  # omit_defaults compares str defaults by identity
    "best_minute": lambda cell: cell or None,
    "registered_at": lambda cell: cell or None,
    "tags": lambda cell: cell.split("|") if cell else [],
    "fields": _fields,
}


def _csv(lines: Lines, columns: Columns, rules: Rules, rejects: Rejects) -> Iterator[Chunk]:
    csv.field_size_limit(MAX_LINE)
    carry: list[bytes] = []
    for first, new in lines.slices():
        raw, cells, numbers, carry = _parse(first - len(carry), carry + new, columns.delimiter, rejects, last=False)
        if chunk := _checked(raw, cells, numbers, columns, rules, rejects):
            yield chunk
    if carry:
        raw, cells, numbers, _ = _parse(first + len(new) - len(carry), carry, columns.delimiter, rejects, last=True)
        if chunk := _checked(raw, cells, numbers, columns, rules, rejects):
            yield chunk


def _parse(
    first: int, lines: list[bytes], delimiter: str, rejects: Rejects, *, last: bool
) -> tuple[list[bytes], list[list[str]], list[int], list[bytes]]:
    """Split ``lines`` into records: raw bytes, cells, line numbers; and the lines of a record not yet complete."""
    texts = _decoded(first, lines, rejects)
    raw: list[bytes] = []
    rows: list[list[str]] = []
    numbers: list[int] = []
    start = 0
    while start < len(texts):
        reader = csv.reader(texts[start:], delimiter=delimiter, strict=True, skipinitialspace=True)
        base = begin = start
        try:
            for cells in reader:
                end = base + reader.line_num
                if cells:
                    rows.append(cells)
                    raw.append(lines[begin] if end - begin == 1 else b"".join(lines[begin:end]))
                    numbers.append(first + begin)
                begin = end
        except csv.Error as error:
            is_open = "unexpected end of data" in str(error)
            if is_open and not last and sum(map(len, lines[begin:])) < MAX_LINE:
                return raw, rows, numbers, lines[begin:]
            what = "a quote is opened but never closed" if is_open else f"is not CSV: {error}"
            rejects.reject(first + begin, Problem("line", what, 'write a quote within quotes as ""'), [lines[begin]])
            begin += 1
        start = begin
    return raw, rows, numbers, []


def _decoded(first: int, lines: list[bytes], rejects: Rejects) -> list[str]:
    """Decode each line; a line that is not UTF-8 is rejected and replaced by a blank one."""
    try:
        return [line.decode() for line in lines]
    except UnicodeDecodeError:
        texts = []
    for number, line in enumerate(lines, first):
        try:
            texts.append(line.decode())
        except UnicodeDecodeError as error:
            what = f"byte 0x{line[error.start]:02x} at column {error.start + 1} is not UTF-8"
            rejects.reject(number, Problem("line", what, "save the file as UTF-8"), [line])
            texts.append("\n")
            lines[number - first] = b"\n"  # the line may be carried over and decoded again
    return texts


def _checked(
    raw: list[bytes], cells: list[list[str]], numbers: list[int], columns: Columns, rules: Rules, rejects: Rejects
) -> Chunk | None:
    try:
        rows = msgspec.convert(columns.records(cells), list[Subscriber], strict=False)
        if rules.all_good(rows):
            return Chunk(raw, numbers, [_objects(rows)]) if rows else None
    except ValueError:  # msgspec's errors are ValueErrors too
        pass
    good: list[int] = []
    rows = []
    for index, row in enumerate(cells):
        checked = _checked_row(columns.record, row, rules)
        if isinstance(checked, Problem):
            rejects.reject(numbers[index], checked, [raw[index]])
        else:
            good.append(index)
            rows.append(checked)
    if not rows:
        return None
    return Chunk([raw[i] for i in good], [numbers[i] for i in good], [_objects(rows)])


def _checked_row(name: Callable[[list[str]], dict[str, Any]], cells: list[str], rules: Rules) -> Subscriber | Problem:
    record: dict[str, Any] | None = None
    try:
        record = name(cells)
        row = msgspec.convert(record, Subscriber, strict=False)
    except msgspec.ValidationError as error:
        return subscriber.explain(record, error)
    except ValueError as error:
        problem = error.args[0]
        return problem if isinstance(problem, Problem) else Problem("line", str(error))
    return rules.check(row) or row
