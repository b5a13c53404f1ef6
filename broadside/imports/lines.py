"""Reads a file's lines, numbered, a slice at a time, and keeps bad ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from broadside.errors import Problem, UsageError

MAX_LINE = 256 * 1024
"""Bytes. The largest valid row is smaller."""
SLICE = 250
"""Lines decoded at once. So few that their objects stay in the processor's cache: 5,000 took three times as long."""
_BLOCK = 256 * 1024
_TOLD = 20


class Rejects:
    """Bad lines: reports the first few, and keeps all unchanged in ``path``, to be fixed and imported again."""

    def __init__(self, name: str, path: Path, tell: Callable[[str], None]) -> None:
        """Report lines of the file ``name`` to ``tell``. The first bad line creates ``path``, readable only by us."""
        self.path = path
        self.count = 0
        self.header = b""
        """Written first (CSV)."""
        self._name, self._tell = name, tell
        self._file: BinaryIO | None = None

    def reject(self, line: int, problem: Problem, raw: Iterable[bytes]) -> None:
        """Report and keep one bad record that begins on ``line``."""
        self.count += 1
        if self.count <= _TOLD:
            self._tell(f"{self._name} line {line}: {problem}")
        if self._file is None:
            self._file = create_private(self.path)
            self._file.write(self.header)
        last = b""
        for last in raw:
            self._file.write(last)
        if not last.endswith((b"\n", b"\r")):
            self._file.write(b"\n")

    def close(self) -> None:
        """Close the file, and report how many bad lines were not shown."""
        if self._file is not None:
            self._file.close()
        if self.count > _TOLD:
            self._tell(f"{self._name}: {self.count - _TOLD:,} more bad lines, not shown")


def create_private(path: Path) -> BinaryIO:
    """Open ``path`` empty for writing, readable only by us because it will contain tokens (raises ``UsageError``)."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror} (choose a folder that is writable)") from None
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb")


class Lines:
    """The lines of a binary file, of any length, a few at a time."""

    def __init__(self, file: BinaryIO, name: str, rejects: Rejects) -> None:
        """Read ``file``; a line longer than ``MAX_LINE`` goes to ``rejects``. ``UsageError``: it is not text."""
        self._file, self._name, self._rejects = file, name, rejects
        self._number = 1
        self.bytes_read = 0
        """Bytes taken from the file so far, for a progress bar."""
        self._carry = self._read()
        self._start()

    def first(self) -> bytes:
        """Return the first line that is not blank, without taking it; empty for an empty file."""
        while True:
            lines = self._carry.splitlines(keepends=True)
            for index, line in enumerate(lines):
                if line.strip() and (line.endswith(b"\n") or index + 1 < len(lines)):
                    return line
            if not (block := self._read()):
                return next((line for line in lines if line.strip()), b"")
            self._carry += block
            if len(self._carry) > 4 * MAX_LINE:
                return self._carry.lstrip()[:MAX_LINE]

    def take_first(self) -> tuple[int, bytes]:
        """Take the first line that is not blank (CSV's header), with its number."""
        line = self.first()
        before, _, self._carry = self._carry.partition(line)
        number = self._number + before.count(b"\n")
        self._number = number + 1
        return number, line

    def slices(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield (number of the first line, lines with their ends), ``SLICE`` lines at most."""
        for lines in self._lines():
            for start in range(0, len(lines), SLICE):
                part = lines[start : start + SLICE]
                yield self._number, part
                self._number += len(part)

    def _lines(self) -> Iterator[list[bytes]]:
        taken = self._number
        carry, self._carry = self._carry, b""
        block = carry or self._read()
        carry = b""
        while block:
            lines = (carry + block).splitlines(keepends=True)
            carry = b""
            # the last line may continue in the next block, and so may "\r\n"
            if lines and not lines[-1].endswith(b"\n"):
                carry = lines.pop()
            taken += len(lines)
            if lines:
                yield lines
            if len(carry) > MAX_LINE:
                rest = self._overlong(taken, carry)
                taken += 1
                yield [b"\n"]  # keeps its place in the count
                carry = rest
            block = self._read()
        if carry:
            yield carry.splitlines(keepends=True)

    def _overlong(self, number: int, begun: bytes) -> bytes:
        """Write one overlong line to the rejects, block by block; return the bytes after it."""
        after = b""

        def pieces() -> Iterator[bytes]:
            nonlocal after
            yield begun
            while block := self._read():
                end = block.find(b"\n") + 1
                yield block[:end] if end else block
                if end:
                    after = block[end:]
                    return

        what = f"is longer than {MAX_LINE // 1024} KiB"
        self._rejects.reject(number, Problem("line", what, "one subscriber a line"), pieces())
        return after

    def _read(self) -> bytes:
        try:
            block = self._file.read(_BLOCK)
        except OSError as error:
            raise UsageError(f"{self._name}: cannot be read: {error.strerror}") from None
        self.bytes_read += len(block)
        return block

    def _start(self) -> None:
        if self._carry.startswith(b"\x1f\x8b"):
            raise UsageError(f"{self._name}: is compressed (gunzip -c FILE | broadside subscribers import -)")
        if self._carry.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UsageError(f"{self._name}: is UTF-16 (save it as UTF-8)")
        if self._carry.startswith(b"PK\x03\x04"):
            raise UsageError(f"{self._name}: is a spreadsheet or ZIP archive (export it as CSV, UTF-8)")
        self._carry = self._carry.removeprefix(b"\xef\xbb\xbf")
