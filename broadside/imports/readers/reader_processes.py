"""Reads pieces of a file in processes of their own, one for each core."""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

import msgspec

from broadside.errors import BroadsideError
from broadside.imports.formats.pieces import Piece
from broadside.imports.readers.piece_reader import Layout, PieceReader, Read
from broadside.imports.rules import Settings

MOST = 8
"""Processes. No node takes rows faster than these read them."""
_SIZE = 4
"""Bytes of a frame's length."""


class ReaderDied(BroadsideError):
    """A process that reads the file has ended."""


class _Task(msgspec.Struct):
    layout: Layout
    settings: Settings


def serve() -> None:
    """Read pieces from stdin until it ends, as it does when the process that imports ends, however that happens."""
    gc.disable()  # rows are made by the thousand and freed at once: the collector would scan them for nothing
    try:
        _serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(1)  # without another try to send what nobody reads


def _serve(pieces: IO[bytes], answers: IO[bytes]) -> None:
    if (frame := _receive(pieces)) is None:
        return
    task = msgspec.msgpack.decode(frame, type=_Task)
    reader = PieceReader(task.layout, task.settings)
    while (frame := _receive(pieces)) is not None:
        _write(answers, msgspec.msgpack.encode(reader.read(msgspec.msgpack.decode(frame, type=Piece))))


class ReaderProcesses:
    """Processes that read pieces. They end when this process does."""

    def __init__(self, layout: Layout, settings: Settings, count: int) -> None:
        """Start ``count`` processes."""
        self._all: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="reader")
        task = msgspec.msgpack.encode(_Task(layout, settings))
        try:
            for _ in range(count):
                process = _start()
                self._all.append(process)
                self._idle.put(process)
                _send(process, task)
        except BaseException:
            self.close()
            raise

    @property
    def ids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self._all]

    def submit(self, piece: Piece) -> Future[Read]:
        """Have ``piece`` read. The result raises ``ReaderDied``."""
        return self._threads.submit(self._read, piece)

    def close(self) -> None:
        """End the processes."""
        for process in self._all:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._all:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # what was not sent yet is for nobody
                        pipe.close()

    def _read(self, piece: Piece) -> Read:
        process = self._idle.get()
        try:
            _send(process, msgspec.msgpack.encode(piece))
            answer = _receive(process.stdout) if process.stdout is not None else None
            if answer is None:
                raise _died(process)
            return msgspec.msgpack.decode(answer, type=Read)
        finally:
            self._idle.put(process)


def _start() -> subprocess.Popen[bytes]:
    # -P: a file of the working folder is no module of ours; a session of its own: Ctrl-C is for the import alone
    command = [sys.executable, "-P", "-m", "broadside.imports.readers"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def _send(process: subprocess.Popen[bytes], frame: bytes) -> None:
    try:
        if process.stdin is not None:
            _write(process.stdin, frame)
    except (BrokenPipeError, ValueError):
        raise _died(process) from None


def _died(process: subprocess.Popen[bytes]) -> ReaderDied:
    code = process.wait()
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return ReaderDied(f"a process that reads the file {how}")


def _write(pipe: IO[bytes], frame: bytes) -> None:
    pipe.write(len(frame).to_bytes(_SIZE, "big") + frame)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    size = int.from_bytes(pipe.read(_SIZE), "big")
    frame = pipe.read(size)
    return frame if size and len(frame) == size else None
