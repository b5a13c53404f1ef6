"""Imports a file into the node: reads and checks rows while a few requests are in flight."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from broadside.api.api_client import Imported
from broadside.api.subscriber import Subscriber
from broadside.errors import ApiError, NodeUnreachable, Problem, RecordError, UsageError
from broadside.imports.reader import Format, Records, read_records
from broadside.imports.rejects import Fault, Rejects
from broadside.imports.resume import Resume
from broadside.imports.rows import FileRow
from broadside.imports.rules import Rules
from broadside.imports.source import Source

_IN_FLIGHT = 3
_REQUEST_ROWS = 2_500
_REQUEST_BYTES = 1024 * 1024
_SLICE = 250
"""Rows whose tokens are checked at once. So few that their objects stay in the processor's cache."""
_REFUSALS = 100
"""Rows that the node may refuse although they passed here; if it refuses more, the rows are not the cause."""
_IGNORED_SHOWN = 20


class Upsert(Protocol):
    """Sends the body of one chunk (``Client.upsert``)."""

    def __call__(self, body: bytes) -> Imported:
        """Raise ``ApiError`` or ``NodeUnreachable``."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of an import. ``inserted`` of a dry run: the rows that would be sent."""

    file: str
    format: Format
    inserted: int
    updated: int
    rejected: int
    rejected_file: str | None
    seconds: float
    sent_before: int = 0
    """Rows that an earlier, interrupted import had stored."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Reason → rows that the map leaves out."""
    ignored_columns: list[str] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)
    """``converted`` and ``dropped``: field → count and examples."""
    faults: dict[str, Fault] = field(default_factory=dict)
    replaces: dict[str, int] = field(default_factory=dict)
    """``moved``, ``merged``, ``unknown`` → tokens that rows named as replaced."""

    @property
    def rate(self) -> float:
        """Rows a second, good and bad together."""
        return (self.inserted + self.updated + self.rejected) / max(self.seconds, 1e-9)


@dataclass(slots=True)
class _Chunk:
    """Good rows for one request, and where each came from."""

    origins: list[FileRow] = field(default_factory=list)
    rows: list[Subscriber] = field(default_factory=list)
    size: int = 0

    def body(self) -> bytes:
        return msgspec.json.encode(self.rows)

    def without(self, index: int) -> _Chunk:
        return _Chunk(
            self.origins[:index] + self.origins[index + 1 :], self.rows[:index] + self.rows[index + 1 :], self.size
        )


def import_file(
    file: BinaryIO,
    name: str,
    rejected: Path | None,
    upsert: Upsert | None,
    rules: Rules,
    *,
    tell: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, rows: None,
    resume: Resume | None = None,
) -> Summary:
    """Send every row of ``file`` that keeps ``rules`` to ``upsert``; write every other row to ``rejected``.

    None as ``upsert`` or ``rejected``: nothing is sent, or written (a dry run). ``tell`` gets one line per bad row (the
    first 20); ``progress`` the bytes read and rows sent so far. Raises ``UsageError`` if the file is unusable,
    ``ApiError`` or ``NodeUnreachable`` if the node refuses or is gone.
    """
    started = time.perf_counter()
    rejects = Rejects(name, rejected, tell)
    sender = _Sender(name, upsert, rejects, resume or Resume())
    kept = None
    try:
        source = Source(file, name)
        records = read_records(source, rules)
        rejects.header = records.header if records.header.endswith((b"\n", b"\r")) else records.header + b"\n"
        if not records.header:
            rejects.header = b""
        _tell_ignored(name, records, rules, tell)
        with sender:
            for chunk in _chunks(records.rows, rules, rejects):
                sender.send(chunk)
                progress(source.bytes_read, sender.rows + rejects.count)
            while sender.settle():
                progress(source.bytes_read, sender.rows + rejects.count)
    finally:
        kept = rejects.close()
    if not sender.rows and not rejects.count and not rules.skipped:
        only = "a header" if records.format == "csv" else "blank lines"
        raise UsageError(f"{name}: has no subscribers, only {only}")
    if records.format != "csv":
        _tell_ignored(name, None, rules, tell)
    return Summary(
        name,
        records.format,
        sender.inserted,
        sender.updated,
        rejects.count,
        kept,
        time.perf_counter() - started,
        sender.sent_before,
        rules.skipped,
        list(rules.mapping.unknown),
        rules.changes.report(),
        rejects.faults,
        dict(sender.replaces),
    )


