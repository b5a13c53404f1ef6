"""How long the path of a Unix socket may be."""

from __future__ import annotations

import os
from pathlib import Path

LONGEST = 100
"""Bytes. Linux takes 107, macOS 103."""


def fits(path: Path) -> bool:
    """Whether a socket can be made at this path, and reached there."""
    return len(os.fsencode(path)) <= LONGEST
