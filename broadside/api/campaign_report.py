"""The API's records about campaigns: requests to fire, and reports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from broadside.api.audience_request import AudienceRequest
from broadside.api.delivery_records import ChannelDelivery
from broadside.api.forecast_records import Forecast, Reach
from broadside.api.outward_records import CampaignHerd
from campaigns.campaign import ENDED, State
from campaigns.channel_state import ChannelState
from campaigns.kind import USUAL
from campaigns.message import Message
from campaigns.tally import Tally
from campaigns.windows import QuietRule


class Scheduled(msgspec.Struct, frozen=True):
    """People who wait for the end of their quiet hours."""

    at: int
    """When these end, ms UTC."""
    recipients: int
    zones: dict[str, int]
    """Their time zones → recipients, the largest first."""


class CutLine(msgspec.Struct, frozen=True, kw_only=True):
    """Who has a campaign that is being stopped, and who has not. The numbers stand still once it is *paused*."""

    accepted: int
    """The providers have accepted these people's pushes."""
    refused: int
    """These have another outcome: refused, expired, left out."""
    may_have_it: int
    """At most so many others may have it: a process or a connection ended before their answers were known, or their
    node is away."""
    on_tubes: int
    """These wait on a tube; nothing was begun."""
    not_walked: int
    """Nobody has looked at these yet."""
    in_rows: bool = False
    """Whether ``not_walked`` is an estimate: who of these rows is in the audience, only the walk finds out, or a count
    (``exact``)."""
    nodes: dict[str, str] = {}
    """Node → why its part may still change: ``not yet`` (it does not know of the stop), or what it waits for."""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """The approval that a campaign to many phones needs. Times are milliseconds UTC."""

    phones: int
    """Whom it went to, at most, when it was armed."""
    asked_by: str
    """The name of the key that asked for it: another one approves it."""
    by: str | None = None
    """The name of the key that has approved it; null: it waits."""
    at: int | None = None
    expires_at: int | None = None
    """When the approval ends, if it has not been fired."""


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign that goes to a share of its audience first."""

    share: float
    limit: float
    """The share of failures above which the rest gets nothing."""
    state: Literal["open", "on", "stopped"]
    """``open``: the share is under way; ``on``: the rest gets it; ``stopped``: it does not, unless somebody lets it."""
    why: str = ""
    rest: str | None = None
    """The campaign to the rest."""


class CampaignReport(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign, as the API shows it. Times are milliseconds UTC."""

    id: str
    """13 base32 characters."""
    state: State
    message: Message
    kind: str = USUAL
    lane: str = "middle"
    """``upper`` overtakes ``middle``, and ``middle`` overtakes ``lower``."""
    created_at: int
    fired_at: int | None = None
    finished_at: int | None = None
    start: int | None = None
    """When the editor has said that it starts; None: at Fire."""
    expires_at: int | None = None
    """When its news expires, of a campaign with a ``start``, or with an instant for it."""
    armed_at: int | None = None
    """When it was armed: made ready, to be fired later by one call."""
    approval: Approval | None = None
    """The approval that it needs before it can be fired; null: none."""
    canary: Canary | None = None
    """If it goes to a share first: what has become of the rest."""
    canary_of: str | None = None
    """The campaign to the share of whose audience this is the rest."""
    zone: str | None = None
    """The newsroom's time zone, for people."""
    seconds: float | None = None
    """Seconds from Fire to the end, or until now."""
    rate: float = 0.0
    """Pushes settled a second, over the time in which something could be sent."""
    active: float | None = None
    """Seconds in which something could be sent: ``seconds``, less the waits for the end of quiet hours."""
    quiet: QuietRule | None = None
    """What quiet hours mean for it; None: there are none."""
    quiet_hours: str | None = None
    """Its quiet hours (``23:00-07:00``), those of its kind or of the newsroom; ``off``: it has none."""
    held: int = 0
    """Recipients who wait for the end of their quiet hours."""
    schedule: list[Scheduled] = []
    """When they get it, the first ones first."""
    reached: bool = False
    """Whether everybody who may be reached now has an outcome."""
    walked: bool = False
    """Whether the whole base has been walked; until then an ``audience`` may still be an estimate."""
    channels: dict[str, Tally] = {}
    conditions: dict[str, Any] | None = None
    """Who on these channels, as the store keeps it (``campaigns.where``); None: everybody."""
    paused_channels: dict[str, str] = {}
    """Channel → the worst of ``channel_states``, as one sentence."""
    channel_states: list[ChannelState] = []
    """Why channels with pushes left stand still, or send less than they could: one record for each node."""
    questions: dict[str, str] = {}
    """Channel → the open question about refused tokens."""
    reasons: dict[str, dict[str, int]] = {}
    """Channel → reason → number of pushes that were not delivered."""
    texts_version: int = 0
    """How often its texts were corrected."""
    corrected_by: str | None = None
    """The campaign that brings the corrected texts to those who had got the earlier ones."""
    corrects: str | None = None
    """The campaign whose texts this one corrects."""
    cut: CutLine | None = None
    """Of a campaign that is being stopped, or was: who has it."""
    unserved: dict[str, int] = {}
    """Channel → subscribers left out because no node served their channel at Fire."""
    notes: list[str] = []
    """Sentences for the editor."""
    forecast: Forecast | None = None
    """What was foreseen at Fire; None: nothing could be."""
    compared: str = ""
    """The forecast beside the fact, a sentence, once it is done."""
    delivery: dict[str, ChannelDelivery] = {}
    """Channel → what is known of the arrival of its pushes, hours or days later: the provider's own figures, and what
    receipts say. Channels that nothing is known of are left out."""
    reach: Reach | None = None
    """How far it has come, in the whole ring; None: it has not begun, or its ledger has left the store."""
    herd: CampaignHerd | None = None
    """How fast it reaches people, for the sake of the newsroom's site; None: as fast as the providers take it."""

    @property
    def guard(self) -> Literal["", "unapproved", "approved", "canary", "stopped", "on"]:
        """What a guard makes of it, as `CampaignLine` says it."""
        if self.canary is not None and self.fired_at is not None:
            return "canary" if self.canary.state == "open" else self.canary.state
        if self.approval is not None and self.state == "armed":
            return "unapproved" if self.approval.by is None else "approved"
        return ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to this campaign."""
        return self.state in ENDED

    @property
    def rate_now(self) -> float:
        """See `CampaignLine`."""
        return 0.0 if self.reach is None else self.reach.rate

    @property
    def left(self) -> float | None:
        """See `CampaignLine`."""
        return None if self.reach is None else self.reach.left

    @property
    def bottleneck(self) -> str:
        """See `CampaignLine`."""
        return self.reach.bottlenecks[0].sentence if self.reach is not None and self.reach.bottlenecks else ""


class CampaignLine(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign in a list; its report has the rest. Times are milliseconds UTC."""

    id: str
    """13 base32 characters."""
    state: State
    title: str
    """Of the default text; its body if it has no title. At most 200 characters."""
    kind: str
    lane: str
    created_at: int
    fired_at: int | None
    finished_at: int | None
    start: int | None
    """When the editor has said that it starts; null: at Fire."""
    zone: str | None
    """The newsroom's time zone, for people."""
    seconds: float | None
    """Seconds from Fire to the end, or until now."""
    rate: float
    """Pushes settled a second, over the time in which something could be sent."""
    held: int
    """Recipients who wait for the end of their quiet hours."""
    rate_now: float = 0.0
    """Pushes that have ended a second, over the last five."""
    left: float | None = None
    """Seconds until all are reached that may be reached now, at this rate; null: nothing is sent now."""
    bottleneck: str = ""
    """What keeps it from being faster now, a sentence; empty: nothing is sent."""
    channels: dict[str, Tally]
    guard: Literal["", "unapproved", "approved", "canary", "stopped", "on"] = ""
    """What a guard makes of it: it waits for its approval, or has it; it is a canary whose share is under way, was
    stopped, or has led on to the rest."""

    @classmethod
    def of(cls, report: CampaignReport) -> CampaignLine:
        """Return the line of a report."""
        same = {name: getattr(report, name) for name in cls.__struct_fields__ if name not in ("title", "guard")}
        return cls(title=(report.message.title or report.message.body)[:200], guard=report.guard, **same)


