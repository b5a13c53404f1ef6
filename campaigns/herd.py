"""The herd governor: how fast people may be reached, so that the newsroom's own site bears those who open the news.

Pure: no I/O, no clock. A campaign has a :class:`Herd`, fixed at Fire; one node of the ring has the :class:`Governor`,
which lowers the rate of all such campaigns while the site is loaded, and lets them go again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

HERD = "herd"
"""The entry of a campaign's policy with its :class:`Herd`."""
START = 0.05
"""Share of the rate with which a ramp, and the governor, begin."""
LEAST = 0.01
"""The least share that the governor leaves a campaign: it never stops one, as that is a person's decision."""
SILENT_AFTER = 10.0
"""Seconds without a reading after which nobody knows the load: then the share falls to :data:`SILENT`, not below."""
SILENT = 0.1
OVERLOADED = 1.2
"""The load of a site that answers by an error, or too late."""
WORST = 2.0
"""The highest load that counts."""


GROWTH = 0.8
AHEAD = 1.25
SMOOTH = 2.0
"""Seconds over which the load is smoothed."""
NOISE = 6.0
"""Deviations of the readings that fit between the load to keep and the site's limit: a small site's load jumps …"""
NOISE_WITHIN = 120.0
"""… and seconds over which they are measured."""
LOWEST = 0.96
"""Share of the target below which noise lowers it no more: it may be of the page that shows the load."""
LEAST_BATCH = 10
"""Recipients of the smallest batch: a task for each phone would fill the queue's memory."""
A_BATCH = 0.1
"""Seconds' worth of people in a batch: all of a batch goes out at once."""


class Herd(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a campaign reaches people."""

    rate: float
    """People a second, over the whole ring."""
    ramp: float = 0.0
    """Seconds from the start over which the rate rises to this, from a twentieth of it."""
    governed: bool = False
    """Whether the newsroom's load lowers it."""


def read_herd(policy: Mapping[str, Any]) -> Herd | None:
    """How fast a campaign with this policy reaches people; None: as fast as the providers take it."""
    entry = policy.get(HERD)
    return None if entry is None else msgspec.convert(entry, Herd)


def batch_at(rate: float) -> int:
    """Recipients of a batch at most, of a campaign that reaches ``rate`` people a second."""
    return max(LEAST_BATCH, round(min(rate * A_BATCH, 1e6)))


class Governor:
    """Finds the share of their rate that campaigns may have, by the load of the newsroom's site.

    ``target``: the load to keep, 0 to 1. ``lag``: seconds within which half of those who open a push have opened it.
    The share grows no faster than its consequences can be seen: at most by :data:`GROWTH` in ``lag`` seconds (as an
    exponent), the more slowly the nearer the load is to its target. Above the target it falls, the faster the higher
    the load. The load that counts is that of :data:`AHEAD` times ``lag`` later, if it rises on as in the last seconds:
    those who have the push already will open it, whatever happens now. Where the readings jump, as those of a small
    site do, a lower load is kept, so that no jump goes above the site's limit. The constants are the result of a search
    over 300 drawn sites (``python -m tests.herd``): others are slower, or rise above what the site bears.
    """

    def __init__(self, target: float, lag: float, share: float = START) -> None:
        self.target = target
        self.lag = max(5.0, lag)
        self.share = share
        self.load: float | None = None
        """The load, smoothed; None: nobody knows it."""
        self._slope = 0.0  # of the load, a second
        self._noise = 0.0  # variance of the readings
        self._silent = 0.0

    @property
    def silent(self) -> bool:
        """Whether nobody has told the load for too long."""
        return self.load is None or self._silent >= SILENT_AFTER

    def step(self, load: float | None, seconds: float) -> float:
        """Return the share after ``seconds``, with a new reading of the load, or None."""
        if load is None:
            self._silent += seconds
            if self._silent >= SILENT_AFTER:
                self.share = max(min(self.share, SILENT), self.share * math.exp(-seconds / self.lag))
                self.load = None
            return self.share
        self._silent = 0.0
        load = min(max(0.0, load), WORST)
        if self.load is None:
            self.load, self._slope = load, 0.0
        before, weight = self.load, 1 - math.exp(-seconds / SMOOTH)
        jump = load - before - self._slope * SMOOTH  # beside what the smoothed load lags behind
        self._noise += (1 - math.exp(-seconds / NOISE_WITHIN)) * (jump**2 - self._noise)
        target = max(LOWEST * self.target, min(self.target, 1 - NOISE * math.sqrt(self._noise)))
        self.load += weight * (load - before)
        slow = 1 - math.exp(-seconds / max(2.0, self.lag / 2))
        self._slope += slow * ((self.load - before) / seconds - self._slope)
        ahead = self.load + max(0.0, self._slope) * self.lag * AHEAD
        room = max(-1.0, 1 - ahead / target)
        pace = GROWTH * room if room > 0 else room
        self.share = min(1.0, max(LEAST, self.share * math.exp(pace * seconds / self.lag)))
        return self.share
