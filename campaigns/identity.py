"""The names under which a campaign and a push are known outside: short texts that can be recomputed at any time.

Nothing per recipient is stored to answer "what became of this phone?": its ``apns-id`` follows from the campaign's id
and the subscriber's.
"""

from __future__ import annotations

import struct

CAMPAIGN_LENGTH = 13
"""13 base32 digits hold 65 bits: a 64-bit id fits, and so does every provider's collapse field (Web Push: 32 bytes)."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 §6, in lower case
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_LIMIT = 1 << 64
_DIGITS = struct.Struct("4s12s")


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


def apns_id_prefix(campaign: int) -> bytes:
    """The part of an ``apns-id`` that all pushes of a campaign share: its id as the first 8-4-4 digits of a UUID."""
    return b"%08x-%04x-%04x-" % (campaign >> 32, campaign >> 16 & 0xFFFF, campaign & 0xFFFF)


def apns_id(prefix: bytes, subscriber: int) -> bytes:
    """``apns-id`` of one push: 64-bit campaign id, then 64-bit subscriber id, in lower-case UUID form (0.3 µs)."""
    return b"%s%04x-%012x" % (prefix, subscriber >> 48, subscriber & 0xFFFFFFFFFFFF)


def apns_ids(subscribers: list[int]) -> list[bytes]:
    """The rest of each subscriber's ``apns-id``, after the prefix: many at once, at a third of the cost."""
    digits = struct.pack(f">{len(subscribers)}Q", *subscribers).hex().encode("ascii")
    return [b"%s-%s" % parts for parts in _DIGITS.iter_unpack(digits)]


def parse_apns_id(text: str) -> tuple[int, int]:
    """(campaign id, subscriber id) of an ``apns-id``. Raises ``ValueError`` if it is not in UUID form."""
    digits = text.replace("-", "")
    if len(digits) != 32 or [len(part) for part in text.split("-")] != [8, 4, 4, 4, 12]:
        raise ValueError(f'apns-id "{text}" is not of the form 8-4-4-4-12')
    return int(digits[:16], 16), int(digits[16:], 16)
