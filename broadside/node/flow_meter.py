"""Turns counters that only rise into rates of the last seconds: pushes a second, how fast they are answered, and what a
channel has waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from transports.traffic import quantile

WINDOW = 10.0
"""Seconds."""
LEAST = 0.9
"""Seconds between two samples: workers report once a second."""
WAITS = 3.0
"""Seconds in which a channel's waits are looked for: what holds it up changes faster than its rate."""


class Counted(NamedTuple):
    """One channel's counters, summed over the workers."""

    settled: int
    answers: Sequence[int]
    """Accepted pushes by answer time."""
    starved: float = 0.0
    """Seconds of hands that were free while the tube was empty."""
    rated: float = 0.0
    """Seconds in which it waited for its rate."""
    busy: float = 0.0
    """Seconds in which the workers ran, or waited for a core."""
    waited: float = 0.0
    """Those of them in which they waited."""
    looks: int = 0
    """At what its connections wait for."""
    by_window: float = 0.0
    by_streams: float = 0.0
    workers: int = 1
    connections: int = 0
    """That are up for all lanes."""


class Flow(NamedTuple):
    """What the counters say about the last seconds."""

    rate: float
    """Pushes settled a second."""
    p50: float | None
    p99: float | None
    waits: dict[str, float]
    """See ``ChannelFlow.waits``."""


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
            return Flow(0.0, None, None, {})
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        before, after = first.get(channel), last.get(channel)
        if before is None or after is None:
            return Flow(0.0, None, None, {})
        rate = max(0, after.settled - before.settled) / (ended - began)
        answers = [now - was if now >= was else now for was, now in zip(before.answers, after.answers, strict=False)]
        p50, p99 = _short(quantile(answers, 0.5)), _short(quantile(answers, 0.99))
        lately = next(each for each in reversed(self._samples) if each[0] <= ended - WAITS or each is self._samples[0])
        recent = lately[1].get(channel)
        found = {} if recent is None else waits(recent, after, ended - lately[0])
        if recent is not None and recent.settled == after.settled and list(recent.answers) == list(after.answers):
            found["silence"] = 1.0
        return Flow(_short(rate) or 0.0, p50, p99, found)


def waits(before: Counted, after: Counted, seconds: float) -> dict[str, float]:
    """What a channel has waited for between two samples, as shares of the time; a share below 0.05 is left out."""
    workers, looks = max(1, after.workers), since(before.looks, after.looks)
    shares = {
        "walk": since(before.starved, after.starved) / seconds / workers,
        "rate": since(before.rated, after.rated) / seconds / workers,
        "cpu": since(before.busy, after.busy) / seconds / workers,
        "core": since(before.waited, after.waited) / seconds / workers,
        "window": since(before.by_window, after.by_window) / looks if looks else 0.0,
        "streams": since(before.by_streams, after.by_streams) / looks if looks else 0.0,
    }
    return {word: round(min(1.0, share), 2) for word, share in shares.items() if share >= 0.05}


def since(before: float, after: float) -> float:
    """How much a counter has risen; one that has started anew counts from 0."""
    return after - before if after >= before else after


def _short(number: float | None) -> float | None:
    """Three digits: more would only flicker."""
    return None if number is None else float(f"{number:.3g}")
