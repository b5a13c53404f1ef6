"""The API's records about drafts: campaigns that were written and not fired. Times are milliseconds UTC."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from broadside.api.campaign_report import FireRequest


class DraftChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a draft is to be."""

    version: Annotated[int, Meta(ge=0, le=2**53)]
    """The version that the change was made to; 0: the draft is new."""
    request: FireRequest
    """The campaign. It may be incomplete: its fields are checked when it is fired."""


class DraftLine(msgspec.Struct, frozen=True, kw_only=True):
    """One draft in a list; its record has the rest."""

    id: str
    title: str
    """Of the default text; its body if it has no title. At most 200 characters."""
    version: int
    created_at: int
    created_by: str
    """The name of a key."""
    changed_at: int
    changed_by: str


class DraftRecord(DraftLine, frozen=True, kw_only=True):
    """A draft. It is there for four weeks after its last change."""

    request: FireRequest
    expires_at: int
    campaign: str | None = None
    """The campaign that it has become; null: it was not fired."""


class DraftPage(msgspec.Struct, frozen=True):
    """Some drafts that were not fired, the last changed first."""

    items: list[DraftLine]
    next: str | None
    """The ``cursor`` of the drafts behind these; null: these were the last."""


class DraftRemoved(msgspec.Struct, frozen=True):
    """Whether the draft was there."""

    removed: bool
