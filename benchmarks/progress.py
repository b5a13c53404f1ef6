"""What a bench shows while it runs: stdout is for its result."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write a line of progress for a person to stderr."""
    print(text, file=sys.stderr, flush=True)
