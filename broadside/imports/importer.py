"""Imports a file into the node: reads and checks rows while a few requests are in flight."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from broadside.errors import UsageError
from broadside.imports.formats.source import Source
from broadside.imports.mapping import UNKNOWN
from broadside.imports.readers.layouts import recognise
from broadside.imports.readers.parts import Readings
from broadside.imports.readers.piece_reader import Format, Read
from broadside.imports.readers.reader_processes import ReaderDied
from broadside.imports.rejects import Fault, Rejects
from broadside.imports.resume import Resume
from broadside.imports.rules import Rules
from broadside.imports.sender import Sender, Upsert

_IGNORED_SHOWN = 20
_REASONS = 100
"""Reasons to leave rows out that are counted apart."""


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
    processes: int = 1,
) -> Summary:
    """Send every row of ``file`` that keeps ``rules`` to ``upsert``; write every other row to ``rejected``.

    None as ``upsert`` or ``rejected``: nothing is sent, or written (a dry run). ``tell`` gets one line per bad row (the
    first 20); ``progress`` the bytes read and rows sent so far. ``processes``: those that read a large file; the result
    is the same for any number. Raises ``UsageError`` if the file is unusable, ``ApiError`` or ``NodeUnreachable`` if
    the node refuses or is gone, ``ReaderDied`` if one of the processes ends.
    """
    started = time.perf_counter()
    rejects = Rejects(name, rejected, tell)
    sender = Sender(name, upsert, rejects, resume or Resume())
    kept = None
    try:
        source = Source(file, name)
        records = recognise(source, rules)
        layout = records.layout
        if layout.header is not None:
            raw = layout.header.raw
            rejects.header = raw if raw.endswith((b"\n", b"\r")) else raw + b"\n"
            _tell_ignored(name, rules, tell)
        with sender, Readings(records, rules.settings, processes) as readings:
            for part in readings:
                _add_up(part.read, rules)
                for row in part.read.rejected:
                    if row.problem is not None:
                        row.number += part.line
                        rejects.reject(row, row.problem)
                if part.read.error:
                    raise UsageError(part.read.error)
                sender.send(part)
                progress(source.bytes_read, sender.rows + rejects.count)
            sender.flush()
            while sender.settle():
                progress(source.bytes_read, sender.rows + rejects.count)
    except ReaderDied as error:
        again = "go on with --resume" if sender.resumable else "import it again: existing rows are updated, not doubled"
        remedy = f"is memory short? {again}"
        raise ReaderDied(f"{error}; at least {sender.rows:,} rows of {name} were stored ({remedy})") from None
    finally:
        kept = rejects.close()
    if not sender.rows and not rejects.count and not rules.skipped:
        only = "a header" if layout.format == "csv" else "blank lines"
        raise UsageError(f"{name}: has no subscribers, only {only}")
    if layout.header is None:
        _tell_ignored(name, rules, tell)
    return Summary(
        name,
        layout.format,
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


def _add_up(read: Read, rules: Rules) -> None:
    rules.changes.merge(read.sums)
    for reason, rows in read.skipped.items():
        said = reason if reason in rules.skipped or len(rules.skipped) < _REASONS else "other reasons"
        rules.skipped[said] = rules.skipped.get(said, 0) + rows
    for name in read.unknown:
        if len(rules.mapping.unknown) < UNKNOWN:
            rules.mapping.unknown[name] = None


def _tell_ignored(name: str, rules: Rules, tell: Callable[[str], None]) -> None:
    if unknown := list(rules.mapping.unknown):
        more = f" and {len(unknown) - _IGNORED_SHOWN} more" if len(unknown) > _IGNORED_SHOWN else ""
        listed = ", ".join(" ".join(column.split())[:64] for column in unknown[:_IGNORED_SHOWN])
        tell(f"{name}: ignored columns: {listed}{more} (own data goes into columns named fields.NAME, or --map)")
