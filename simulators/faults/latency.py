"""How long a twin takes to answer: a distribution, drawn with a seed so that every run draws the same times."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from typing import Annotated, Final

import msgspec

Milliseconds = Annotated[float, msgspec.Meta(ge=0.0, le=3_600_000.0)]
Percent = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
_DRAWS: Final = 65_536
#: Standard deviations from the median to the 99th percentile.
_P99: Final = 2.326348


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A distribution of one of these kinds; all times in milliseconds."""

    constant: Milliseconds | None = None
    uniform: tuple[Milliseconds, Milliseconds] | None = None
    """From, to."""
    normal: tuple[Milliseconds, Milliseconds] | None = None
    """Mean and standard deviation; never below 0."""
    p50: Milliseconds | None = None
    """With ``p99``: log-normal, as answers over a network are."""
    p99: Milliseconds | None = None
    percentiles: tuple[tuple[Percent, Milliseconds], ...] | None = None
    """Pairs of percentile and time, ascending; straight lines between them."""


def mistake_of(latency: Latency) -> str | None:
    """Say what is wrong with a distribution, if anything."""
    given = set(msgspec.to_builtins(latency))
    if len(given - {"p99"}) != 1 or ("p99" in given) != ("p50" in given):
        return "give one of constant, uniform, normal, percentiles, or p50 with p99"
    if latency.uniform is not None and latency.uniform[0] > latency.uniform[1]:
        return "uniform is [from, to], the smaller one first"
    if latency.p50 is not None and latency.p99 is not None and not 0 < latency.p50 <= latency.p99:
        return "p50 must be above 0 and not above p99"
    points = latency.percentiles
    if points is not None and (
        len(points) < 2 or any(a >= b or x > y for (a, x), (b, y) in itertools.pairwise(points))
    ):
        return "percentiles are two or more pairs [percent, milliseconds], both ascending"
    return None


def sampler(latency: Latency, seed: int) -> Callable[[], float]:
    """Return a function that draws the next latency, in seconds.

    The draws are made in advance and repeat: an answer costs one look-up, and a seed always gives the same sequence.
    """
    if latency.constant is not None:
        return itertools.repeat(latency.constant / 1000).__next__
    rng = random.Random(f"latency:{seed}")  # noqa: S311
    draw = _drawn_by(latency, rng)
    return itertools.cycle([max(0.0, draw()) / 1000 for _ in range(_DRAWS)]).__next__


def _drawn_by(latency: Latency, rng: random.Random) -> Callable[[], float]:
    if latency.uniform is not None:
        start, end = latency.uniform
        return lambda: rng.uniform(start, end)
    if latency.normal is not None:
        mean, deviation = latency.normal
        return lambda: rng.gauss(mean, deviation)
    if latency.p50 is not None and latency.p99 is not None:
        median = math.log(latency.p50)
        deviation = (math.log(latency.p99) - median) / _P99
        return lambda: rng.lognormvariate(median, deviation)
    points = latency.percentiles or ((0.0, 0.0), (100.0, 0.0))
    return lambda: _between(points, 100 * rng.random())


def _between(points: tuple[tuple[float, float], ...], percent: float) -> float:
    if percent <= points[0][0]:
        return points[0][1]
    for (lower, start), (upper, end) in itertools.pairwise(points):
        if percent <= upper:
            return start + (end - start) * (percent - lower) / (upper - lower)
    return points[-1][1]
