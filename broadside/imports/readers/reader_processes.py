"""Reads pieces of a file in processes of their own, beside the process that imports."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from collections import deque
from concurrent.futures import Future
from threading import Thread
from typing import IO

import msgspec

from broadside.errors import BroadsideError
from broadside.imports.formats.pieces import Piece
from broadside.imports.readers.piece_reader import Layout, Read
from broadside.imports.readers.serving import READY, ReaderTask, receive, write
from broadside.imports.rules import Settings

MOST = 8
"""Processes, with the one that imports. No node takes rows faster than these read them."""
_AHEAD = 2
"""Pieces in a process's hand or on their way to it: it begins the next one before its answer is taken."""
_ROOM = 1024 * 1024
"""Bytes of a pipe, where the system lets us choose: a piece goes into it at once, and nobody waits for the other."""


class ReaderDied(BroadsideError):
    """A process that reads the file has ended."""


class ReaderProcesses:
    """Processes that read pieces. They end when this process does."""

    def __init__(self, layout: Layout, settings: Settings, count: int) -> None:
        """Start ``count`` processes."""
        self._all: list[_Reader] = []
        task = msgspec.msgpack.encode(ReaderTask(layout, settings))
        try:
            for _ in range(count):
                self._all.append(_Reader())
            for reader in self._all:
                reader.send(task)
        except BaseException:
            self.close()
            raise

    @property
    def ids(self) -> list[int]:
        """Their process ids."""
        return [reader.process.pid for reader in self._all]

    @property
    def free(self) -> bool:
        """Whether one of them has started and wants a piece. Raises ``ReaderDied``."""
        return any(reader.wants for reader in self._all)

    def submit(self, piece: Piece) -> Future[Read]:
        """Have ``piece`` read by the one that has least to do. Both this and the result raise ``ReaderDied``."""
        return min((reader for reader in self._all if reader.wants), key=lambda reader: reader.given).submit(piece)

    def close(self) -> None:
        """End the processes."""
        for reader in self._all:
            reader.process.kill()
        for reader in self._all:
            reader.close()


class _Reader:
    """One process, and the thread that takes its answers."""

    def __init__(self) -> None:
        """Start it."""
        # -P: a file of the working folder is no module of ours; a session of its own: Ctrl-C is for the import alone
        command = [sys.executable, "-P", "-m", "broadside.imports.readers"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._pieces, self._answers = self.process.stdin, self.process.stdout
        _widen(self._pieces)
        _widen(self._answers)
        self._ready: Future[None] = Future()
        self._given: deque[Future[Read]] = deque()
        self._thread = Thread(target=self._take_answers, name="reader", daemon=True)
        self._thread.start()

    @property
    def given(self) -> int:
        """Pieces that it has not answered."""
        return len(self._given)

    @property
    def wants(self) -> bool:
        """Whether it has started, and can be given a piece. Raises ``ReaderDied``."""
        if not self._ready.done():
            return False
        self._ready.result()
        return len(self._given) < _AHEAD

    def submit(self, piece: Piece) -> Future[Read]:
        """Have ``piece`` read. Both this and the result raise ``ReaderDied``."""
        future: Future[Read] = Future()
        self._given.append(future)
        self.send(msgspec.msgpack.encode(piece))
        return future

    def send(self, frame: bytes) -> None:
        """Send it ``frame``. Raises ``ReaderDied``."""
        try:
            write(self._pieces, frame)
        except BrokenPipeError:
            raise _died(self.process) from None

    def close(self) -> None:
        """Wait for its end."""
        self._thread.join()
        self.process.wait()
        for pipe in (self._pieces, self._answers):
            with contextlib.suppress(BrokenPipeError):  # what was not sent yet is for nobody
                pipe.close()

    def _take_answers(self) -> None:
        if receive(self._answers) == READY:
            self._ready.set_result(None)
            while (answer := receive(self._answers)) is not None:
                self._given.popleft().set_result(msgspec.msgpack.decode(answer, type=Read))
        # it has ended: whoever submits a piece from now on finds its pipe broken
        error = _died(self.process)
        if not self._ready.done():
            self._ready.set_exception(error)
        while self._given:
            self._given.popleft().set_exception(error)


def _died(process: subprocess.Popen[bytes]) -> ReaderDied:
    code = process.wait()
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return ReaderDied(f"a process that reads the file {how}")


def _widen(pipe: IO[bytes]) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # this machine has a lower limit
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _ROOM)
