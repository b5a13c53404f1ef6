"""The API's records about what arrives on phones: the providers' own figures, and receipts."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MOST_RECEIPTS = 10_000
"""Receipts of one request."""


class ProviderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider itself says became of pushes. Providers round, and leave some out: the parts need not add up."""

    accepted: int
    delivered: int
    waiting: int
    """Kept for phones that are off."""
    discarded: int
    days: list[str]
    """The days (UTC) that they are of."""
    whole_app: bool
    """They are of all pushes of the app on these days, as the provider knows no campaigns."""
    at: int
    """When they were fetched, ms UTC."""


class ReceiptEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The share of accepted pushes that has arrived, estimated from a sample."""

    received: int
    """Phones of the sample whose receipts came back."""
    one_in: int
    """The sample is one phone in so many."""
    share: float
    low: float
    high: float
    """Between these the share lies, 19 times in 20."""
    at: int
    """When receipts were imported last, ms UTC."""


class ChannelDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the arrival of one channel's pushes."""

    figures: ProviderFigures | None = None
    receipts: ReceiptEstimate | None = None


class ReceiptsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Receipts out of an access log, at most 10,000."""

    receipts: Annotated[list[Annotated[str, Meta(max_length=160)]], Meta(max_length=MOST_RECEIPTS)]


class ReceiptsNoted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of them."""

    counted: int
    """Phones that had not been counted before."""
    again: int
    """Phones that had been."""
    forged: int
    """Not signed with this newsroom's key."""
    unknown: int
    """Of campaigns that the store does not know."""
