"""Makes a provider's texts and times harmless at the border: only values that we can store go further."""

from __future__ import annotations

import re

UNREADABLE = (ValueError, RecursionError)
"""Errors of a decoder that cannot read a text: msgspec's errors and UnicodeDecodeError are ValueErrors; a text that is
nested too deeply raises RecursionError."""
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]{0,39}")
_DAY = 86_400_000


def word(text: object) -> str:
    """A reason that may be counted: at most 40 letters, digits and blanks. Anything else becomes an empty text.

    Reasons are the keys of a campaign's tallies. A provider whose texts never repeat must not fill them.
    """
    return text if isinstance(text, str) and _WORD.fullmatch(text) else ""


def timestamp(value: object, now: int) -> int | None:
    """A provider's time, ms UTC, if it is from 0 to a day after ``now``; None for anything else, as if absent."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= now + _DAY:
        return value
    return None
