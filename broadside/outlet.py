"""Writes a node's log lines and terminal output. A line that cannot be written is counted as lost, and blocks nobody.

Each outlet writes in its own thread, because a write may block for ever: a pipe that nobody reads, a disk that hangs.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

LARGEST_BACKLOG = 4 << 20
"""Bytes that may wait to be written; further lines are lost."""

_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    r"""Write control characters as ``\u001b``, so that a text from outside cannot steer a terminal or hide a line.

    Every line for a person or a log goes through here. Tabs and newlines stay. So do JSON's meaning and validity: JSON
    has control characters only inside texts, and reads this spelling. Characters that change the writing direction are
    rewritten too, because they could show a line's end before its beginning.
    """
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Outlet:
    """A text stream on top of ``write``, which takes bytes and may raise OSError or block.

    ``notice(lines, why)`` returns the line to write, once writing works again, about the lines that were lost.
    """

    def __init__(self, name: str, write: Callable[[bytes], None], notice: Callable[[int, str], str]) -> None:
        self.name = name
        self.encoding = "utf-8"
        self.terminal = False
        self._write = write
        self._notice = notice
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._why = ""
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"outlet {name}", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why lines are being lost, and how many have been; empty if none are."""
        with self._changed:
            return f"{self._why} ({self._lost:,} lines lost so far)" if self._lost else ""

    def write(self, text: str) -> int:
        """Queue ``text`` for writing."""
        data = text.encode(self.encoding, "backslashreplace")
        with self._changed:
            if self._size + len(data) > LARGEST_BACKLOG:
                self._lose(data, "nobody reads them")
            else:
                self._waiting.append(data)
                self._size += len(data)
                self._changed.notify()
        return len(text)

    def flush(self) -> None:
        """Do nothing: `close` waits."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.terminal

    def close(self, seconds: float = 1.0) -> None:
        """Write the waiting lines, for ``seconds`` at most."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _lose(self, data: bytes, why: str) -> None:
        self._lost += data.count(b"\n")
        self._why = why

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closing:
                        return
                    self._changed.wait()
                data = b"".join(self._waiting)
                self._waiting.clear()
                lost, why = self._lost, self._why
            # the first newline ends a line that was cut off
            notice = f"\n{self._notice(lost, why)}\n".encode(self.encoding, "backslashreplace") if lost else b""
            try:
                self._write(notice + data)
            except (OSError, ValueError) as error:
                with self._changed:
                    self._size -= len(data)
                    self._lose(data, getattr(error, "strerror", None) or str(error))
            else:
                with self._changed:
                    self._size -= len(data)
                    self._lost -= lost


def standard(stream: TextIO | None, name: str, notice: Callable[[int, str], str]) -> Outlet:
    """An outlet to standard output or error. ``stream``: ``sys.stdout`` or ``sys.stderr``; None: it was closed."""
    write = _nowhere
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        try:
            write = _Descriptor(stream.fileno()).write
        except (OSError, ValueError, io.UnsupportedOperation):  # a Python stream without a descriptor

            def write(data: bytes, to: TextIO = stream) -> None:
                to.write(data.decode(getattr(to, "encoding", None) or "utf-8", "replace"))
                to.flush()

    outlet = Outlet(name, write, notice)
    if stream is not None:
        outlet.encoding = getattr(stream, "encoding", None) or "utf-8"
        with contextlib.suppress(OSError, ValueError):
            outlet.terminal = stream.isatty()
    return outlet


def open_standard_streams() -> None:
    """Open the descriptors 0, 1 and 2 if they are closed, so that no file of ours gets their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _nowhere(data: bytes) -> None:
    raise OSError("it was closed when the process started")


class _Descriptor:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process on this terminal made it non-blocking
                select.select([], [self._descriptor], [])


class RotatingFile:
    """Appends to ``path``, mode 0600; at ``largest`` bytes the file becomes ``path.1`` and so on, ``keep`` of them."""

    def __init__(self, path: Path, largest: int, keep: int) -> None:
        self._path, self._largest, self._keep = path, largest, keep
        self._descriptor: int | None = None

    def write(self, data: bytes) -> None:
        """Write all of ``data``, or raise OSError; the next call then reopens the file."""
        try:
            if self._descriptor is None:
                self._open()
            assert self._descriptor is not None
            there = os.fstat(self._descriptor)
            if stat.S_ISREG(there.st_mode) and there.st_size > 0 and there.st_size + len(data) > self._largest:
                self._rotate()
            _Descriptor(self._descriptor).write(data)
        except OSError:
            self._close()
            raise

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.fchmod(self._descriptor, 0o600)  # it may be older, and open to others

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _rotate(self) -> None:
        self._close()
        for number in range(self._keep, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                older.replace(self._path.with_name(f"{self._path.name}.{number}"))
        self._open()
