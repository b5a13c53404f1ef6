"""The API's records about drills."""

from __future__ import annotations

import msgspec


class DrillRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One drill: the whole base, sent to simulators. Times are milliseconds UTC."""

    id: str
    """Of its campaign."""
    state: str
    by: str
    """``timer``, or who started it."""
    fired_at: int | None
    finished_at: int | None
    phones: int
    settled: int
    """Of these, with an outcome."""
    seconds: float | None
    rate: float
    """Pushes a second, over all channels."""
    rates: dict[str, float]
    """Channel → the same."""
    yielded: bool
    """Whether it waited for real campaigns: then its time means nothing."""
    forecast: float | None
    """Seconds that were foreseen when it began; null: nobody could."""
    slower: str
    """Why it counts as slow, in a sentence; empty: it does not."""


class Drills(msgspec.Struct, frozen=True):
    """The last drills, the newest first."""

    items: list[DrillRecord]
    next_at: int | None
    """When the next one starts by itself; null: none does."""


class DrillRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A drill to start now."""
