"""Times of registration → milliseconds since 1970, UTC; times of day → minutes since midnight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

EARLIEST = 1_230_768_000_000
"""Milliseconds. 2009: no push service is older."""
_LAST_SECONDS = 10_000_000_000
"""Smaller numbers are seconds: as milliseconds they would lie in 1970."""
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?").fullmatch
_GREENWICH = re.compile(r"\s*(?:UTC|GMT)$").sub
_MOST = 100_000
"""Parts that are kept. A minute has 60,000 milliseconds."""


class _Parts(dict[str, int | None]):
    """Cache: a part of an ISO time → the milliseconds it adds; None: it must be read as a whole. Bounded."""

    def __init__(self, form: str, whole: str, less: int) -> None:
        """``form``: of the part; ``whole``: a time with a place for it; ``less``: the milliseconds of that place."""
        super().__init__()
        self._form, self._whole, self._less = re.compile(form).fullmatch, whole, less

    def __missing__(self, part: str) -> int | None:
        at = _moment(self._whole.format(part)) if self._form(part) else None
        if len(self) >= _MOST:
            self.clear()
        self[part] = found = None if at is None else at - self._less
        return found


def registration(value: object, latest: int) -> int | None:
    """Read milliseconds, seconds, or an ISO date and time (without a zone: UTC); None: it is no such time.

    ``latest``: milliseconds after which a registration lies in the future.
    """
    if isinstance(value, str):
        at = _iso(value)
        if at is None:
            at = _moment(value)
    else:
        at = _moment(value)
    return at if at is not None and EARLIEST <= at <= latest else None


def _iso(text: str) -> int | None:
    """Read ``2026-10-01 08:00:00 UTC`` and the like by its parts, at a third of the cost; None: read it as a whole."""
    day, minute_, rest = _DAY[text[:10]], _MINUTE[text[10:16]], _REST[text[16:]]
    return None if day is None or minute_ is None or rest is None else day + minute_ + rest


def _moment(value: object) -> int | None:
    try:
        if isinstance(value, int):
            number = float(value)
        elif _NUMBER(text := str(value)):
            number = float(text)
        else:
            moment = datetime.fromisoformat(_GREENWICH("+00:00", text) if text[-1:] in "CT" else text)
            number = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return round(number * 1000 if abs(number) < _LAST_SECONDS else number)
    except (ValueError, OverflowError):
        return None


_START = 1_262_304_000_000
"""2010-01-01."""
_DAY = _Parts(r"\d{4}-\d\d-\d\d", "{}T00:00:00", 0)
_MINUTE = _Parts(r"[ T]\d\d:\d\d", "2010-01-01{}:00", _START)
_REST = _Parts(r":\d\d(?:\.\d{3})?(?: ?(?:UTC|GMT)|Z|[+-]\d\d:\d\d)?", "2010-01-01T00:00{}", _START)


def registrations(values: Sequence[str], latest: int) -> list[int] | None:
    """Read many ISO times, at a fifth of the cost of ``registration``. None: call that for each."""
    try:
        found = [_DAY[at[:10]] + _MINUTE[at[10:16]] + _REST[at[16:]] for at in values]  # type: ignore[operator]
    except TypeError:
        return None
    return found if found and min(found) >= EARLIEST and max(found) <= latest else None


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
