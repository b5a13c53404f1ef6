"""Writes a file that only its owner can read, and that is there as a whole or not at all."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO


class WholeFile:
    """A temporary file that takes the place of ``path`` at ``replace``.

    So nothing is written through a symbolic link, and whoever reads ``path`` sees the old file or the new one.
    ``durable``: the new one is on the disk when ``replace`` returns, and a power cut does not take it.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        """Create the temporary file beside ``path``, mode 0600. Raises ``OSError``."""
        self._path = path
        self._durable = durable
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path))
        self._temporary = Path(name)
        self.file: BinaryIO = os.fdopen(descriptor, "wb")

    def replace(self) -> None:
        """Put the file in its place. Raises ``OSError``, and then leaves no trace."""
        try:
            if self._durable:
                self.file.flush()
                os.fsync(self.file.fileno())
            self.file.close()
            self._temporary.replace(self._path)
        except BaseException:
            self.discard()
            raise
        if self._durable:
            sync_folder(self._path.parent)

    def discard(self) -> None:
        """Leave no trace."""
        self._temporary.unlink(missing_ok=True)
        self.file.close()

    def __enter__(self) -> BinaryIO:
        """Return the file to write to."""
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Put the file in its place, or discard it after an error."""
        self.replace() if kind is None else self.discard()


def write_whole(path: Path, content: bytes) -> None:
    """Write ``path`` durably. Nobody else may be writing it: what a killed process left of it is removed."""
    for left in path.parent.glob(f"{glob.escape(_prefix(path))}*"):
        left.unlink(missing_ok=True)
    with WholeFile(path, durable=True) as file:
        file.write(content)


def _prefix(path: Path) -> str:
    return f".{path.name[:100]}-"


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder durable. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
