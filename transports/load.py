"""A transport's connections, and what they wait for: for people, and for those who feed it."""

from __future__ import annotations

from typing import NamedTuple


class Load(NamedTuple):
    """Connections now; while nothing waits for them, none of them is full."""

    connections: int
    most: int
    """That it may open."""
    by_window: int = 0
    """Those whose flow-control window is used up."""
    by_streams: int = 0
    """Those with as many requests in flight as the provider allows."""

    def plus(self, other: Load) -> Load:
        """Both together."""
        return Load(*(one + two for one, two in zip(self, other, strict=True)))


NO_LOAD = Load(0, 0)
