"""Has the pieces of a file read, here or in several processes, and gives them out in the order of the file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType

from broadside.imports.formats.pieces import Piece
from broadside.imports.formats.rows import FileRow
from broadside.imports.readers.layouts import Records
from broadside.imports.readers.piece_reader import PieceReader, Read
from broadside.imports.readers.reader_processes import ReaderProcesses
from broadside.imports.rules import Settings

ALONE = 8
"""Pieces (4 MiB) that are read here: starting processes takes as long as reading them."""
_AHEAD = 2
"""Pieces in each process's hand or on their way to it."""


@dataclass(slots=True)
class Part:
    """A piece that was read. ``line`` and ``offset``: what the file has before it."""

    piece: Piece
    read: Read
    line: int
    offset: int
    reader: PieceReader

    def origin(self, fragment: int, index: int) -> FileRow:
        """Return the record of one row of a fragment."""
        row = self.reader.origins(self.piece, fragment)[index]
        row.number += self.line
        return row


class Readings:
    """The parts of a file. What a piece leaves, as its last record does not end in it, goes to the next piece.

    A piece is handed out before it is known what the piece before it leaves: mostly nothing. Otherwise it is read
    again. So every part is the same, whether one process reads or several.
    """

    def __init__(self, records: Records, settings: Settings, processes: int) -> None:
        """Read ``records`` by the rules of ``settings``; ``processes``: how many read a large file."""
        self._pieces = records.pieces
        self._layout, self._settings = records.layout, settings
        self._line, self._offset = records.line, records.offset
        self._here = PieceReader(records.layout, settings)
        self._count = processes
        self.processes: ReaderProcesses | None = None
        self._waiting: deque[tuple[Piece, Future[Read] | None]] = deque()
        self._cut = 0

    def __enter__(self) -> Readings:
        """Start nothing yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End the processes."""
        if self.processes is not None:
            self.processes.close()

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts, each of which begins where the one before ended."""
        while self._fill():
            piece, future = self._waiting.popleft()
            read = self._here.read(piece) if future is None else future.result()
            yield Part(piece, read, self._line, self._offset, self._here)
            self._line += read.lines
            self._offset += read.taken
            if read.taken < len(piece.text) and not piece.last:
                self._give_on(piece, read.taken)

    def _fill(self) -> bool:
        """Have the next pieces read; returns whether there are any."""
        while len(self._waiting) < (1 if self.processes is None else self._count * _AHEAD):
            if (piece := next(self._pieces, None)) is None:
                break
            self._cut += 1
            if self._cut > ALONE and self._count > 1 and self.processes is None:
                self.processes = ReaderProcesses(self._layout, self._settings, self._count)
            self._submit(piece)
        return bool(self._waiting)

    def _give_on(self, piece: Piece, taken: int) -> None:
        """Join what was left of ``piece`` to the next one."""
        after = self._waiting.popleft()[0] if self._waiting else next(self._pieces)
        text = piece.text[taken:] + after.text
        joined = Piece(text, first=piece.first and not taken, last=after.last, within=after.within)
        self._submit(joined, at_once=True)

    def _submit(self, piece: Piece, *, at_once: bool = False) -> None:
        waits = piece, None if self.processes is None else self.processes.submit(piece)
        if at_once:
            self._waiting.appendleft(waits)
        else:
            self._waiting.append(waits)
