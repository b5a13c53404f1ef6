"""Instants as a request writes them: ``2026-11-29T08:00+01:00``."""

from __future__ import annotations

from datetime import datetime

INSTANT_FORM = "write a day, a time and an offset, as in 2026-11-29T08:00+01:00, or 2026-11-29T07:00Z for UTC"


def read_instant(text: str) -> int | None:
    """Read an ISO 8601 date and time with an offset or ``Z`` as milliseconds UTC; None: it is no such instant."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return None if moment.tzinfo is None else round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
