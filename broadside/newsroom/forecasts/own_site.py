"""What the newsroom's own servers must bear of a campaign: opens a second, and bytes of the picture a second. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

OPENED = 0.05
"""Share of the phones on which the story is opened: more than most news reaches."""
AFTER = 60.0
"""Seconds after which half of those who open it have done so … but most of them much sooner: see :func:`opens`."""
AT_ONCE = 0.25
"""Share of the opens that come within ten seconds: the phone is in the hand."""
HAND = 10.0
PICTURE = 100_000
"""Bytes of a picture. Phones fetch it when the push arrives, before anybody looks."""
EVERY = 1.0


def opens(curve: Iterable[tuple[float, float, float]]) -> float:
    """The most opens a second. ``curve``: (begin, seconds, phones) of each step of sending.

    Of those who open it a quarter does so within ten seconds, and of the others half within a minute.
    """
    arrivals = _by_second(curve)
    most = now_ = later = 0.0
    decay_now, decay_later = math.exp(-EVERY / (HAND / 2)), math.exp(-EVERY * math.log(2) / AFTER)
    for phones in arrivals:
        now_ = now_ * decay_now + phones * OPENED * AT_ONCE
        later = later * decay_later + phones * OPENED * (1 - AT_ONCE)
        most = max(most, now_ * (1 - decay_now) + later * (1 - decay_later))
    return round(most, 1)


def picture_bytes(curve: Iterable[tuple[float, float, float]]) -> float:
    """The most bytes of the picture a second."""
    return round(max(_by_second(curve), default=0.0) * PICTURE)


def _by_second(curve: Iterable[tuple[float, float, float]]) -> list[float]:
    """Phones that get it in each second; of a very long campaign, in its first hour."""
    seconds: list[float] = []
    for begin, length, phones in curve:
        first, last = int(begin), int(begin + length)
        if last >= 3_600:
            break
        seconds += [0.0] * (last + 1 - len(seconds))
        for second in range(first, last + 1):
            part = min(begin + length, second + 1) - max(begin, second)
            seconds[second] += phones * part / length
    return seconds
