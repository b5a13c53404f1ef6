"""Reports bad records, and keeps them in a file of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from broadside.errors import Problem
from broadside.imports.formats.rows import FileRow
from broadside.imports.private_file import PrivateFile

_TOLD = 20
_EXAMPLES = 10


@dataclass(slots=True)
class Fault:
    """All problems of one kind."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    """The first ten, each with its line."""


class Rejects:
    """Bad records: reports the first few, counts all by kind, and keeps them unchanged, to be fixed and imported."""

    def __init__(self, name: str, path: Path | None, tell: Callable[[str], None]) -> None:
        """Report records of the file ``name`` to ``tell``; None as ``path``: keep and report none, only count.

        ``path`` is written when the import has ended, readable only by us.
        """
        self.count = 0
        self.faults: dict[str, Fault] = {}
        """By field and remedy."""
        self.header = b""
        """Written first (CSV)."""
        self._name, self._path, self._tell = name, path, tell
        self._kept: PrivateFile | None = None
        self._ended = True

    def reject(self, row: FileRow, problem: Problem) -> None:
        """Report and keep one record."""
        if not row.more:
            self.count += 1
            fault = self.faults.setdefault(f"{problem.where}: {problem.remedy or problem.what}", Fault())
            fault.count += 1
            if len(fault.examples) < _EXAMPLES:
                fault.examples.append(f"line {row.number}: {problem}")
            if self.count <= _TOLD and self._path is not None:
                self._tell(f"{self._name} line {row.number}: {problem}")
        if self._path is None:
            return
        if self._kept is None:
            self._kept = PrivateFile(self._path)
            self._kept.file.write(self.header)
        elif not row.more and not self._ended:
            self._kept.file.write(b"\n")
        self._kept.file.write(row.raw)
        self._ended = row.raw.endswith((b"\n", b"\r"))

    def close(self) -> str | None:
        """Put the file in its place, report how many records were not shown, and return the file's name."""
        if self._path is None:
            return None
        if self.count > _TOLD:
            self._tell(f"{self._name}: {self.count - _TOLD:,} more bad lines, not shown")
        if self._kept is None:
            return None
        if not self._ended:
            self._kept.file.write(b"\n")
        self._kept.replace()
        return str(self._path)
