"""How soon after Fire a campaign's pushes were accepted: counts by class of time, and percentiles from them.

Nothing is kept for a recipient. A settlement adds to one count; a percentile lies within a fifth of the true time, and
mostly within a twentieth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

FIRST = 0.01
"""Seconds: the upper bound of class 0."""
STEPS = 4
"""Classes to each doubling of the time (``storage/lua/roles/store/reach.lua`` has both, too)."""

Counts = Mapping[int, int]
"""Class → pushes that were accepted in that time after Fire."""


def bounds(number: int) -> tuple[float, float]:
    """Seconds between which the times of a class lie."""
    if number == 0:
        return 0.0, FIRST
    return FIRST * 2 ** ((number - 1) / STEPS), FIRST * 2 ** (number / STEPS)


def merged(several: Iterable[Counts]) -> dict[int, int]:
    """Add counts."""
    total: dict[int, int] = {}
    for counts in several:
        for number, n in counts.items():
            total[number] = total.get(number, 0) + n
    return total


def seconds_until(counts: Counts, pushes: float) -> float | None:
    """Seconds after Fire until this many pushes were accepted; None: they are not yet."""
    left = pushes
    if left <= 0:
        return None
    for number in sorted(counts):
        n = counts[number]
        if n >= left:
            begin, end = bounds(number)
            return begin + (end - begin) * left / n
        left -= n
    return None
