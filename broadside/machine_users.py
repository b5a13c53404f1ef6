"""The users of this machine: whose a file or a folder is, and where a user's home is."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

from broadside.errors import UsageError, shown

_MOUNTS = Path("/proc/self/mountinfo")


def stranger(owner: int) -> str | None:
    """The name of the user ``owner`` if this process must not trust its files; None for its own user, and for root.

    A configuration or a data folder decides with whom we speak, so it must be nobody else's.
    """
    return None if owner in (os.geteuid(), 0) else user_name(owner)


def mounted(file: Path) -> bool:
    """Whether this very file is a mount point: whoever may mount chose it, as an engine does for a container.

    So its owner, who has a number on another machine, or none here, is no stranger. With FUSE every user may mount.
    """
    try:
        mounts = _MOUNTS.read_text()
    except OSError:  # not Linux
        return False
    places = (line.split(" ", 5)[4] for line in mounts.splitlines() if " - fuse" not in line)
    return str(file.resolve()) in {re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), place) for place in places}


def user_name(number: int) -> str:
    """The user's name; ``user 1234`` if the machine has none for this number."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def own_name() -> str:
    """The name of the user that runs this process."""
    return user_name(os.geteuid())


def expanded(path: Path) -> Path:
    """``path`` with ``~`` or ``~user`` replaced by that home folder. Raises ``UsageError`` if there is none."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{shown(str(path))}: {path.parts[0]} has no home folder here; write the whole path") from None
