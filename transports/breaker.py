"""A circuit breaker without a clock of its own: it pauses a channel whose every push would fail, and says why."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Closed: all may pass. Open: nothing passes. Half-open: one probe is on its way, the others wait for it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Opened by a fault of the whole channel (``Outcomes.stop``), never by dead tokens."""

    __slots__ = ("_probe_at", "cool_down", "reason", "state")

    def __init__(self, cool_down: float = 30.0) -> None:
        """``cool_down``: seconds between two probes while open."""
        self.cool_down = cool_down
        self.state = State.CLOSED
        self.reason: str | None = None
        """The sentence it was opened with; None while closed."""
        self._probe_at = 0.0

    def open(self, sentence: str, now: float) -> None:
        """Let nothing pass until a cool-down after ``now`` (seconds). A failed probe opens again, with its sentence."""
        self.state = State.OPEN
        self.reason = sentence
        self._probe_at = now + self.cool_down

    def allows(self, now: float) -> bool:
        """Whether a batch may be sent at ``now``. True once per cool-down while open: that batch is the probe."""
        if self.state is State.CLOSED:
            return True
        if now < self._probe_at:
            return False
        # A probe whose fate is never reported must not hold the channel for ever: after another cool-down comes a next.
        self.state = State.HALF_OPEN
        self._probe_at = now + self.cool_down
        return True

    def retry_in(self, now: float) -> float:
        """Seconds until :meth:`allows` may say yes."""
        return 0.0 if self.state is State.CLOSED else max(0.0, self._probe_at - now)

    def success(self) -> None:
        """A batch got through: close. (A late success of before the fault closes too early; the next STOP reopens.)"""
        self.state = State.CLOSED
        self.reason = None
