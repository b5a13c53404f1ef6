"""How often a supervisor restarts before it gives up. Pure: no clock, no I/O."""

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
