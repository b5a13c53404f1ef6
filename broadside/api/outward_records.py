"""The API's records about what the node asks of the newsroom's other systems, and what they hear."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class CampaignHerd(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a campaign reaches people, for the sake of the newsroom's own site."""

    rate: float
    """People a second at most, over the whole ring."""
    ramp: float
    """Seconds from the start over which the rate rises to this."""
    now: float
    """People a second that it may reach now."""
    governed: bool
    """Whether the newsroom's load lowers the rate."""
    share: float | None = None
    """The share of the rate that the load leaves it; null: it is not governed, or no node governs yet."""
    load: float | None = None
    """The site's load, smoothed: 1 is all that it bears; null: nobody knows it."""
    silent: bool = False
    """Whether nobody tells the load any more, so that the campaign is slow out of care."""
    text: str = ""
    """What it is doing, a sentence."""


class RateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast a campaign reaches people from now on."""

    rate: Annotated[float, Meta(gt=0, le=1e7)]
    """People a second at most, over the whole ring."""


class LoadRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The load of the newsroom's site."""

    load: Annotated[float, Meta(ge=0, le=2)]
    """0 to 1: 1 is all that it bears. More than 1: it is overloaded."""


class LoadNoted(msgspec.Struct, frozen=True, kw_only=True):
    """The load was kept."""

    load: float


class HerdReport(msgspec.Struct, frozen=True, kw_only=True):
    """The herd governor, as this node knows it."""

    governed: bool
    """Whether this node is configured to heed the load."""
    target: float
    campaigns: list[str] = []
    """The campaigns under way that the load governs."""
    node: str = ""
    """The node that governs; empty: none does, as there is nothing to govern."""
    share: float | None = None
    load: float | None = None
    silent: bool = False
    text: str = ""
    """What the site said last."""


class FeedLine(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one subscriber, or ``gap``: entries before this one are not kept any more."""

    cursor: str
    """Give the last one back, and the next answer begins behind it."""
    kind: Literal["dead", "replaced", "restored", "gap"]
    """``dead``: deleted, as the provider refuses the token; ``replaced``: it has another token; ``restored``: a
    deletion was undone."""
    at: int
    """Ms UTC."""
    channel: str = ""
    subscriber: int | None = None
    token: str = ""
    """The token that it had; of ``restored``: that it has again."""
    new_token: str | None = None
    """Of ``replaced``."""
    campaign: str | None = None
    """The campaign in which the provider refused the token."""
    reason: str | None = None
    """Of ``dead``: the provider's word for it."""


class WebhookReport(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook. Times are milliseconds UTC."""

    name: str
    host: str
    """Whom it calls."""
    state: Literal["heard", "waiting", "failing"]
    """``heard``: the receiver knows all; ``waiting``: it is being called; ``failing``: the last call has failed."""
    waiting: int = 0
    """Changes that it has yet to hear."""
    heard_at: int | None = None
    """When it last answered well."""
    failing_since: int | None = None
    tries: int = 0
    """Calls that have failed since then."""
    error: str = ""
    missed: int = 0
    """Changes that were given up, as they were too old or too many."""


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """The webhooks of this node's configuration."""

    webhooks: list[WebhookReport]


class WebhookCall(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a call: a campaign has got another state. Known by ``id``: the same one may come again."""

    id: int
    """Grows with each change, over all campaigns."""
    campaign: str
    state: str
    at: int
    """When it changed, ms UTC."""
    kind: str = ""
    title: str = ""
    """Of the default text; its body if it has no title. At most 200 characters."""
    channels: dict[str, dict[str, int]] = {}
    """Channel → outcome → how many, as of the call."""
