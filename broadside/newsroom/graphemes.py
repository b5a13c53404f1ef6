"""Divides a text into what a reader sees as one character, so that a cut never halves an emoji or an accented letter.

A conservative form of UAX #29: it never divides a cluster that a phone draws as one, and may keep two together.
"""

from __future__ import annotations

import unicodedata

_ZWJ = "\u200d"
_JOINING = frozenset(("Mn", "Mc", "Me"))
"""Categories of marks: accents, vowel signs, variation selectors."""


def ends(text: str) -> list[int]:
    """The positions at which a character ends, in order; the last is the text's end."""
    found: list[int] = []
    flags = 0  # regional indicators in a row: each pair is one flag
    for position in range(1, len(text)):
        before, after = text[position - 1], text[position]
        flags = flags + 1 if _flag(before) else 0
        if not (_joined(before, after) or (_flag(after) and flags % 2 == 1)):
            found.append(position)
    return [*found, len(text)] if text else []


def _joined(before: str, after: str) -> bool:
    return (
        unicodedata.category(after) in _JOINING
        or after == _ZWJ
        or before == _ZWJ
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # the skin of the emoji before it
        or "\U000e0020" <= after <= "\U000e007f"  # the flag of a region
        or unicodedata.combining(before) == 9  # a virama joins two letters
        or (before == "\r" and after == "\n")
        or ("\u1100" <= before <= "\u11ff" and "\u1160" <= after <= "\u11ff")  # the parts of a Korean syllable
    )


def _flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
