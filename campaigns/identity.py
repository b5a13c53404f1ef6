"""The text under which a campaign is known outside: short, and readable back as its 64-bit id."""

from __future__ import annotations

CAMPAIGN_LENGTH = 13
"""13 base32 digits hold 65 bits: a 64-bit id fits, and so does every provider's collapse field (Web Push: 32 bytes)."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 §6, in lower case
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_LIMIT = 1 << 64


def campaign_text(campaign: int) -> str:
    """Write a 64-bit campaign id as 13 lower-case base32 characters, most significant first (so they sort as ids do).

    Raises ``ValueError`` for an id outside 0 … 2**64 - 1.
    """
    if not 0 <= campaign < _LIMIT:
        raise ValueError(f"campaign id {campaign} is not a 64-bit number")
    return "".join([_ALPHABET[(campaign >> shift) & 31] for shift in range(60, -1, -5)])


def parse_campaign(text: str) -> int:
    """Read what :func:`campaign_text` wrote; capitals are accepted. Raises ``ValueError`` for anything else."""
    if len(text) != CAMPAIGN_LENGTH:
        raise ValueError(f'campaign "{text}" has {len(text)} characters: an id has {CAMPAIGN_LENGTH}')
    number = 0
    for letter in text.lower():
        value = _VALUES.get(letter)
        if value is None:
            raise ValueError(f'campaign "{text}": "{letter}" is not one of a-z, 2-7')
        number = number << 5 | value
    if number >= _LIMIT:
        raise ValueError(f'campaign "{text}" is beyond 64 bits')
    return number
