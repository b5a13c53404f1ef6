"""Turns counters that only rise into rates of the last seconds: pushes a second, and how fast they are answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from transports.traffic import quantile

WINDOW = 10.0
"""Seconds."""
LEAST = 0.9
"""Seconds between two samples: workers report once a second."""


class Counted(NamedTuple):
    """One channel's counters."""

    settled: int
    answers: Sequence[int]
    """Accepted pushes by answer time."""


class Flow(NamedTuple):
    """What the counters say about the last seconds."""

    rate: float
    """Pushes settled a second."""
    p50: float | None
    p99: float | None


class FlowMeter:
    """Keeps the samples of the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[str, Counted]]] = deque()

    def sample(self, now: float, counted: Mapping[str, Counted]) -> None:
        """Note the counters at ``now`` (seconds, any monotonic clock), unless the last sample is not a second old."""
        samples = self._samples
        if samples and now - samples[-1][0] < LEAST:
            return
        samples.append((now, counted))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:
            samples.popleft()

    def flow(self, channel: str) -> Flow:
        """A channel's rates over the samples. A counter that has started anew counts from 0."""
        if len(self._samples) < 2:
            return Flow(0.0, None, None)
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        before, after = first.get(channel), last.get(channel)
        if before is None or after is None:
            return Flow(0.0, None, None)
        rate = max(0, after.settled - before.settled) / (ended - began)
        answers = [now - was if now >= was else now for was, now in zip(before.answers, after.answers, strict=False)]
        return Flow(_short(rate) or 0.0, _short(quantile(answers, 0.5)), _short(quantile(answers, 0.99)))


def _short(number: float | None) -> float | None:
    """Three digits: more would only flicker."""
    return None if number is None else float(f"{number:.3g}")
