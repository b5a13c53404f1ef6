"""The API's records about one person and one campaign: why did this phone not get it?"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from broadside.api.bounds import LONGEST_CHANNEL
from broadside.api.subscriber import MAX_TOKEN

Fate = Literal[
    "delivered",
    "dead",
    "rejected",
    "expired",
    "dropped",
    "cancelled",
    "held",
    "under_way",
    "waiting",
    "outside",
    "after",
    "left",
    "not_started",
    "nobody",
]
"""What became of a person. The first six are outcomes, as in reports. ``held``: waits for its time; ``under_way``: on
a node's tubes; ``waiting``: not walked yet; ``outside``: not in the audience; ``after``: came after Fire; ``left``:
left the base before; ``not_started``: the campaign has not; ``nobody``: there is none, and nobody had this token."""


class ExplainRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom a question is about: one of ``token`` and ``subscriber``."""

    token: Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN)] | msgspec.UnsetType = msgspec.UNSET
    """Also one that the phone had before. It is in no log and not in the audit."""
    subscriber: Annotated[int, Meta(ge=1, le=2**63 - 1)] | msgspec.UnsetType = msgspec.UNSET
    """The subscriber's id."""
    channel: Annotated[str, Meta(min_length=1, max_length=LONGEST_CHANNEL)] | msgspec.UnsetType = msgspec.UNSET
    """Only on this channel: two may have the same token."""


LONGEST_ID = 19
"""Digits of a subscriber's id; more of them are a token."""


def question(who: str, channel: str | None = None) -> ExplainRequest:
    """Return the question about a token, or about a subscriber's id as a text."""
    limit = msgspec.UNSET if channel is None else channel
    if who.isascii() and who.isdigit() and len(who) <= LONGEST_ID:
        return ExplainRequest(subscriber=int(who), channel=limit)
    return ExplainRequest(token=who, channel=limit)


class GivenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider, or Broadside itself, said of the push."""

    outcome: str
    """An outcome; ``retry``: tried again; ``unknown``: sent, or perhaps sent, and never answered."""
    reason: str
    attempt: int
    """1: the first; 8 stands for all from the eighth on; 0: it was not tried."""
    node: str
    at: int
    """Ms UTC, of the page's last such answer."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one person in a campaign. Times are milliseconds UTC."""

    id: str
    """The campaign's."""
    subscriber: int | None
    channel: str | None
    fate: Fate
    sentence: str
    """The same in plain words."""
    certain: bool = True
    """False: something that would decide it is not known any more; a note says what."""
    notes: list[str] = []
    failing: list[str] = []
    """The conditions of the audience that the person does not keep."""
    may_have_it: bool = False
    """Whether the push may have arrived all the same: it was sent, and no answer is known."""
    token: str | None = None
    """The beginning of the token that the phone has now; null: it is in the base no more."""
    message_id: str | None = None
    """The id under which the provider's own logs have the push, where it can be computed."""
    window_class: int | None = None
    """The number of its window class; null: no quiet hours hold and the start is the same for all."""
    zone: str | None = None
    """The time zone that counts for the person."""
    due: int | None = None
    """When the person may first get it."""
    segment: int | None = None
    page: int | None = None
    """Its page of the walk: who was in it, and the node that walked it."""
    node: str | None = None
    epoch: int | None = None
    batch: int | None = None
    """The batch's number in the page, while it is on a tube; negative: a part that came back."""
    attempts: int | None = None
    """How often the push was tried, as far as is known; 8: eight times or more."""
    until: int | None = None
    """Until when it is held, or when it is tried again."""
    answers: list[GivenAnswer] = []
    """All that is kept, the last one at the end. An ordinary delivery leaves none."""
    left_at: int | None = None
    replaced_at: int | None = None
    """When the token in question was replaced by another one."""


class Explanations(msgspec.Struct, frozen=True):
    """Usually one person; two channels may have the same token."""

    items: list[Explanation]
