"""How long the path of a Unix socket may be, and where the socket lies instead if its path is too long."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

LONGEST = 100
"""Bytes. Linux takes 107, macOS 103."""
_ROOM = len(os.sep + os.path.join("d", "listen.sock"))  # noqa: PTH118 - only its length counts


def fits(path: Path) -> bool:
    """Whether a socket can be made at this path, and reached there."""
    return len(os.fsencode(path)) <= LONGEST


def short_folder(folder: Path) -> Path:
    """The private folder for the sockets of ``folder``, whose own path is too long; it need not exist yet.

    It is always the same for the same folder, so that starts that were killed leave one and not many. It is in the
    user's folder for sockets or for temporary files, or in ``/tmp`` if those paths are too long as well.
    """
    name = f"bs-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]}"
    for place in map(Path, (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir())):
        short = place / name
        if place.is_absolute() and place.is_dir() and len(os.fsencode(short)) + _ROOM <= LONGEST:
            return short
    return Path("/tmp") / name  # noqa: S108 - the folder is private, and checked before it is used


def make_private(folder: Path) -> None:
    """Make a folder that is this user's alone. Raises ``PermissionError`` if somebody else has made it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{folder} is not a private folder of this user: remove it, or give the data folder a path of at most "
            f"{LONGEST - 30} characters"
        )
