"""Decides how many connections a pool keeps: one more while all that it has are full, and few when it is quiet."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class Bound(enum.Enum):
    """What a connection waits for before it can take another request."""

    WINDOW = "window"
    """The peer's flow-control window: octets of bodies under way (RFC 9113 §5.2)."""
    STREAMS = "streams"
    """The peer's limit on requests in flight (RFC 9113 §5.1.2)."""


FULL = 0.8
"""Share of the last second's looks at which every connection was full, for another one to be opened."""
CROWDED = 0.5
"""Share of a connection's streams in flight from which on it counts as full, whether anything waits or not. Late
answers keep batches in hand as well as streams: nothing may wait while all connections are three quarters full."""
WEIGHT = 0.2
"""Of one look, ten times a second: seven full looks make the share of ``FULL``."""
BUSY = 0.85
"""Share of the time in which this thread runs, or waits for a core: from here on connections make nothing faster."""
CHEAPER = 1.25
"""A push over few connections takes this much more of the thread than one over as many as it can feed: it reads more in
one round."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the processor."""
IDLE = 300.0
"""Seconds without a request after which a connection is let go, down to the least."""
REFUSED = 60.0
"""Seconds without growth after the peer has refused another connection."""
AHEAD = 60.0
"""Seconds for which it goes on towards what was needed, after the last requests that had to wait, or after it was said
that more will come."""


def busy_seconds() -> float:
    """Seconds that this thread has run, or has waited for a core, if the system says so (Linux)."""
    try:
        ran, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
    except (OSError, ValueError):
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9


def waited_seconds() -> float:
    """Seconds that this thread has waited for a core; 0 where the system does not say so."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class Growth:
    """How many connections are wanted. Pure, but for ``busy``, which returns seconds as :func:`busy_seconds` does."""

    def __init__(
        self, least: int, most: int | None = None, every: float = 1.0, busy: Callable[[], float] = busy_seconds
    ) -> None:
        """``every``: seconds from one more connection to the next: rapid connecting looks like an attack."""
        self.least = least
        self.most = max(least, most or least)
        self.size = least
        """How many are wanted now."""
        self.needed = least
        """How many the last requests that had to wait could have filled."""
        self.every = every
        self._ahead_until = -math.inf
        self._full = 0.0
        self._next = 0.0
        self._busy = busy
        self._looked: tuple[float, float] | None = None
        self._share = 1.0  # until it is known

    def look(self, now: float, full: Sequence[bool]) -> bool:
        """Return whether to open one more. ``full``: of each connection that is up."""
        self._full += ((len(full) >= self.size and all(full)) - self._full) * WEIGHT
        if self._looked is None or now - self._looked[0] >= LOOK_EVERY:
            busy = self._busy()
            if self._looked is not None:
                self._share = (busy - self._looked[1]) / (now - self._looked[0])
            self._looked = now, busy
        short = self._full >= FULL and self._share < BUSY
        if short:
            # with so many this thread would be busy, as far as one can see from here
            could = self.size * CHEAPER * BUSY / max(self._share, BUSY / self.most)
            self.needed = min(self.most, math.ceil(could))
            self.prepare(now)
        wanted = short or (self.size < self.needed and now < self._ahead_until)
        if not wanted or now < self._next or self.size >= self.most:
            return False
        self._next = now + self.every
        self.size += 1
        return True

    def prepare(self, now: float) -> None:
        """More requests will come soon: open as many as the last ones needed."""
        self._ahead_until = now + AHEAD

    def refused(self, now: float) -> None:
        """The peer does not want another connection: do without for a while."""
        self.size -= 1
        self._next = now + REFUSED

    def spare(self, now: float, idle: float) -> bool:
        """Whether to let go a connection that has carried nothing for so many seconds."""
        if idle < IDLE or now < self._ahead_until or self.size <= self.least:
            return False
        self.size -= 1
        return True
