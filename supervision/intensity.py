"""How often a supervisor restarts before it gives up, and how long it waits before each. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most `restarts` restarts within any `period` seconds; one more makes the supervisor give up (OTP)."""

    restarts: int = 3
    period: float = 60.0

    def __post_init__(self) -> None:
        if self.restarts < 0 or not self.period > 0:
            raise ValueError(f"intensity: restarts={self.restarts} must be >= 0 and period={self.period} > 0 seconds")


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pause before a restart: `first` seconds, times `factor` for each restart in the window, up to `longest`.

    The default does not wait, as OTP does not. A back-off is for bugs that need a moment's air; a remote outage
    is retried inside the actor, where it cannot use up the intensity.
    """

    first: float = 0.0
    factor: float = 2.0
    longest: float = 5.0

    def __post_init__(self) -> None:
        if self.first < 0 or self.factor < 1 or self.longest < 0:
            raise ValueError(f"backoff: {self} needs first >= 0, factor >= 1, longest >= 0")

    def delay(self, restart: int) -> float:
        """Seconds to wait before the `restart`-th restart (from 1) of a window."""
        if not self.first:
            return 0.0
        pause = self.first
        for _ in range(restart - 1):
            if pause >= self.longest:
                break
            pause *= self.factor
        return min(pause, self.longest)

    def defeats(self, intensity: Intensity) -> bool:
        """Whether a child that crashes at once, every time, would never exceed `intensity`."""
        return sum(self.delay(n + 1) for n in range(intensity.restarts)) >= intensity.period


@dataclass(slots=True)
class RestartWindow:
    """The restarts of the last `intensity.period` seconds."""

    intensity: Intensity
    _times: deque[float] = field(default_factory=deque)

    def add(self, now: float) -> bool:
        """Count a restart at `now` (seconds, never going back). False when it is one too many."""
        self._times.append(now)
        return self.count(now) <= self.intensity.restarts

    def count(self, now: float) -> int:
        """How many restarts lie in the window that ends at `now`; one exactly `period` old still counts."""
        while self._times and now - self._times[0] > self.intensity.period:
            self._times.popleft()
        return len(self._times)
