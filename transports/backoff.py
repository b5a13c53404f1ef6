"""How long to wait before the next try at something remote."""

from __future__ import annotations

import random


class Backoff:
    """First try again soon, then after 1, 2, 4 … seconds up to a limit, each shortened by a random share.

    To Apple, rapid reconnecting looks like an attack; a thousand clients that return in the same second are one.
    """

    __slots__ = ("_failures", "base", "first", "limit")

    def __init__(self, first: float = 0.1, base: float = 1.0, limit: float = 60.0) -> None:
        """All in seconds."""
        self.first = first
        self.base = base
        self.limit = limit
        self._failures = 0

    def next(self) -> float:
        """Return the seconds to wait now: between half of the step and the whole step."""
        step = self.first if self._failures == 0 else min(self.limit, self.base * 2.0 ** (self._failures - 1))
        self._failures = min(self._failures + 1, 64)
        return step * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret

    def reset(self) -> None:
        """Start again at the first step, after a success."""
        self._failures = 0
