"""What one worker's channel is doing now, for people: its breaker, its rate, its connections."""

from __future__ import annotations

import msgspec

from transports.traffic import Traffic


class ChannelActivity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One channel in one worker."""

    breaker: str = "closed"
    """``BreakerState``."""
    in_hand: int = 0
    """Batches that are taken and not yet settled."""
    limit: float | None = None
    """Pushes a second that the worker may send now; None: no limit."""
    left: float | None = None
    """Pushes that it may send at once."""
    starved: float = 0.0
    """Seconds since its start in which it had hands free and its tube was empty."""
    rated: float = 0.0
    """Seconds since its start in which it has waited for its rate."""
    traffic: Traffic | None = None
    """None: its transport does not run, or does not tell."""
