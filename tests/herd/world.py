"""A drawn newsroom in virtual time: phones open a push after drawn delays, and the site bears N opens a second.

The site shows its load as a real one would: opens of the last two seconds ÷ N. The governor's share reaches the nodes
one look later, as over a heartbeat.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from campaigns.herd import Governor

STEP = 0.5
"""Seconds of virtual time."""
LOOK = 1.0
"""Seconds between two looks at the load."""
WINDOW = 2.0
"""Seconds over which the site counts its load."""


@dataclass(frozen=True)
class Site:
    """One drawn newsroom. ``bears``: opens a second; ``base``: opens of everybody else."""

    seed: int
    bears: float
    base: float
    opens: float
    """The share of people who open the push."""
    median: float
    """Seconds until half of those who open it have."""
    spread: float
    """Sigma of the delay's logarithm."""
    ceiling: float
    """The rate that the editor has given, people a second."""
    people: int
    lag: float
    """What the configuration says of the median: not exact."""

    @property
    def steady(self) -> float:
        """People a second that would load it fully, without any noise."""
        return (self.bears - self.base) / self.opens


def drawn(seed: int) -> Site:
    draw = random.Random(seed)
    bears = draw.uniform(200, 1000)
    base, opens = draw.uniform(0, 0.2) * bears, draw.uniform(0.1, 0.5)
    median = math.exp(draw.uniform(math.log(3), math.log(20)))
    steady = (bears - base) / opens
    return Site(
        seed=seed,
        bears=bears,
        base=base,
        opens=opens,
        median=median,
        spread=draw.uniform(0.4, 1.1),
        ceiling=steady * draw.uniform(1.3, 6),
        people=round(steady * max(5.0, median) * draw.uniform(40, 60)),
        lag=max(5.0, median * draw.uniform(0.8, 1.4)),
    )


@dataclass(frozen=True)
class Outcome:
    seconds: float
    """Until the last person had the push."""
    peak: float
    """The highest load, of any two seconds."""


def kernel(site: Site) -> list[float]:
    """The share of the opens in each step after the push."""

    def before(t: float) -> float:
        return 0.0 if t <= 0 else 0.5 * (1 + math.erf(math.log(t / site.median) / site.spread / math.sqrt(2)))

    shares, t = list[float](), 0.0
    while before(t) < 0.995 and len(shares) < 400:
        shares.append(before(t + STEP) - before(t))
        t += STEP
    return shares


def run(site: Site, rate: float, governor: Governor | None = None) -> Outcome:
    """Send to all at ``rate``, people a second, or at the governor's share of it."""
    draw, shares = random.Random(site.seed + 1), kernel(site)
    share = following = 1.0 if governor is None else governor.share
    left, sent, opened, t, done, peak = float(site.people), [0.0] * len(shares), list[float](), 0.0, 0.0, 0.0
    while left > 0 or t < done + 3 * site.median:
        now = min(left, rate * share * STEP)
        left -= now
        done = t if now else done
        sent = [now, *sent[:-1]]
        expected = site.base * STEP + site.opens * sum(a * b for a, b in zip(sent, shares, strict=True))
        opened.append(max(0.0, draw.gauss(expected, math.sqrt(expected))))
        t += STEP
        load = sum(opened[-int(WINDOW / STEP) :]) / WINDOW / site.bears
        peak = max(peak, load)
        if governor is not None and left > 0 and t % LOOK == 0:
            share, following = following, governor.step(load, LOOK)
    return Outcome(done, peak)


def best_constant(site: Site) -> Outcome:
    """The fastest constant rate under which the site stays below its limit, found by search."""
    low, high, found = 0.3 * site.steady, 1.3 * site.steady, run(site, 0.3 * site.steady)
    for _ in range(7):
        middle = (low + high) / 2
        outcome = run(site, middle)
        if outcome.peak < 1:
            low, found = middle, outcome
        else:
            high = middle
    return found
