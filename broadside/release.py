"""Which release of Broadside this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Return the installed version."""
    try:
        return metadata.version("broadside")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"
