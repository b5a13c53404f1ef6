"""Reads pieces of a file for the process that imports it. It imports little, to start fast."""

from __future__ import annotations

import gc
import os
import sys
from typing import IO

import msgspec

from broadside.imports.formats.pieces import Piece
from broadside.imports.readers.piece_reader import Layout, PieceReader
from broadside.imports.rules import Settings

READY = b"ready"
"""The first frame of a reader's process: it has started."""
_SIZE = 4
"""Bytes of a frame's length."""


class ReaderTask(msgspec.Struct):
    """What a reader's process gets first."""

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
    if (frame := receive(pieces)) is None:
        return
    task = msgspec.msgpack.decode(frame, type=ReaderTask)
    reader = PieceReader(task.layout, task.settings)
    write(answers, READY)
    while (frame := receive(pieces)) is not None:
        write(answers, msgspec.msgpack.encode(reader.read(msgspec.msgpack.decode(frame, type=Piece))))


def write(pipe: IO[bytes], frame: bytes) -> None:
    """Write ``frame`` after its length."""
    pipe.write(len(frame).to_bytes(_SIZE, "big") + frame)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Read a frame; None: the pipe has ended."""
    size = int.from_bytes(pipe.read(_SIZE), "big")
    frame = pipe.read(size)
    return frame if size and len(frame) == size else None
