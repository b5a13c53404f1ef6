"""Writes a file with tokens in it: readable only by us, and complete or not there."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from broadside.errors import UsageError


class PrivateFile:
    """A temporary file that takes the place of ``path`` at ``replace``.

    So nothing is written through a symbolic link, and whoever reads ``path`` sees the old file or the new one.
    """

    def __init__(self, path: Path) -> None:
        """Create the temporary file beside ``path``. Raises ``UsageError``."""
        self._path = path
        try:
            if _special(path):
                raise UsageError(f"{path}: is not a file (name one, or one that does not exist yet)")
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-")
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise UsageError(f"{path}: cannot be written: {reason} (choose a folder that is writable)") from None
        self._temporary = Path(name)
        self.file: BinaryIO = os.fdopen(descriptor, "wb")

    def replace(self) -> None:
        """Put the file in its place."""
        self.file.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Leave no trace."""
        self.file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> BinaryIO:
        """Return the file to write to."""
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Put the file in its place, or discard it after an error."""
        self.replace() if kind is None else self.discard()


def _special(path: Path) -> bool:
    """Whether ``path`` is a folder, a device or a pipe, which must not be replaced."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode))