def _tell_ignored(name: str, records: Records | None, rules: Rules, tell: Callable[[str], None]) -> None:
    unknown = list(rules.mapping.unknown)
    if unknown and (records is None or records.format == "csv"):
        more = f" and {len(unknown) - _IGNORED_SHOWN} more" if len(unknown) > _IGNORED_SHOWN else ""
        listed = ", ".join(" ".join(column.split())[:64] for column in unknown[:_IGNORED_SHOWN])
        tell(f"{name}: ignored columns: {listed}{more} (own data goes into columns named fields.NAME, or --map)")


def _chunks(rows: Iterator[FileRow], rules: Rules, rejects: Rejects) -> Iterator[_Chunk]:
    """Check the rows, and gather them into requests that are large enough for a round trip."""
    chunk, part = _Chunk(), _Chunk()
    for row in rows:
        if row.problem is not None:
            rejects.reject(row, row.problem)
            continue
        try:
            subscriber = rules.read(row.record)
        except RecordError as error:
            rejects.reject(row, error.problem)
            continue
        if subscriber is None:
            continue
        part.origins.append(row)
        part.rows.append(subscriber)
        part.size += len(row.raw)
        if len(part.rows) >= _SLICE or part.size >= _REQUEST_BYTES:
            _merge(chunk, part, rules, rejects)
            part = _Chunk()
            if len(chunk.rows) > _REQUEST_ROWS - _SLICE or chunk.size >= _REQUEST_BYTES:
                yield chunk
                chunk = _Chunk()
    _merge(chunk, part, rules, rejects)
    if chunk.rows:
        yield chunk


def _merge(chunk: _Chunk, part: _Chunk, rules: Rules, rejects: Rejects) -> None:
    """Add the rows of ``part`` with good tokens to ``chunk``."""
    if not rules.tokens_good(part.rows):
        checked = part
        part = _Chunk(size=checked.size)
        for origin, row in zip(checked.origins, checked.rows, strict=True):
            if problem := rules.token_problem(row):
                rejects.reject(origin, problem)
            else:
                part.origins.append(origin)
                part.rows.append(row)
    chunk.origins += part.origins
    chunk.rows += part.rows
    chunk.size += part.size


class _Sender:
    """Sends chunks, a few at a time, and settles them in the order of the file."""

    def __init__(self, name: str, upsert: Upsert | None, rejects: Rejects, resume: Resume) -> None:
        self.inserted = self.updated = self.sent_before = 0
        self.replaces: Counter[str] = Counter()
        self._name, self._upsert, self._rejects, self._resume = name, upsert, rejects, resume
        self._refused = 0
        self._waiting: deque[tuple[_Chunk, Future[Imported]]] = deque()
        self._pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="import")

    @property
    def rows(self) -> int:
        """Rows stored so far."""
        return self.inserted + self.updated + self.sent_before

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)
        self._resume.close(finished=kind is None)

    def send(self, chunk: _Chunk) -> None:
        if self._upsert is None:
            self.inserted += len(chunk.rows)
        elif chunk.origins[-1].number < self._resume.line:
            self.sent_before += len(chunk.rows)
        else:
            self._waiting.append((chunk, self._pool.submit(self._upsert, chunk.body())))
            while len(self._waiting) >= _IN_FLIGHT:
                self.settle()

    def settle(self) -> bool:
        """Wait for the oldest request; returns whether there was one."""
        if not self._waiting:
            return False
        chunk, future = self._waiting.popleft()
        try:
            answer = future.result()
        except ApiError as error:
            if error.status == 507:
                again = "then import the file again: existing rows are updated, not doubled"
                text = f"{error.message}; at least {self.rows:,} rows of {self._name} were stored, and stay"
                raise ApiError(507, text, remedy=f"{error.remedy}, {again}") from error
            self._reject(chunk, error)
            return True
        except NodeUnreachable as error:
            hint = "import the file again once the node runs: existing rows are updated, not doubled"
            stored = f"at least {self.rows:,} rows of {self._name} were stored"
            raise NodeUnreachable(f"{error}; {stored} ({hint})") from error
        self.inserted += answer.inserted
        self.updated += answer.updated
        self.replaces.update(answer.replaces)
        if not self._refused:  # a resumed import must reject those again
            self._resume.reached(chunk.origins[-1].number)
        return True

    def _reject(self, chunk: _Chunk, error: ApiError) -> None:
        """Reject the row that the node refused, and send the others again."""
        if error.index is None or not error.index < len(chunk.rows) or self._refused >= _REFUSALS:
            raise error
        self._refused += 1
        problem = Problem(error.field or "line", error.message, error.remedy, error.value)
        self._rejects.reject(chunk.origins[error.index], problem)
        rest = chunk.without(error.index)
        if rest.rows and self._upsert is not None:
            self._waiting.appendleft((rest, self._pool.submit(self._upsert, rest.body())))
