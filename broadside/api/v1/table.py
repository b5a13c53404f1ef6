"""All routes of the API, version 1. A route that landed never changes: only optional fields and new routes come."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from broadside.api.access_records import (
    AuditPage,
    KeyCreated,
    KeyRecord,
    KeyRequest,
    Keys,
    LoginLink,
    LoginRequest,
    LogoutAnswer,
    SessionRecord,
)
from broadside.api.audience_request import AudienceCount, CountRequest, KnownAttributes
from broadside.api.base_records import BaseCount, Channels, Imported, ImportedLines, Probed, Removed, SubscriberPage
from broadside.api.bounds import LARGEST_CAMPAIGN, LARGEST_CHANNEL, LARGEST_LINE
from broadside.api.campaign_report import (
    ArmedFire,
    CampaignPage,
    CampaignReport,
    CorrectionRequest,
    DryRunReport,
    FireRequest,
    NewsroomClock,
    RetractionRequest,
)
from broadside.api.certificate_records import CampaignCertificate, CertificateKey
from broadside.api.channel_records import ChannelChanged, ChannelCredentials, ChannelRecord, ChannelSettings
from broadside.api.dead_records import DeadAnswer, DeadAnswered, DeadPage, DeadRestore, DeadRestored
from broadside.api.delivery_records import MOST_RECEIPTS, ReceiptsNoted, ReceiptsRequest
from broadside.api.device_send_records import DeviceSend, DeviceSendReport
from broadside.api.draft_records import DraftChange, DraftPage, DraftRecord, DraftRemoved
from broadside.api.drill_records import DrillRecord, DrillRequest, Drills
from broadside.api.event_records import EVENT_STREAM
from broadside.api.event_records import EVENTS as EVENT_KINDS
from broadside.api.explain_records import ExplainRequest, Explanations
from broadside.api.forecast_records import Forecast
from broadside.api.link_records import LinkMetadata, LinkRequest
from broadside.api.node_status import Health, NodeStatus, Readiness, TubeStatus
from broadside.api.operations import (
    BuriedPage,
    Coverage,
    EndedBatches,
    Forgotten,
    Kicked,
    Peers,
    Verification,
)
from broadside.api.outward_records import FeedLine, HerdReport, LoadNoted, LoadRequest, RateRequest, Webhooks
from broadside.api.preview_report import PreviewReport
from broadside.api.ring_state import RingState
from broadside.api.story_records import StoryChange, StoryPage, StoryReport, StoryRequest
from broadside.api.subscriber import MAX_SUBSCRIBERS, MAX_TOKEN, Subscriber
from broadside.api.v1.route import Route

NO_CAMPAIGN = {404: "There is no such campaign."}
NO_CHANNEL = {404: "This node has no such channel."}
LEDGER = {**NO_CAMPAIGN, 409: "The campaign's ledger has left the store: the error says where it is."}
LARGEST_STORY = 128 * 1024
"""Bytes of a story's request: an audience, and texts in many languages."""
SHORTEN = "shorten the message: no platform takes this much"

Cursor = Annotated[str, Meta(max_length=64, description="The `next` of the answer before.")]


class _Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a request."""


class CampaignsQuery(_Query, frozen=True, kw_only=True):
    """Which campaigns."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    cursor: Cursor = ""


class CampaignQuery(_Query, frozen=True, kw_only=True):
    """How much of a campaign's report."""

    exact: bool = False
    """Of a stopped campaign with conditions: count the audience among those who were not walked. It looks at each of
    these subscribers: seconds, for millions."""


class DraftsQuery(_Query, frozen=True, kw_only=True):
    """Which drafts."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    cursor: Cursor = ""


class StoriesQuery(_Query, frozen=True, kw_only=True):
    """Which stories."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Cursor = ""


class EventsQuery(_Query, frozen=True, kw_only=True):
    """Which events."""

    campaign: Annotated[str, Meta(max_length=64)] = ""
    """Only this campaign, by its id. Without it: the newest 20."""
    ring: bool = False
    """Also what runs in every node of the ring."""
    limit: Annotated[int, Meta(ge=1, le=10_000)] | msgspec.UnsetType = msgspec.UNSET
    """End after this number of events. Without it the stream goes on."""