class CampaignPage(msgspec.Struct, frozen=True):
    """Some campaigns, the newest first."""

    items: list[CampaignLine]
    next: str | None
    """The ``cursor`` of the campaigns before these; null: these were the first."""


class DraftVersion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A draft as somebody has seen it."""

    id: str
    version: int


class FireRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign to fire."""

    message: Message
    channels: list[str] | None = None
    """None: all."""
    kind: str | None = None
    """A built-in kind or one of ``[kinds.NAME]``; None: ``news``."""
    ttl_seconds: Annotated[int, Meta(ge=1, le=30 * 86400)] | None = None
    """When the news expires; None: after the kind's time."""
    start: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="when")
    """An instant, ISO 8601 with an offset or ``Z``; ``best``: each subscriber's best time, the next within a day;
    ``local 2026-12-01T08:00``: each zone's own 8:00 (where that is over, at once; with `` skip`` behind it, never).
    Without it the campaign starts at once."""
    expires: str | msgspec.UnsetType = msgspec.UNSET
    """Instead of ``ttl_seconds``: an instant, or a duration from the start (``90s``, ``15m``, ``2h``, ``1d``)."""
    quiet: QuietRule | msgspec.UnsetType = msgspec.UNSET
    """What the quiet hours of a subscriber's own time zone mean: wait until they end, show it at once without a sound,
    leave these people out, or wake them; left out: as the kind says."""
    on_objection: Literal["refuse", "skip", "adapt"] | msgspec.UnsetType = msgspec.UNSET
    """If a channel's platform cannot carry the message: refuse the campaign (the default), leave the channel out, or
    adapt the message to the platform, and refuse the campaign if that is not possible."""
    expire_asleep: bool | msgspec.UnsetType = msgspec.UNSET
    """Fire although the news expires before some people may first get it: they get nothing. Without it such a campaign
    is refused, and the answer says how many they are."""
    again: bool | msgspec.UnsetType = msgspec.UNSET
    """Fire although the same text goes to one of these channels within the time of ``[guards] repeat``. Without it such
    a campaign is refused, and the answer names the other one."""
    over_budget: bool | msgspec.UnsetType = msgspec.UNSET
    """Fire although some phones had as many campaigns of this kind today as its ``budget`` says, or as many as their
    channel's ``daily_limit``: they get one more, or their provider drops it. Without it such a campaign is refused, and
    the answer says how many they are."""
    canary: Annotated[float, Meta(gt=0, le=0.5)] | msgspec.UnsetType = msgspec.UNSET
    """Send it to this share of the audience first, and to the rest by itself once the share has it; the rest is a
    campaign of its own. It gets nothing if more of the share fails than ``canary_limit`` says."""
    canary_limit: Annotated[float, Meta(ge=0, lt=1)] | msgspec.UnsetType = msgspec.UNSET
    """The share of a channel's answers that may be failures (refused, or a dead token); above it the rest gets nothing.
    Left out: 0.1."""
    arm: bool | msgspec.UnsetType = msgspec.UNSET
    """Make it ready and fire nothing: it is checked, and waits for `POST /v1/campaigns/{id}/fire`, and for an approval
    if its audience needs one."""
    unapproved: bool | msgspec.UnsetType = msgspec.UNSET
    """Fire to more phones than ``[guards] approval_above`` without another person's approval. Only approvers and
    operators may."""
    dry_run: bool | msgspec.UnsetType = msgspec.UNSET
    """Ask whether the platforms and providers would accept the message; fire nothing."""
    audience: AudienceRequest | msgspec.UnsetType = msgspec.UNSET
    """Who on these channels; unset: everybody."""
    rate: Annotated[float, Meta(ge=0, le=1e7)] | msgspec.UnsetType = msgspec.UNSET
    """People a second at most, over the whole ring, so that the newsroom's own site bears those who open it; 0: no
    limit; left out: as the kind or the configuration says."""
    ramp_seconds: Annotated[float, Meta(ge=0, le=3600)] | msgspec.UnsetType = msgspec.UNSET
    """Seconds from the start over which it rises to this rate, from a twentieth of it."""
    draft: bool | msgspec.UnsetType = msgspec.UNSET
    """Keep it as a draft; fire nothing. It may be incomplete."""
    from_draft: DraftVersion | msgspec.UnsetType = msgspec.UNSET
    """The draft that this campaign was written as. A draft is fired once, whatever the ``Idempotency-Key``, and only if
    nobody has changed it since this version."""


class CorrectionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another text for a campaign."""

    message: Message
    """The whole message, with all of its texts."""
    awake: bool = False
    """Show it as loud as the first one to those who had got that. Without it they get it without a sound, where their
    platform can show it so."""


class RetractionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The end of a campaign that should not have been sent."""

    message: Message | None = None
    """What those who have got it see in its place; without it the campaign is stopped, and nothing is sent."""
    awake: bool = False
    """As in a correction."""


class ArmedFire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said yes to when an armed campaign is fired."""

    again: bool | msgspec.UnsetType = msgspec.UNSET
    """As of a campaign to fire."""
    over_budget: bool | msgspec.UnsetType = msgspec.UNSET
    """As of a campaign to fire."""
    unapproved: bool | msgspec.UnsetType = msgspec.UNSET
    """As of a campaign to fire: also without its approval, or with one that has ended."""


class KindRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign of a kind is sent unless its request says otherwise."""

    lane: str
    """``upper`` overtakes ``middle``, and ``middle`` overtakes ``lower``."""
    quiet: QuietRule
    quiet_hours: str
    """``23:00-07:00``; ``off``: none."""
    urgency: str
    ttl_seconds: int
    """When its news expires."""
    rate: float | None = None
    """People a second at most; null: no limit."""
    ramp_seconds: float = 0.0
    budget: int | None = None
    """Campaigns a day from which on a phone had enough of this kind; null: nobody counts."""


