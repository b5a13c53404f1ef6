"""A file with tokens in it, at a place that a person chose."""

from __future__ import annotations

import stat
from pathlib import Path

from broadside.errors import UsageError
from storage.whole_file import WholeFile


class PrivateFile(WholeFile):
    """A whole file, refused in a person's words if it cannot be made."""

    def __init__(self, path: Path) -> None:
        """Create the temporary file beside ``path``. Raises ``UsageError``."""
        try:
            if _special(path):
                raise UsageError(f"{path}: is not a file (name one, or one that does not exist yet)")
            super().__init__(path)
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise UsageError(f"{path}: cannot be written: {reason} (choose a folder that is writable)") from None


def _special(path: Path) -> bool:
    """Whether ``path`` is a folder, a device or a pipe, which must not be replaced."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode))
