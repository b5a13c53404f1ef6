"""Times of registration → milliseconds since 1970, UTC; times of day → minutes since midnight."""

from __future__ import annotations

import re
from datetime import UTC, datetime

EARLIEST = 1_230_768_000_000
"""Milliseconds. 2009: no push service is older."""
_LAST_SECONDS = 10_000_000_000
"""Smaller numbers are seconds: as milliseconds they would lie in 1970."""


def registration(value: object, latest: int) -> int | None:
    """Read milliseconds, seconds, or an ISO date and time (without a zone: UTC); None: it is no such time.

    ``latest``: milliseconds after which a registration lies in the future.
    """
    try:
        if isinstance(value, int):
            number = float(value)
        elif re.fullmatch(r"\d{1,15}(?:\.\d{1,9})?", text := str(value)):
            number = float(text)
        else:
            moment = datetime.fromisoformat(re.sub(r"\s*(?:UTC|GMT)$", "+00:00", text))
            number = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        at = round(number * 1000 if abs(number) < _LAST_SECONDS else number)
    except (ValueError, OverflowError):
        return None
    return at if EARLIEST <= at <= latest else None


def minute(value: object) -> int | None:
    """Read minutes since midnight, or ``hh:mm``; None: it is no time of day."""
    text = str(value)
    if clock := re.fullmatch(r"(\d{1,2}):([0-5]\d)(?::\d\d)?", text):
        at = int(clock[1]) * 60 + int(clock[2])
    elif re.fullmatch(r"\d{1,4}(?:\.0)?", text):
        at = int(float(text))
    else:
        return None
    return at if at <= 1439 else None
