"""The API's records about a test send: a message to a few devices that are named. They have no audience."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from campaigns.message import Message

MOST_DEVICES = 20


class DeviceSend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to try on devices. ``[TEST]`` is written before its title."""

    message: Message
    subscribers: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(max_length=MOST_DEVICES)] = []
    """Ids of subscribers."""
    tokens: Annotated[list[Annotated[str, Meta(min_length=1, max_length=4096)]], Meta(max_length=MOST_DEVICES)] = []
    """Tokens of subscribers; with ``channel``, also tokens that nobody has registered."""
    channel: Annotated[str, Meta(max_length=32)] | None = None
    """The channel of the tokens; null: they are looked for on all channels of this node."""


class DeviceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the push to one device."""

    subscriber: int | None
    """Null: nobody has registered its token."""
    channel: str
    outcome: Literal["accepted", "refused", "unanswered"]
    """``unanswered``: no answer came in time; the push may have arrived nevertheless."""
    text: str
    """The outcome in words."""


class DeviceSendReport(msgspec.Struct, frozen=True, kw_only=True):
    """A test send, which is over."""

    id: str
    """Its own: the audit has it, and devices show one push for it. It is no campaign."""
    title: str
    """As devices show it, of the default text."""
    devices: list[DeviceAnswer]
