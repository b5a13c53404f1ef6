"""A campaign's certificate: what the ledger has, signed, so that others can check it without Broadside's store.

What is signed is the canonical form of everything but ``signature`` (:func:`canonical`), behind :data:`DOMAIN`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from broadside.api.operations import Gap, Walked

DOMAIN = b"broadside certificate 1\n"
"""In front of what is signed: the key signs nothing else that could be taken for a certificate."""
SIGNATURE = "signature"


class CertifiedText(msgspec.Struct, frozen=True, kw_only=True):
    """The words of a campaign, in one of their versions."""

    version: int
    """0: as fired; each correction has the next one."""
    sha256: str
    """Of the message as canonical JSON."""
    title: str | None
    body: str


class CampaignCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger has of a campaign that is over or stopped. Times are milliseconds UTC; all numbers are whole."""

    broadside_certificate: int = 1
    """The version of this form."""
    campaign: str
    state: str
    created_at: int
    fired_at: int | None
    finished_at: int | None
    texts: list[CertifiedText]
    channels: dict[str, dict[str, int]]
    """Channel → word → number, as in the report."""
    ranges: list[Walked]
    """The ids that were walked, as in ``campaign show --coverage``."""
    gaps: list[Gap]
    """Ids that were not: of a stopped or cancelled campaign."""
    issued_at: int
    issued_by: str
    """The node's name."""
    key: str
    """The first 16 hexadecimal digits of the SHA-256 of the public key."""
    signature: str = ""
    """Ed25519, in base64."""


class CertificateKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public half of the key that signs certificates. The store's nodes share one."""

    key: str
    """As in a certificate."""
    public: str
    """PEM."""
    created_at: int


class NotCanonical(ValueError):
    """A value that no certificate has: a number that is not whole, say."""


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return the canonical form: UTF-8, keys sorted by their characters, no space, numbers whole, no ``signature``.

    Raises :class:`NotCanonical`.
    """
    signed = {name: value for name, value in content.items() if name != SIGNATURE}
    _check(signed)
    return json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _check(value: Any) -> None:
    if isinstance(value, dict):
        for each in value.values():
            _check(each)
    elif isinstance(value, list):
        for each in value:
            _check(each)
    elif not isinstance(value, str | int | None):
        raise NotCanonical(f"{value!r} is no text, whole number, list or object")
