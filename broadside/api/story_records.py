"""The API's records about stories: one card on every lock screen, updated by one request.

Times are milliseconds UTC.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from broadside.api.audience_request import AudienceRequest
from campaigns.message import Message

CardWords: TypeAlias = Literal["making", "ready", "failed", "deleted"]
UpdateWords: TypeAlias = Literal["sending", "sent", "refused", "superseded"]
StoryWords: TypeAlias = Literal["opening", "open", "ending", "ended"]

Later = Annotated[int, Meta(ge=1, le=30 * 86400)]


class StoryChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a story shows from now on."""

    state: dict[str, Any] = {}
    """What the iPhone app draws the card from: its own ``ContentState``, as JSON."""
    message: Message = Message()
    """What phones without such a card get instead of the push before; with ``loud``, what an iPhone says, too."""
    loud: bool = False
    """Tell title and body on iPhones with a sound. Without it the card changes silently."""
    stale_seconds: Later | None = None
    """Seconds after which an iPhone shows the card as out of date."""
    dismiss_seconds: Annotated[int, Meta(ge=0, le=4 * 3600)] | None = None
    """Of an end: seconds after which the card leaves the lock screen; null: as the iPhone likes, within four hours."""
    over_budget: bool | msgspec.UnsetType = msgspec.UNSET
    """As of a campaign to fire."""
    unapproved: bool | msgspec.UnsetType = msgspec.UNSET
    """As of a campaign to fire."""


class StoryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A story to open, with what it shows first."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    """What editors call it. Nobody else sees it."""
    channels: list[str] | None = None
    """None: all of this node's."""
    stored: bool = True
    """Apple keeps the last update for eight hours, for iPhones that are offline or begin to follow."""
    kind: str | None = None
    """Of the campaigns to phones without a card. A built-in kind or one of ``[kinds.NAME]``; None: ``news``."""
    audience: AudienceRequest | msgspec.UnsetType = msgspec.UNSET
    """Whom these campaigns are for; unset: everybody. A card is seen by who follows it."""
    change: StoryChange


class StoryCard(msgspec.Struct, frozen=True, kw_only=True):
    """The card of one app on iPhones."""

    channel: str
    """Our channel that it is sent by."""
    place: str
    """The app, and the host where its broadcast channels are kept."""
    broadcast: str
    """The id of the broadcast channel, which the app follows; empty: there is none (yet)."""
    state: CardWords
    error: str = ""
    """Why there is no card."""


class StoryUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """One update of a story."""

    number: int
    event: Literal["update", "end"]
    at: int
    by: str
    """The name of a key."""
    timestamp: int
    """Seconds UTC: phones drop what is older than what they show, so no two updates of a story have the same."""
    state: UpdateWords
    """``superseded``: a later one came before it was sent everywhere."""
    errors: dict[str, str] = {}
    """Channel → why it did not get the update."""
    campaign: str | None = None
    """The campaign to phones without a card."""
    change: StoryChange


class StoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """A story."""

    id: str
    """Also what its pushes replace each other under on phones without a card."""
    title: str
    state: StoryWords
    cards: list[StoryCard]
    fallback: list[str]
    """The channels whose phones get campaigns instead."""
    stored: bool
    updates: list[StoryUpdate]
    """The newest first, at most 20."""
    created_at: int
    created_by: str
    changed_at: int
    waiting: str = ""
    """Why it is not done yet what is to be done; empty: it is done, or being done."""


class BroadcastPlace(msgspec.Struct, frozen=True, kw_only=True):
    """How many broadcast channels an app has at the provider."""

    place: str
    channels: int
    limit: int
    ours: int
    """Of these, channels of stories."""
    unknown: list[str]
    """Ids of channels that no story of ours has, the first 100: others made them, or their answer was lost. They are
    never deleted by a node."""
    at: int
    """When they were counted."""


class StoryPage(msgspec.Struct, frozen=True):
    """Some stories, the last changed first."""

    items: list[StoryReport]
    places: list[BroadcastPlace]
    """What this node has counted, once an hour."""
    next: str | None
    """The ``cursor`` of the stories behind these; null: these were the last."""
