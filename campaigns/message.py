"""The message of a campaign: its texts in every language, and what a phone does with them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Urgency: TypeAlias = Literal["high", "normal", "low"]
"""How much a push may disturb: each platform translates it, and its own options override it."""


class Text(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a push says, in one language. A field that is not given is another text's: see ``campaigns.text_choice``."""

    title: str | None = None
    body: str | None = None
    url: str | None = None
    image: str | None = None


class PlatformText(Text, frozen=True, kw_only=True, omit_defaults=True):
    """What one platform says instead: its default text, and its texts by locale."""

    texts: dict[str, Text] = {}


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a campaign sends. Platform-neutral; each platform's ``payload`` renders it once per (campaign, text).

    ``title``, ``body``, ``url`` and ``image`` are the default text: for phones whose language has no text.
    """

    title: str = ""
    body: str = ""
    """One of the two may be empty: a push shows at least one of them, unless its platform's options say otherwise.
    Both may have personal fields, ``{first_name|friend}``: see ``campaigns.personal``."""
    url: str | None = None
    """What a tap opens."""
    image: str | None = None
    """Address of a picture, ``https://…``."""
    texts: dict[str, Text] = {}
    """BCP 47 locale → its text. ``pt-BR`` falls back to ``pt``, and that to the default text."""
    platforms: dict[str, PlatformText] = {}
    """Platform → what it says instead."""
    sound: str | None = None
    """A sound file of the app; ``none``: no sound; None: the phone's default sound."""
    badge: int | None = None
    """The number on the app's icon; 0 removes it; None: it stays as it is."""
    category: str | None = None
    """The app's own name for this kind of push, by which it chooses the buttons."""
    thread: str | None = None
    """The story: phones show the pushes of one story together."""
    collapse: str | None = None
    """A named slot of the screen, in which this push replaces the one before it; None: only a repeat of this campaign
    replaces it."""
    data: dict[str, str] = {}
    """The app's own keys."""
    urgency: Urgency | None = None
    """None: normal; in a request, as the campaign's kind says."""
    options: dict[str, dict[str, Any]] = {}
    """Platform → options that only that platform knows (``{PLATFORM: {"priority": 5}}``), parsed strictly. They win
    over everything above."""


SILENT = "none"
"""The ``sound`` of a push without one."""
