"""What a campaign says."""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said. Platform-neutral; each platform's ``payload`` renders it once per (campaign, locale)."""

    title: str
    body: str
    url: str | None = None
    """What a tap opens."""
    data: dict[str, str] = {}
    """The app's own keys."""
    options: dict[str, dict[str, Any]] = {}
    """Platform → what only that platform knows (``{PLATFORM: {"priority": 5}}``). It is read strictly."""