class NewsroomClock(msgspec.Struct, frozen=True, kw_only=True):
    """What makes an instant of a local time, and what a campaign can be."""

    zone: str | None
    """The newsroom's time zone; None: none is configured."""
    now: int
    """The node's time, ms UTC."""
    kinds: dict[str, KindRules] = {}
    channels: dict[str, str] = {}
    """This node's channels → their platforms."""
    silent: list[str] = []
    """The channels on which a push can be shown asleep; on the others *silent* means *hold*."""
    link_hosts: list[str] = []
    """The sites whose pages this node reads."""


class Verdict(msgspec.Struct, frozen=True):
    """One channel's answer to a dry run."""

    verdict: Literal["accepted", "checked", "invalid", "refused", "unanswered"]
    """``accepted``: by the provider; ``checked``: valid by the platform's rules, but the provider was not asked;
    ``invalid``: the message breaks the platform's rules; ``refused``: by the provider; ``unanswered``: no answer came.
    """
    text: str
    """The verdict in words."""
    asked: int = 0
    """Subscribers that the provider was asked about."""
    accepted: int = 0
    adapted: list[str] = []
    """How the message was adapted to the platform, as the request asks, a sentence each."""


class DryRunReport(msgspec.Struct, frozen=True):
    """What the platforms and providers say of a message."""

    channels: dict[str, Verdict]
    notes: list[str] = []
    """What the campaign's times mean for people whom they concern: a sentence each."""
