"""The ``apns-id`` of each push: a UUID made of the campaign's id and the subscriber's.

Apple returns it and shows it in its delivery log. Since it can be recomputed, nothing is stored for each recipient to
find one phone's push there.
"""

from __future__ import annotations

import struct

_REST = struct.Struct("17s")
_BEFORE = 4
"""Digits before the last dash."""


def apns_id_prefix(campaign: int) -> bytes:
    """The part of an ``apns-id`` that all pushes of a campaign share: its id as the first 8-4-4 digits of a UUID."""
    return b"%08x-%04x-%04x-" % (campaign >> 32, campaign >> 16 & 0xFFFF, campaign & 0xFFFF)


def apns_id(campaign: int, subscriber: int) -> str:
    """The whole ``apns-id`` of one push."""
    return (apns_id_prefix(campaign) + apns_ids([subscriber])[0]).decode("ascii")


def apns_ids(subscribers: list[int]) -> list[bytes]:
    """The rest of each subscriber's ``apns-id``, after the prefix, as ``0000-0000000003e8``: many at once."""
    digits = struct.pack(f">{len(subscribers)}Q", *subscribers).hex().encode("ascii")
    rest = bytearray(b"-") * (_REST.size * len(subscribers))
    for place in range(16):  # column by column, which takes less time than id by id
        rest[place + (place >= _BEFORE) :: _REST.size] = digits[place::16]
    return [each for (each,) in _REST.iter_unpack(rest)]
