"""A token bucket on the caller's clock: how long a batch must wait so that its channel keeps its rate."""

from __future__ import annotations

import math

START = 0.05
"""Share of the full rate at which a ramp begins: a twentieth, so that the first batches of breaking news go out."""
LONG_IDLE = 300.0
"""Seconds without a push after which a ramp starts again."""


class Limiter:
    """At most ``rate`` pushes a second in the long run, and ``burst`` at once.

    A batch may be larger than the burst: it drives the bucket into debt, and the batches after it wait. So batches of
    one lane are sent in the order of the calls.

    The upper lane draws first: it waits only for its own debt, and the other lanes wait for the debt of all. So the
    upper lane may take all of the rate for as long as it has something to send, and then the others go on. Beyond the
    rate, this costs one batch of the upper lane at a time.

    With a ``ramp`` the rate rises linearly from :data:`START` of the full rate to all of it, over that many seconds *of
    activity*: time in which the bucket was not full. A trickle far below the rate does not end the ramp.
    """

    __slots__ = ("_active", "_filled", "_idle", "_tokens", "_upper", "burst", "ramp", "rate")

    def __init__(self, rate_per_second: float, burst: float, *, ramp: float = 0.0) -> None:
        """Start with a full bucket. ``rate_per_second`` may be ``math.inf`` (no limit). ``ramp``: seconds, 0 for none.

        Raises ``ValueError`` for a rate or a burst that is not above 0, or a ramp below 0.
        """
        _check(rate_per_second, burst, ramp)
        self.rate = rate_per_second
        self.burst = burst
        self.ramp = ramp
        self._tokens = burst
        self._upper = 0.0  # 0, less what the upper lane owes: it saves nothing up
        self._filled = -math.inf
        self._active = 0.0  # seconds of activity since the ramp began
        self._idle = 0.0  # seconds for which the bucket has been full and nothing was taken

    def change(self, rate_per_second: float, burst: float, *, ramp: float = 0.0) -> None:
        """Go on at another rate. What is saved or owed stays, and a ramp that is over does not begin anew.

        Raises ``ValueError`` as ``__init__``.
        """
        _check(rate_per_second, burst, ramp)
        self._active = ramp if self._active >= self.ramp else min(ramp, self._active)
        self.rate, self.burst, self.ramp = rate_per_second, burst, ramp
        self._tokens = min(burst, self._tokens)

    def delay(self, n: float, now: float, *, upper: bool = False) -> float:
        """Take ``n`` tokens at ``now`` (seconds, any monotonic clock); return the seconds to wait before using them.

        ``upper``: for the upper lane.
        """
        if self.rate == math.inf:
            return 0.0
        if self._filled > -math.inf:
            # A clock that steps back adds no tokens and removes none.
            self._fill(max(0.0, now - self._filled))
        self._filled = max(self._filled, now)
        if n > 0:
            self._idle = 0.0
        self._tokens -= n
        if upper:
            self._upper -= n
        owed = -max(self._tokens, self._upper) if upper else -self._tokens
        return self._seconds(owed) if owed > 0 else 0.0

    def standing(self, now: float) -> tuple[float, float]:
        """Return the rate at ``now``, in pushes a second, and how many pushes may go at once."""
        self.delay(0, now)
        return self._now(), max(0.0, self._tokens)

    def _fill(self, elapsed: float) -> None:
        active = min(elapsed, self._seconds(self.burst - self._tokens))
        gained = self._gain(active)
        self._tokens = min(self.burst, self._tokens + gained)
        self._upper = min(0.0, self._upper + gained)  # the bucket is never full before this debt is paid
        self._active = min(self.ramp, self._active + active)
        self._idle += elapsed - active
        if self._idle >= LONG_IDLE:
            self._active = 0.0

    def _now(self) -> float:
        """The current rate."""
        if self._active >= self.ramp:
            return self.rate
        return self.rate * (START + (1 - START) * self._active / self.ramp)

    def _gain(self, seconds: float) -> float:
        """Tokens that ``seconds`` of activity bring: the area below the ramp, then below the full rate."""
        rising = min(seconds, self.ramp - self._active)
        slope = (1 - START) * self.rate / self.ramp if self.ramp else 0.0
        return rising * (self._now() + slope * rising / 2) + (seconds - rising) * self.rate

    def _seconds(self, tokens: float) -> float:
        """Seconds of activity that bring ``tokens``: the inverse of :meth:`_gain`."""
        rising = self.ramp - self._active
        most = self._gain(rising)
        if tokens >= most:
            return rising + (tokens - most) / self.rate
        slope, now = (1 - START) * self.rate / self.ramp, self._now()
        return 2 * tokens / (now + math.sqrt(now * now + 2 * slope * tokens))


def _check(rate: float, burst: float, ramp: float) -> None:
    if not rate > 0 or not burst > 0 or not ramp >= 0:
        raise ValueError(f"rate {rate} and burst {burst} must be above 0, ramp {ramp} at least 0")