class ProgressQuery(_Query, frozen=True, kw_only=True):
    """How long to listen."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] | msgspec.UnsetType = msgspec.UNSET
    """End after this number of reports. Without it the stream goes on until the campaign has ended."""


class FeedQuery(_Query, frozen=True, kw_only=True):
    """Which part of the feed."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    cursor: Annotated[str, Meta(max_length=64, description="The `cursor` of the last line that was read.")] = ""


class SubscribersQuery(_Query, frozen=True, kw_only=True):
    """Which part of the base."""

    limit: Annotated[int, Meta(ge=1, le=MAX_SUBSCRIBERS)] = 1000
    cursor: Cursor = ""


class DeadQuery(_Query, frozen=True, kw_only=True):
    """Which entries."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Cursor = ""


class BuriedQuery(_Query, frozen=True, kw_only=True):
    """Which buried batches."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Cursor = ""


class AuditQuery(_Query, frozen=True, kw_only=True):
    """Which entries."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Cursor = ""


class KickQuery(_Query, frozen=True, kw_only=True):
    """How many buried batches."""

    count: Annotated[int, Meta(ge=0, le=10**9)] = 1
    """Put back at most this number, the oldest first."""


class EndQuery(_Query, frozen=True, kw_only=True):
    """How many buried batches."""

    limit: Annotated[int, Meta(ge=0, le=10_000)] = 1000
    """End at most this number."""


class ForgetQuery(_Query, frozen=True, kw_only=True):
    """Which nodes may be forgotten."""

    force: bool = False
    """Also one that seems to be alive."""


class RegisterQuery(_Query, frozen=True, kw_only=True):
    """How strictly subscribers are read."""

    strict: bool = False
    """Refuse a subscriber rather than drop an attribute that cannot be read."""


class UnregisterQuery(_Query, frozen=True, kw_only=True):
    """Which subscriber."""

    channel: Annotated[str, Meta(min_length=1)]
    token: Annotated[str, Meta(min_length=1, max_length=4 * MAX_TOKEN)]
    """In whatever form: as given at registration, or as its platform writes it."""


HEALTH = Route(method="GET", path="/healthz", scope=None, summary="Whether the API answers.", answer=Health)
READY = Route(
    method="GET",
    path="/readyz",
    scope=None,
    summary="Whether the node can fire, and what a person should know.",
    answer=Readiness,
    also={503: Readiness},
)
METRICS = Route(
    method="GET",
    path="/metrics",
    scope="viewer",
    summary="The node's figures in Prometheus's text format.",
    answer=str,
    media="text/plain",
)
OPENAPI = Route(method="GET", path="/v1/openapi.json", scope=None, summary="This document.", answer=dict[str, Any])

# -- campaigns ---------------------------------------------------------------------------------------------------------

FIRE = Route(
    method="POST",
    path="/v1/campaigns",
    scope="editor",
    summary="Create a campaign and fire it: at once, or at the time that `when` names. With `dry_run` only ask whether "
    "the platforms and providers would accept it; with `draft` only keep it.",
    body=FireRequest,
    noun="a campaign",
    largest=LARGEST_CAMPAIGN,
    too_large=SHORTEN,
    answer=CampaignReport,
    status=201,
    also={200: DryRunReport, 202: DraftRecord},
    errors={
        404: "There is no such draft.",
        409: "The draft was changed or fired since; or `confirm` names the field that says yes to what this would do.",
        422: "The `Idempotency-Key` was used for another campaign.",
    },
    repeat="store",
    noted=(
        *("message.title", "kind", "channels", "when", "rate", "ramp_seconds"),
        *("from_draft.id", "expire_asleep", "again", "arm", "unapproved", "canary", "over_budget"),
    ),
)
CAMPAIGNS = Route(
    method="GET",
    path="/v1/campaigns",
    scope="viewer",
    summary="List campaigns, the newest first.",
    query=CampaignsQuery,
    answer=CampaignPage,
)
PREVIEW = Route(
    audited=False,
    method="POST",
    path="/v1/campaigns/preview",
    scope="editor",
    summary="Return the exact requests that the providers would get of a campaign. Nothing is fired.",
    body=FireRequest,
    noun="a campaign",
    largest=LARGEST_CAMPAIGN,
    too_large=SHORTEN,
    answer=PreviewReport,
)
TEST = Route(
    method="POST",
    path="/v1/campaigns/test",
    scope="editor",
    summary="Send a message to a few devices that are named, with `[TEST]` before its title. It is no campaign, "
    "and has no audience.",
    body=DeviceSend,
    noun="a test send",
    largest=LARGEST_CAMPAIGN,
    too_large=SHORTEN,
    answer=DeviceSendReport,
    repeat="node",
    noted=("message.title", "subscribers", "channel"),
)
FORECAST = Route(
    audited=False,
    method="POST",
    path="/v1/campaigns/forecast",
    scope="editor",
    summary="Foresee how long a campaign would take, what would hold it up, and what the newsroom's own servers would "
    "have to bear. Nothing is fired.",
    body=FireRequest,
    noun="a campaign",
    largest=LARGEST_CAMPAIGN,
    too_large=SHORTEN,
    answer=Forecast,
)
CAMPAIGN = Route(
    method="GET",
    path="/v1/campaigns/{id}",
    scope="viewer",
    summary="Return a campaign's report.",
    answer=CampaignReport,
    query=CampaignQuery,
    errors=NO_CAMPAIGN,
)
PREVIEW_OF = Route(
    method="GET",
    path="/v1/campaigns/{id}/preview",
    scope="viewer",
    summary="Return the exact requests that the providers get of a campaign.",
    answer=PreviewReport,
    errors=NO_CAMPAIGN,
)
PROGRESS = Route(
    method="GET",
    path="/v1/campaigns/{id}/progress",
    scope="viewer",
    summary="Send a campaign's report at once, and again whenever something has changed, until it has ended. While "
    "nothing changes, an empty line comes every few seconds.",
    answer=CampaignReport,
    query=ProgressQuery,
    stream=True,
    errors=NO_CAMPAIGN,
)
EVENTS = Route(
    method="GET",
    path="/v1/events",
    scope="viewer",
    summary="Send the newest state of campaigns, channels and alarms at once, and again whenever one has changed. A "
    "slow client skips to the newest state; with `Last-Event-ID` it gets what has changed since.",
    query=EventsQuery,
    answer=str,
    media=EVENT_STREAM,
    events=EVENT_KINDS,
    errors={**NO_CAMPAIGN, 429: "Too many clients listen to this node's events already."},
)
COVERAGE = Route(
    method="GET",
    path="/v1/campaigns/{id}/coverage",
    scope="viewer",
    summary="Return the id ranges that a campaign has walked, and the gaps.",
    answer=Coverage,
    errors=LEDGER,
)
VERIFY = Route(
    method="GET",
    path="/v1/campaigns/{id}/verify",
    scope="operator",
    summary="Check a campaign's ledger against the base. For a large base this takes long.",
    answer=Verification,
    errors=LEDGER,
)

EXPLAIN = Route(
    audited=False,
    method="POST",
    path="/v1/campaigns/{id}/explain",
    scope="viewer",
    summary="Tell what became of one person in a campaign, and why.",
    body=ExplainRequest,
    noun="question",
    answer=Explanations,
    errors=LEDGER,
)

CERTIFICATE = Route(
    method="GET",
    path="/v1/campaigns/{id}/certificate",
    scope="viewer",
    summary="Return what the ledger has of a campaign that is over or stopped, signed.",
    answer=CampaignCertificate,
    errors={**NO_CAMPAIGN, 409: "The campaign is under way, or its ledger has left the store."},
)
CERTIFICATE_KEY = Route(
    method="GET",
    path="/v1/certificate-key",
    scope="any",
    summary="Return the public key that certificates are verified with.",
    answer=CertificateKey,
)

DRILLS = Route(
    method="GET",
    path="/v1/drills",
    scope="viewer",
    summary="List the last drills, with what was foreseen.",
    answer=Drills,
)
DRILL_START = Route(
    method="POST",
    path="/v1/drills",
    scope="operator",
    summary="Start a drill: the whole base, over the whole ring, to simulators. No phone hears of it.",
    body=DrillRequest,
    noun="drill",
    answer=DrillRecord,
    status=202,
    errors={409: "There can be none now: a campaign is being sent, or a drill, or the node has no simulators."},
    repeat="node",
)
NO_STORY = {404: "There is no such story."}
STORIES = Route(
    method="GET",
    path="/v1/stories",
    scope="viewer",
    summary="List stories, the last changed first, and how many broadcast channels each app has.",
    query=StoriesQuery,
    answer=StoryPage,
)
STORY = Route(
    method="GET",
    path="/v1/stories/{story_id}",
    scope="viewer",
    summary="Show a story: its cards, and what became of its updates.",
    answer=StoryReport,
    errors=NO_STORY,
)
STORY_OPEN = Route(
    method="POST",
    path="/v1/stories",
    scope="editor",
    summary="Open a story: one card on every lock screen that follows it, elsewhere pushes that replace each other.",
    body=StoryRequest,
    noun="story",
    answer=StoryReport,
    status=201,
    largest=LARGEST_STORY,
    too_large="shorten it: Apple takes 5,120 bytes",
    errors={409: "There are 1,000 stories already, or this node does not serve one of the channels."},
    repeat="store",
    noted=("title", "channels", "change.message.title"),
)


def _story(act: str, summary: str) -> Route[StoryReport]:
    return Route(
        method="POST",
        path=f"/v1/stories/{{story_id}}/{act}",
        scope="editor",
        summary=summary,
        body=StoryChange,
        noun="story's change",
        answer=StoryReport,
        largest=LARGEST_STORY,
        too_large="shorten it: Apple takes 5,120 bytes",
        errors={**NO_STORY, 409: "The story has ended, or this node does not serve one of its channels."},
        repeat="store",
        noted=("message.title",),
    )


STORY_UPDATE = _story("update", "Update a story: its cards by one request, other phones by a campaign.")
STORY_END = _story("end", "End a story, with what it shows last.")


def _move(act: str, summary: str, conflict: str) -> Route[CampaignReport]:
    return Route(
        method="POST",
        path=f"/v1/campaigns/{{id}}/{act}",
        scope="editor",
        summary=summary,
        answer=CampaignReport,
        errors={**NO_CAMPAIGN, 409: conflict},
    )


PAUSE = _move("pause", "Begin to pause a campaign: nothing more is claimed or sent.", "The campaign is not firing.")
RESUME = _move("resume", "Resume a paused campaign where it stopped.", "The campaign is not paused.")
FIRE_ARMED = Route(
    method="POST",
    path="/v1/campaigns/{id}/fire",
    scope="editor",
    summary="Fire an armed campaign. A repeat answers with the same campaign.",
    body=ArmedFire,
    noun="a Fire of an armed campaign",
    answer=CampaignReport,
    errors={
        **NO_CAMPAIGN,
        409: "The campaign was never armed, or is over; or `confirm` names the field that says yes.",
    },
    noted=("again", "over_budget", "unapproved"),
)
APPROVE = Route(
    method="POST",
    path="/v1/campaigns/{id}/approve",
    scope="approver",
    summary="Approve an armed campaign that another key has asked an approval for.",
    answer=CampaignReport,
    errors={**NO_CAMPAIGN, 409: "The campaign is not armed, needs no approval, or was asked for with this key."},
)
REST = _move(
    "rest",
    "Send the rest of a canary that has stopped: returns the campaign to the rest.",
    "The campaign has no rest, was not fired yet, or was cancelled.",
)
DISARM = _move("disarm", "Take back an armed campaign: nobody gets it.", "The campaign is not armed.")
CANCEL = _move(
    "cancel", "Begin to cancel a campaign: subscribers not yet reached get nothing.", "The campaign has ended already."
)
CORRECT = Route(
    method="POST",
    path="/v1/campaigns/{id}/correct",
    scope="editor",
    summary="Give a campaign another text: whoever has got the first one gets this in its place, all others only this. "
    "Answers when nothing old is under way any more, which may take seconds.",
    body=CorrectionRequest,
    noun="correction",
    largest=LARGEST_CAMPAIGN,
    too_large=SHORTEN,
    answer=CampaignReport,
    errors={**NO_CAMPAIGN, 409: "Nobody has it yet, it is a correction itself, or a node has not reported yet."},
    noted=("message.title", "awake"),
)
RETRACT = Route(
    method="POST",
    path="/v1/campaigns/{id}/retract",
    scope="editor",
    summary="Stop a campaign for ever. With a text, whoever has got it gets this one in its place.",
    body=RetractionRequest,
    noun="retraction",
    largest=LARGEST_CAMPAIGN,
    too_large=SHORTEN,
    answer=CampaignReport,
    errors={**NO_CAMPAIGN, 409: "Nobody has it yet, it is a correction itself, or a node has not reported yet."},
    noted=("message.title", "awake"),
)

RATE = Route(
    method="POST",
    path="/v1/campaigns/{id}/rate",
    scope="editor",
    summary="Change how many people a second a campaign reaches that was fired with a rate.",
    body=RateRequest,
    noun="a rate",
    answer=CampaignReport,
    errors={**NO_CAMPAIGN, 409: "The campaign has ended, or was fired without a rate."},
    noted=("rate",),
)

_NO_DRAFT = {404: "There is no such draft."}

DRAFTS = Route(
    method="GET",
    path="/v1/drafts",
    scope="editor",
    summary="List drafts that were not fired, the last changed first.",
    query=DraftsQuery,
    answer=DraftPage,
)
DRAFT = Route(
    method="GET",
    path="/v1/drafts/{draft_id}",
    scope="editor",
    summary="Return a draft.",
    answer=DraftRecord,
    errors=_NO_DRAFT,
)
DRAFT_SAVE = Route(
    audited=False,
    method="POST",
    path="/v1/drafts/{draft_id}",
    scope="editor",
    summary="Change a draft, or begin one under an id that nobody has: 13 letters or digits of base32, drawn.",
    body=DraftChange,
    noun="a draft",
    largest=LARGEST_CAMPAIGN,
    too_large=SHORTEN,
    answer=DraftRecord,
    errors={**_NO_DRAFT, 409: "It was changed or fired since: the error says by whom and when, or as which campaign."},
)
DRAFT_REMOVE = Route(
    method="DELETE",
    path="/v1/drafts/{draft_id}",
    scope="editor",
    summary="Delete a draft.",
    answer=DraftRemoved,
)

AUDIENCE = Route(
    audited=False,
    method="POST",
    path="/v1/audience/count",
    scope="editor",
    summary="Count an audience.",
    body=CountRequest,
    noun="an audience to count",
    largest=LARGEST_CAMPAIGN,
    too_large="list fewer subscribers",
    answer=AudienceCount,
)
ATTRIBUTES = Route(
    method="GET",
    path="/v1/audience/attributes",
    scope="editor",
    summary="Return locales, countries, time zones and tags that subscribers have, the most frequent first.",
    answer=KnownAttributes,
)
READ_LINK = Route(
    audited=False,
    method="POST",
    path="/v1/links/read",
    scope="editor",
    summary="Read a story's page, on a host of `[newsroom] link_hosts`, and return what it says of itself.",
    body=LinkRequest,
    noun="a link",
    answer=LinkMetadata,
    errors={502: "The page could not be read: its host does not answer, or with no page."},
)
NEWSROOM = Route(
    method="GET",
    path="/v1/newsroom",
    scope="viewer",
    summary="Return the newsroom's time zone and the node's time, the kinds of news, and this node's channels.",
    answer=NewsroomClock,
)

# -- subscribers -------------------------------------------------------------------------------------------------------

REGISTER = Route(
    audited=False,
    method="POST",
    path="/v1/subscribers",
    scope="app",
    summary="Register a subscriber, or update the one with this channel and token. With `replaces` it gets the new "
    "token, and keeps its id and what is not given.",
    query=RegisterQuery,
    body=Subscriber,
    noun="a subscriber",
    largest=LARGEST_LINE,
    answer=Imported,
)
UNREGISTER = Route(
    audited=False,
    method="DELETE",
    path="/v1/subscribers",
    scope="app",
    summary="Remove a subscriber.",
    query=UnregisterQuery,
    answer=Removed,
)
BULK = Route(
    method="POST",
    path="/v1/subscribers/bulk",
    scope="app",
    summary="Register many subscribers, one on each line. A line with a mistake is refused alone, the others are "
    "stored. The body may have any length.",
    query=RegisterQuery,
    body=Subscriber,
    noun="a subscriber",
    lines=True,
    largest=LARGEST_LINE,
    answer=ImportedLines,
)
SUBSCRIBERS = Route(
    method="GET",
    path="/v1/subscribers",
    scope="operator",
    summary="Return a part of the base, in the order of ids.",
    query=SubscribersQuery,
    answer=SubscriberPage,
)
COUNT = Route(
    method="GET",
    path="/v1/subscribers/count",
    scope="viewer",
    summary="Count the base by channel.",
    answer=BaseCount,
)

FEED = Route(
    method="GET",
    path="/v1/feed",
    scope="app",
    summary="Send what became of subscribers, the oldest first: dead, replaced, restored. Each at least once, for "
    "seven days. An empty answer: there is nothing new.",
    query=FeedQuery,
    answer=FeedLine,
    stream=True,
)

# -- the newsroom's other systems --------------------------------------------------------------------------------------

LOAD = Route(
    audited=False,
    method="POST",
    path="/v1/load",
    scope="app",
    summary="Say how loaded the newsroom's site is, once a second: campaigns with a rate slow down, and go on. It "
    "counts for five seconds.",
    body=LoadRequest,
    noun="a load",
    answer=LoadNoted,
)
HERD = Route(
    method="GET",
    path="/v1/herd",
    scope="viewer",
    summary="Return what is known of the load of the newsroom's site, and what campaigns have left of their rate.",
    answer=HerdReport,
)
WEBHOOKS = Route(
    method="GET",
    path="/v1/webhooks",
    scope="viewer",
    summary="List this node's webhooks, and how far each receiver has heard.",
    answer=Webhooks,
)

RECEIPTS = Route(
    method="POST",
    path="/v1/receipts",
    scope="operator",
    summary="Count receipts out of the access log of the host of `[receipts]`; each phone counts once.",
    body=ReceiptsRequest,
    noun="receipts",
    largest=200 * MOST_RECEIPTS,
    answer=ReceiptsNoted,
)

# -- refused tokens ----------------------------------------------------------------------------------------------------

_QUESTION = {404: "No such question is open."}

DEAD = Route(
    method="GET",
    path="/v1/dead",
    scope="viewer",
    summary="List questions about refused tokens, refusals that wait for a verdict, and deletions of the last day.",
    query=DeadQuery,
    answer=DeadPage,
)
DEAD_CONFIRM = Route(
    method="POST",
    path="/v1/dead/confirm",
    scope="operator",
    noted=("channel", "campaign"),
    summary="Answer that the phones are dead: their tokens are deleted. This can be undone for a day.",
    body=DeadAnswer,
    noun="an answer about refused tokens",
    answer=DeadAnswered,
    errors=_QUESTION,
    repeat="node",
)
DEAD_KEEP = Route(
    method="POST",
    path="/v1/dead/keep",
    scope="operator",
    noted=("channel", "campaign"),
    summary="Answer that the key was wrong: nothing is deleted, and waiting pushes go out.",
    body=DeadAnswer,
    noun="an answer about refused tokens",
    answer=DeadAnswered,
    errors=_QUESTION,
    repeat="node",
)
DEAD_RESTORE = Route(
    method="POST",
    path="/v1/dead/restore",
    scope="operator",
    noted=("channel", "campaign"),
    summary="Restore the subscribers deleted as dead in the last day, each under its old id.",
    body=DeadRestore,
    noun="what to restore",
    answer=DeadRestored,
    errors={404: "Nothing was deleted in the last day."},
    repeat="node",
)

# -- the ring ----------------------------------------------------------------------------------------------------------

STATUS = Route(
    method="GET", path="/v1/status", scope="viewer", summary="Return what runs in this node.", answer=NodeStatus
)
CHANNELS = Route(
    method="GET",
    path="/v1/channels",
    scope="viewer",
    summary="Return the node's channels, and the channels that the ring serves.",
    answer=Channels,
)
RING = Route(
    method="GET",
    path="/v1/ring",
    scope="viewer",
    summary="Return what runs in every node of the ring: supervision trees, channels, tubes.",
    answer=RingState,
)
PROBE = Route(
    method="POST",
    path="/v1/channels/probe",
    scope="editor",
    summary="Ask this node's silent connections to the providers whether they are alive, because news comes soon.",
    answer=Probed,
    audited=False,
)
CHANNEL = Route(
    method="GET",
    path="/v1/channels/{channel}",
    scope="operator",
    summary="Return how one of this node's channels is configured, never its credentials.",
    answer=ChannelRecord,
    errors=NO_CHANNEL,
)
CHANNEL_PUT = Route(
    method="PUT",
    path="/v1/channels/{channel}",
    scope="operator",
    summary="Add a channel to this node, or change one that was added so. It sends at once, and other channels are not "
    "disturbed. A repeat changes nothing, but reads the files of its credentials anew.",
    body=ChannelSettings,
    noun="a channel",
    largest=LARGEST_CHANNEL,
    answer=ChannelChanged,
    errors={409: "The channel is in broadside.toml, or a campaign under way goes to it and it would be another app's."},
    noted=("platform", "app", "twin", "rate", "origin"),
)
CHANNEL_ROTATE = Route(
    method="POST",
    path="/v1/channels/{channel}/credentials",
    scope="operator",
    summary="Replace the credentials of a channel that the API has added. What is on its way is settled before.",
    body=ChannelCredentials,
    noun="credentials",
    largest=LARGEST_CHANNEL,
    answer=ChannelChanged,
    errors={**NO_CHANNEL, 409: "The channel is in broadside.toml."},
)
CHANNEL_REMOVE = Route(
    method="DELETE",
    path="/v1/channels/{channel}",
    scope="operator",
    summary="Remove a channel that the API has added. Its subscribers stay in the base.",
    answer=ChannelChanged,
    errors={409: "A campaign under way goes to the channel, or the channel is in broadside.toml."},
)
PEERS = Route(method="GET", path="/v1/peers", scope="viewer", summary="List the ring's nodes.", answer=Peers)
FORGET = Route(
    method="POST",
    path="/v1/peers/{name}/forget",
    scope="operator",
    summary="Forget a node that is gone: others send what it had not sent.",
    query=ForgetQuery,
    answer=Forgotten,
    errors={404: "There is no such node.", 409: "The node is alive."},
)
TUBES = Route(
    method="GET", path="/v1/tubes", scope="viewer", summary="Count the tasks of the node's tubes.", answer=TubeStatus
)
BURIED = Route(
    method="GET",
    path="/v1/tubes/{channel}/buried",
    scope="viewer",
    summary="List buried batches.",
    query=BuriedQuery,
    answer=BuriedPage,
    errors=NO_CHANNEL,
)
KICK = Route(
    method="POST",
    path="/v1/tubes/{channel}/kick",
    scope="operator",
    summary="Put buried batches back on their tube.",
    query=KickQuery,
    answer=Kicked,
    errors=NO_CHANNEL,
    repeat="node",
)
END = Route(
    method="POST",
    path="/v1/tubes/{channel}/end",
    scope="operator",
    summary="End buried batches: their recipients are rejected.",
    query=EndQuery,
    answer=EndedBatches,
    errors=NO_CHANNEL,
    repeat="node",
)

# -- keys, sessions, the audit -----------------------------------------------------------------------------------------

LOGIN = Route(
    audited=False,
    method="POST",
    path="/v1/session",
    scope=None,
    summary="Log a browser in with a key, or with the code of a link: the answer sets the session's cookie.",
    body=LoginRequest,
    noun="a log-in",
    answer=SessionRecord,
    status=201,
    errors={
        401: "The key or the code does not hold.",
        403: "The request comes from another site's page.",
        429: "The key or the code does not hold, and too many failed lately: wait for `Retry-After`.",
    },
)
SESSION = Route(
    method="GET",
    path="/v1/session",
    scope="any",
    summary="Return who is asking, and what a page of this session sends with every change.",
    answer=SessionRecord,
)
LOGOUT = Route(
    audited=False, method="DELETE", path="/v1/session", scope="any", summary="End the session.", answer=LogoutAnswer
)
KEYS = Route(method="GET", path="/v1/keys", scope="operator", summary="List all keys, never a secret.", answer=Keys)
KEY_ADD = Route(
    method="POST",
    path="/v1/keys",
    scope="operator",
    summary="Make a key. It is in this answer and nowhere else.",
    body=KeyRequest,
    noun="a key",
    answer=KeyCreated,
    status=201,
    repeat="node",
    noted=("name", "role", "channels", "kinds", "most", "days"),
)
KEY_REVOKE = Route(
    method="POST",
    path="/v1/keys/{key_id}/revoke",
    scope="operator",
    summary="Revoke a key: it is refused within 5 s on every node, and its sessions and streams end. `local` is this "
    "node's own, which is made anew.",
    answer=KeyRecord,
    errors={404: "There is no such key."},
)
KEY_LINK = Route(
    audited=False,
    method="POST",
    path="/v1/session/link",
    scope="any",
    summary="Make a link that logs one browser in as this key, once, within ten minutes.",
    answer=LoginLink,
    status=201,
    repeat="node",
)
AUDIT = Route(
    method="GET",
    path="/v1/audit",
    scope="operator",
    summary="List who changed what, the newest first.",
    query=AuditQuery,
    answer=AuditPage,
)

TABLE: tuple[Route[Any], ...] = (
    HEALTH,
    READY,
    METRICS,
    OPENAPI,
    FIRE,
    CAMPAIGNS,
    PREVIEW,
    TEST,
    FORECAST,
    CAMPAIGN,
    PREVIEW_OF,
    PROGRESS,
    EVENTS,
    COVERAGE,
    VERIFY,
    EXPLAIN,
    CERTIFICATE,
    CERTIFICATE_KEY,
    DRILLS,
    DRILL_START,
    STORIES,
    STORY,
    STORY_OPEN,
    STORY_UPDATE,
    STORY_END,
    PAUSE,
    RESUME,
    FIRE_ARMED,
    APPROVE,
    DISARM,
    REST,
    CANCEL,
    RATE,
    CORRECT,
    RETRACT,
    DRAFTS,
    DRAFT,
    DRAFT_SAVE,
    DRAFT_REMOVE,
    AUDIENCE,
    ATTRIBUTES,
    READ_LINK,
    NEWSROOM,
    REGISTER,
    UNREGISTER,
    BULK,
    SUBSCRIBERS,
    COUNT,
    FEED,
    LOAD,
    HERD,
    WEBHOOKS,
    RECEIPTS,
    DEAD,
    DEAD_CONFIRM,
    DEAD_KEEP,
    DEAD_RESTORE,
    STATUS,
    CHANNELS,
    PROBE,
    CHANNEL,
    CHANNEL_PUT,
    CHANNEL_ROTATE,
    CHANNEL_REMOVE,
    RING,
    PEERS,
    FORGET,
    TUBES,
    BURIED,
    KICK,
    END,
    LOGIN,
    SESSION,
    LOGOUT,
    KEYS,
    KEY_ADD,
    KEY_REVOKE,
    KEY_LINK,
    AUDIT,
)
"""In the order of the document, which is the order in which they are matched."""
