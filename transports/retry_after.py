"""The ``retry-after`` field (RFC 9110 §10.2.3)."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

_LIMIT = 86_400.0


def parse_retry_after(value: bytes | None, now_ms: int) -> float | None:
    """Seconds to wait, 0 … a day; None if the field is absent or neither a number nor a date.

    ``now_ms``: ms UTC, from which a date is counted.
    """
    if value is None:
        return None
    text = value.decode("ascii", errors="replace").strip()
    if text.isascii() and text.isdigit():
        return min(_LIMIT, float(text[:9]))
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    try:
        return min(_LIMIT, max(0.0, date.timestamp() - now_ms / 1_000))
    except (OverflowError, ValueError):
        return None
