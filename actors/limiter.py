"""A token bucket on a clock that is handed in: how long must a batch wait so that a channel keeps its rate?"""

from __future__ import annotations

import math

START = 0.05
"""Share of the full rate at which a ramp begins: a twentieth, so that the first batches of a hot piece go out."""
LONG_IDLE = 300.0
"""Seconds without a push after which a ramp begins anew."""


class Limiter:
    """At most ``rate`` pushes a second in the long run, and ``burst`` at once.

    A batch may be larger than the burst: it drives the bucket into debt, and those who come after it wait. So the
    order of calls is the order of sending, and nobody starves.

    With a ``ramp`` the rate rises in a straight line, from :data:`START` of it to all of it, over so many seconds *of
    activity*: time in which the bucket was not full. A trickle far below the rate does not earn the right to a flood.
    """

    __slots__ = ("_active", "_filled", "_idle", "_tokens", "burst", "ramp", "rate")

    def __init__(self, rate_per_second: float, burst: float, *, ramp: float = 0.0) -> None:
        """Start with a full bucket. ``rate_per_second`` may be ``math.inf`` (no limit). ``ramp``: seconds, 0 for none.

        Raises ``ValueError`` for a rate or a burst that is not above 0, or a ramp below.
        """
        if not rate_per_second > 0 or not burst > 0 or not ramp >= 0:
            raise ValueError(f"rate {rate_per_second} and burst {burst} must be above 0, ramp {ramp} not below")
        self.rate = rate_per_second
        self.burst = burst
        self.ramp = ramp
        self._tokens = burst
        self._filled = -math.inf
        self._active = 0.0  # seconds of activity since the ramp began
        self._idle = 0.0  # seconds for which the bucket has been full, nothing being taken

    def delay(self, n: float, now: float) -> float:
        """Take ``n`` tokens at ``now`` (seconds, any monotonic clock); return the seconds to wait before using them."""
        if self.rate == math.inf:
            return 0.0
        if self._filled > -math.inf:
            # A clock that steps back gives nothing, and takes nothing.
            self._fill(max(0.0, now - self._filled))
        self._filled = max(self._filled, now)
        if n > 0:
            self._idle = 0.0
        self._tokens -= n
        return self._seconds(-self._tokens) if self._tokens < 0 else 0.0

    def _fill(self, elapsed: float) -> None:
        active = min(elapsed, self._seconds(self.burst - self._tokens))
        self._tokens = min(self.burst, self._tokens + self._gain(active))
        self._active = min(self.ramp, self._active + active)
        self._idle += elapsed - active
        if self._idle >= LONG_IDLE:
            self._active = 0.0

    def _now(self) -> float:
        """The rate of this moment."""
        if self._active >= self.ramp:
            return self.rate
        return self.rate * (START + (1 - START) * self._active / self.ramp)

    def _gain(self, seconds: float) -> float:
        """Tokens that so much activity brings: the area below the ramp, then below the full rate."""
        rising = min(seconds, self.ramp - self._active)
        slope = (1 - START) * self.rate / self.ramp if self.ramp else 0.0
        return rising * (self._now() + slope * rising / 2) + (seconds - rising) * self.rate

    def _seconds(self, tokens: float) -> float:
        """Seconds of activity that bring ``tokens``: :meth:`_gain` the other way round."""
        rising = self.ramp - self._active
        most = self._gain(rising)
        if tokens >= most:
            return rising + (tokens - most) / self.rate
        slope, now = (1 - START) * self.rate / self.ramp, self._now()
        return 2 * tokens / (now + math.sqrt(now * now + 2 * slope * tokens))
