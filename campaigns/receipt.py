"""Sampled receipts: for one phone in N the push has an address of the newsroom's own, which the phone opens.

The address names campaign and channel, and a pseudonym of the phone under which nobody else knows it. It is signed, so
that nobody can make one up. Its host's access log tells how many have arrived.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from campaigns.identity import campaign_text, parse_campaign

KEY = "broadside_receipt"
"""The key of the message's data that holds the address. No newsroom's own data has it."""
_SPREAD = 0x9E3779B97F4A7C15  # 2**64 by the golden ratio: Fibonacci hashing, as ids follow each other
_64 = (1 << 64) - 1
_PHONE, _SIGNATURE = 8, 10
"""Octets of each."""
_RECEIPT = re.compile(r"([a-z2-7]{13})\.([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.([0-9]{1,7})\.([0-9a-f]{16})\.([0-9a-f]{20})")
_95 = 1.959964
"""Standard errors on either side of an estimate, for 95 %."""


class Receipts(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets an address, and which."""

    url: str
    """The address up to the receipt."""
    one_in: int
    key: bytes

    def __repr__(self) -> str:
        """Without the key."""
        return f"Receipts(url={self.url!r}, one_in={self.one_in})"


class Seen(NamedTuple):
    """A receipt that came back, and is genuine."""

    campaign: int
    channel: str
    one_in: int
    phone: bytes
    """Its pseudonym."""


class ArrivedShare(NamedTuple):
    """The estimated share of accepted pushes that have arrived, with the ends of its interval (95 %)."""

    share: float
    low: float
    high: float


def sample(subscribers: Iterable[int], one_in: int) -> list[int]:
    """The indexes of those who are of the sample: always the same ones, spread evenly."""
    return [index for index, id in enumerate(subscribers) if ((id * _SPREAD & _64) >> 20) % one_in == 0]


def address(receipts: Receipts, campaign: int, channel: str, subscriber: int) -> str:
    """The address for one phone's push."""
    named = f"{campaign_text(campaign)}.{channel}.{receipts.one_in}"
    phone = _mac(receipts.key, f"phone {named} {subscriber}")[:_PHONE].hex()
    return f"{receipts.url}{named}.{phone}.{_signature(receipts.key, f'{named}.{phone}')}"


def receipts_in(line: str) -> list[str]:
    """The receipts in a line of an access log, of whatever format."""
    return [found[0] for found in _RECEIPT.finditer(line)]


def genuine(key: bytes, receipt: str) -> Seen | None:
    """Read a receipt; None: it was not made with this key."""
    found = _RECEIPT.fullmatch(receipt)
    if found is None or not hmac.compare_digest(_signature(key, receipt.rpartition(".")[0]), found[5]):
        return None
    return Seen(parse_campaign(found[1]), found[2], int(found[3]), bytes.fromhex(found[4]))


def share_of(received: int, one_in: int, accepted: int) -> ArrivedShare | None:
    """Estimate how many of ``accepted`` pushes have arrived, from ``received`` receipts. None: nothing was accepted.

    Wilson's interval of the receipts among all accepted pushes, times N: how many of these were in the sample is itself
    chance, and so part of the error.
    """
    if accepted <= 0 or one_in <= 0:
        return None
    n, found = accepted, min(received, accepted) / accepted
    z2 = _95 * _95
    middle = (found + z2 / (2 * n)) / (1 + z2 / n)
    half = _95 / (1 + z2 / n) * math.sqrt(found * (1 - found) / n + z2 / (4 * n * n))
    return ArrivedShare(*(min(1.0, max(0.0, each) * one_in) for each in (found, middle - half, middle + half)))


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _signature(key: bytes, named: str) -> str:
    return _mac(key, f"receipt {named}")[:_SIGNATURE].hex()
