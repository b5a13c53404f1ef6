"""The clock that campaigns go by: milliseconds UTC, the unit of every time in these records."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Returns milliseconds UTC."""


def wall_clock() -> int:
    """Milliseconds UTC, now."""
    return time.time_ns() // 1_000_000
