"""A clock that nobody can set, for the age of what was made."""

from __future__ import annotations

import time


def elapsed() -> float:
    """Seconds of ``CLOCK_BOOTTIME``, sleep included: the same in all processes of a machine, and nobody can set it.

    macOS has no clock of that name: its ``CLOCK_MONOTONIC`` counts sleep.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
