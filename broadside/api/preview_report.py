"""The API's records about previews: the exact requests that phones' providers would get."""

from __future__ import annotations

from typing import Literal

import msgspec


class TextPreview(msgspec.Struct, frozen=True, kw_only=True):
    """One text on one channel, awake or asleep."""

    locale: str
    """The text; empty: the default text."""
    presentation: Literal["awake", "asleep"]
    fields: dict[str, str] = {}
    """Header fields that depend on the message."""
    body: str
    """The exact JSON, for a token that belongs to nobody and a phone without personal fields."""
    bytes: int
    """What counts against ``limit``, with each personal field as long as it may be."""
    limit: int
    apps: str = ""
    """The versions of the app that get it (``>=5.0``), or ``others``; empty: all."""
    warnings: list[str] = []
    """On its length: they block nothing."""


class ChannelPreview(msgspec.Struct, frozen=True, kw_only=True):
    """All texts on one channel."""

    platform: str
    device: str = "Android"
    """What shows its pushes: ``iPhone``, ``Android`` or ``browser``."""
    texts: list[TextPreview] = []
    objections: dict[str, str] = {}
    """``awake`` or ``asleep`` → why the platform cannot show the message so."""
    at_night: str = ""
    """The quiet hours, and what becomes of people in them; empty: there are none."""
    daily_limit: int | None = None
    """Campaigns a day that the provider shows a phone; null: nobody counts."""


class PreviewReport(msgspec.Struct, frozen=True):
    """The exact requests that the providers get of a campaign."""

    channels: dict[str, ChannelPreview]
