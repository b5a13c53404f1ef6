"""A circuit breaker without a clock of its own: it pauses a channel while every push would fail, and says why."""

from __future__ import annotations

import enum


class BreakerState(enum.Enum):
    """Closed: all may pass. Open: nothing passes. Half-open: one probe is on its way, the others wait for it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


_SPARE = 0.25
_SPARE_LIMIT = 5.0


class Breaker:
    """Opened by a fault of the whole channel (``Outcomes.stop``), never by dead tokens.

    Probes come after 1, 2, 4 … seconds up to a limit: a fault that ends soon (a clock set right, a role granted) costs
    seconds, and a fault that stays costs one refused batch per limit.
    """

    __slots__ = ("_cool_down", "_probe_at", "_spare", "first", "limit", "reason", "since", "state")

    def __init__(self, first: float = 1.0, limit: float = 30.0) -> None:
        """``first``: seconds from the fault to the first probe; each failed probe doubles them, up to ``limit``."""
        self.first = first
        self.limit = limit
        self.state = BreakerState.CLOSED
        self.reason: str | None = None
        """The sentence it was opened with; None while closed."""
        self.since = 0.0
        """When it was opened, seconds on the caller's clock; probes that fail do not change it."""
        self._cool_down = 0.0
        self._probe_at = 0.0
        self._spare = _SPARE

    def open(self, sentence: str, now: float) -> None:
        """Let nothing pass until a cool-down after ``now`` (seconds). A failed probe reopens it, with its sentence."""
        if self.state is not BreakerState.OPEN:  # a late fault from before this pause does not lengthen the next
            self._cool_down = (
                min(self.limit, 2 * self._cool_down or self.first)
                if self.state is BreakerState.HALF_OPEN
                else self.first
            )
        if self.reason is None:
            self.since = now
        self.state = BreakerState.OPEN
        self.reason = sentence
        self._probe_at = now + self._cool_down

    def retry_in(self, now: float) -> float:
        """Seconds until a batch may be taken. 0 while closed, and whenever a probe is due."""
        return 0.0 if self.state is BreakerState.CLOSED else max(0.0, self._probe_at - now)

    def probe(self, now: float) -> None:
        """A batch goes out at ``now``: while the breaker is open it is the probe, and others wait for its result."""
        if self.state is not BreakerState.CLOSED:
            self.state = BreakerState.HALF_OPEN
            # A probe that never reports must not block the channel for ever: after a while another one may go.
            self._probe_at = now + self.limit

    def spared(self, now: float) -> None:
        """The batch that was taken as a probe was not sent: another may be the probe after ¼, ½, 1 … 5 s."""
        if self.state is not BreakerState.CLOSED:
            self.state = BreakerState.OPEN
            self._probe_at = now + self._spare
            self._spare = min(2 * self._spare, _SPARE_LIMIT)

    def retry(self, now: float) -> None:
        """Something has changed: let a probe go at once."""
        if self.state is not BreakerState.CLOSED:
            self.state = BreakerState.OPEN
            self._cool_down = 0.0
            self._probe_at = now
            self._spare = _SPARE

    def success(self) -> None:
        """A batch got through: close. (A success from before the fault closes too early; the next STOP reopens.)"""
        self.state = BreakerState.CLOSED
        self.reason = None
        self._spare = _SPARE
