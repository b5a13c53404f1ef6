"""A token bucket on a clock that is handed in: how long must a batch wait so that a channel keeps its rate?"""

from __future__ import annotations

import math


class Limiter:
    """At most ``rate`` pushes a second in the long run, and ``burst`` at once.

    A batch may be larger than the burst: it drives the bucket into debt, and those who come after it wait. So the
    order of calls is the order of sending, and nobody starves.
    """

    __slots__ = ("_filled", "_tokens", "burst", "rate")

    def __init__(self, rate_per_second: float, burst: float) -> None:
        """Start with a full bucket. ``rate_per_second`` may be ``math.inf`` (no limit)."""
        if not rate_per_second > 0 or not burst > 0:
            raise ValueError(f"rate {rate_per_second} and burst {burst} must be above 0")
        self.rate = rate_per_second
        self.burst = burst
        self._tokens = burst
        self._filled = -math.inf

    def delay(self, n: float, now: float) -> float:
        """Take ``n`` tokens at ``now`` (seconds, any monotonic clock); return the seconds to wait before using them."""
        if self.rate == math.inf:
            return 0.0
        if self._filled > -math.inf:
            # A clock that steps back gives nothing, and takes nothing.
            self._tokens = min(self.burst, self._tokens + max(0.0, now - self._filled) * self.rate)
        self._filled = max(self._filled, now)
        self._tokens -= n
        return max(0.0, -self._tokens / self.rate)
