"""The users of this machine: whose a file or a folder is, and where a user's home is."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from broadside.errors import UsageError, shown


def stranger(owner: int) -> str | None:
    """The name of the user ``owner`` if this process must not trust its files; None for its own user, and for root.

    A configuration or a data folder decides with whom we speak, so it must be nobody else's.
    """
    return None if owner in (os.geteuid(), 0) else user_name(owner)


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
