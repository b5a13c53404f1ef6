"""The message of a campaign."""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Title, text and link. Platform-neutral; each platform's ``payload`` renders it once per (campaign, locale)."""

    title: str = ""
    body: str = ""
    """One of the two may be empty: a push shows at least one of them, unless its platform's options say otherwise."""
    url: str | None = None
    """What a tap opens."""
    data: dict[str, str] = {}
    """The app's own keys."""
    options: dict[str, dict[str, Any]] = {}
    """Platform → options that only that platform knows (``{PLATFORM: {"priority": 5}}``), parsed strictly."""
