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

ALONE = 2
"""Pieces (1 MiB) that are read here before other processes are started: a smaller file is read when they would be."""
_AHEAD = 2
"""Pieces for each process, read or in its hand, that wait for the piece before them."""


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

    This process reads as well, from the first piece on, as the others need time to start: they get pieces when they
    are ready. A piece is read before it is known what the piece before it leaves: mostly nothing. Otherwise it is read
    again. So every part is the same, whether one process reads or several.
    """

    def __init__(self, records: Records, settings: Settings, processes: int) -> None:
        """Read ``records`` by the rules of ``settings``; ``processes``: how many read a large file, this one too."""
        self._pieces = records.pieces
        self._layout, self._settings = records.layout, settings
        self._line, self._offset = records.line, records.offset
        self._here = PieceReader(records.layout, settings)
        self._count = processes
        self.processes: ReaderProcesses | None = None
        self._waiting: deque[tuple[Piece, Read | Future[Read]]] = deque()
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
        while self._go_on():
            piece, found = self._waiting.popleft()
            read = found.result() if isinstance(found, Future) else found
            yield Part(piece, read, self._line, self._offset, self._here)
            self._line += read.lines
            self._offset += read.taken
            if read.taken < len(piece.text) and not piece.last:
                self._give_on(piece, read.taken)

    def _go_on(self) -> bool:
        """Read here until the next part is there, or enough parts wait for it; returns whether there is one."""
        while True:
            while self._wanted() and self.processes is not None and (piece := self._next()) is not None:
                self._waiting.append((piece, self.processes.submit(piece)))
            if self._waiting and (_is_read(self._waiting[0][1]) or len(self._waiting) >= self._count * _AHEAD):
                return True
            if (piece := self._next()) is None:
                return bool(self._waiting)
            self._waiting.append((piece, self._here.read(piece)))

    def _wanted(self) -> bool:
        """Whether another process wants a piece, and not too many parts wait yet."""
        return self.processes is not None and self.processes.free and len(self._waiting) < self._count * _AHEAD

    def _next(self) -> Piece | None:
        """Cut the next piece from the file."""
        piece = next(self._pieces, None)
        self._cut += 1
        if self._cut > ALONE and self._count > 1 and self.processes is None and piece is not None:
            self.processes = ReaderProcesses(self._layout, self._settings, self._count - 1)
        return piece

    def _give_on(self, piece: Piece, taken: int) -> None:
        """Join what was left of ``piece`` to the next one."""
        after = self._waiting.popleft()[0] if self._waiting else next(self._pieces)
        text = piece.text[taken:] + after.text
        joined = Piece(text, first=piece.first and not taken, last=after.last, within=after.within)
        self._waiting.appendleft((joined, self._here.read(joined)))


def _is_read(found: Read | Future[Read]) -> bool:
    return not isinstance(found, Future) or found.done()
