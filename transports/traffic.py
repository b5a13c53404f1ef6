"""What a transport's connections are doing now, and how fast the provider answers: figures for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST = 0.001
"""Seconds: the upper bound of the first class of answer times. Each further class goes up to √2 times as long."""
CLASSES = 33
"""The last class has no bound: longer than 46 s, which is longer than any deadline."""


def time_class(seconds: float) -> int:
    """The class of an answer time."""
    if seconds <= SHORTEST:
        return 0
    return min(CLASSES - 1, math.ceil(2 * math.log2(seconds / SHORTEST)))


def quantile(counts: Sequence[float], share: float) -> float | None:
    """Seconds within which this share of the answers came, to ±20 %. None: there were none.

    ``counts``: answers in each class.
    """
    left = share * sum(counts)
    for index, count in enumerate(counts):
        left -= count
        if count and left <= 0:
            return float(SHORTEST * 2 ** ((index - 0.5) / 2))
    return None


def mean(counts: Sequence[float]) -> float | None:
    """Seconds that an answer took on average, to ±10 %. None: there were none."""
    total = sum(counts)
    return sum(n * SHORTEST * 2 ** ((index - 0.5) / 2) for index, n in enumerate(counts)) / total if total else None


@dataclass(frozen=True, slots=True)
class Traffic:
    """One transport's connections."""

    connections: int
    """Connections that take pushes."""
    wanted: int
    """Connections that it keeps up at present if it can. More may be open, until those that are not needed end."""
    streams: int
    """Pushes that await their answer."""
    streams_allowed: int
    """Pushes that may await it at once, over all connections."""
    window: int
    """Bytes that the connections still take before the provider must read on: the least of them. 0: nothing can go."""
    answers: tuple[int, ...] = ()
    """Accepted pushes since its start by answer time, in the classes of :func:`time_class`."""
    granted: int = 0
    """Bytes of the largest window that a connection had: what the provider grants. 0: not known yet."""
    round_trip: float = 0.0
    """Seconds to the provider and back, the least that a PING took; 0: not known."""
    looks: int = 0
    """Since its start: how often, ten times a second, it has looked at what its connections wait for."""
    by_window: float = 0.0
    """Of these looks, those that found a full window while pushes waited; of several connections, their share."""
    by_streams: float = 0.0
    """The same for as many pushes in flight as the provider allows."""
