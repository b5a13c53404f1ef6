"""An example of each record of the API, for its documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from broadside.api.access_records import (
    AuditEntry,
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
from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.audience_request import (
    AudienceCount,
    AudienceRequest,
    ChannelCount,
    CountRequest,
    KnownAttributes,
    TagConditions,
)
from broadside.api.base_records import (
    BaseCount,
    ChangedField,
    Channels,
    Imported,
    ImportedLines,
    LineFault,
    NodeChannel,
    Probed,
    Removed,
    SubscriberPage,
)
from broadside.api.campaign_report import (
    Approval,
    ArmedFire,
    CampaignLine,
    CampaignPage,
    CampaignReport,
    Canary,
    CorrectionRequest,
    CutLine,
    DryRunReport,
    FireRequest,
    KindRules,
    NewsroomClock,
    RetractionRequest,
    Verdict,
)
from broadside.api.certificate_records import CampaignCertificate, CertificateKey, CertifiedText
from broadside.api.channel_records import ChannelChanged, ChannelCredentials, ChannelRecord, ChannelSettings
from broadside.api.dead_records import DeadAnswer, DeadAnswered, DeadEntry, DeadPage, DeadRestore, DeadRestored
from broadside.api.delivery_records import ReceiptsNoted, ReceiptsRequest
from broadside.api.device_send_records import DeviceAnswer, DeviceSend, DeviceSendReport
from broadside.api.draft_records import DraftChange, DraftLine, DraftPage, DraftRecord, DraftRemoved
from broadside.api.drill_records import DrillRecord, DrillRequest, Drills
from broadside.api.event_records import AlarmsNow, ChannelsNow
from broadside.api.explain_records import ExplainRequest, Explanation, Explanations, GivenAnswer
from broadside.api.forecast_records import Bottleneck, ChannelForecast, Forecast, Reach, ReachPart
from broadside.api.link_records import LinkMetadata, LinkRequest
from broadside.api.node_status import (
    Connections,
    Health,
    MemoryUse,
    NodeStatus,
    Readiness,
    TubeStatus,
    TwinStatus,
    WorkerStatus,
)
from broadside.api.operations import (
    BuriedBatch,
    BuriedPage,
    Checked,
    Coverage,
    EndedBatches,
    Forgotten,
    Gap,
    Kicked,
    PeerReport,
    Peers,
    Verification,
    Walked,
)
from broadside.api.outward_records import (
    CampaignHerd,
    FeedLine,
    HerdReport,
    LoadNoted,
    LoadRequest,
    RateRequest,
    WebhookReport,
    Webhooks,
)
from broadside.api.preview_report import ChannelPreview, PreviewReport, TextPreview
from broadside.api.ring_state import ActorState, ChannelFlow, NodeState, ProcessState, RingNode, RingState
from broadside.api.story_records import (
    BroadcastPlace,
    StoryCard,
    StoryChange,
    StoryPage,
    StoryReport,
    StoryRequest,
    StoryUpdate,
)
from broadside.api.subscriber import Subscriber
from campaigns.channel_state import ChannelState
from campaigns.message import Message, Text
from campaigns.tally import Tally
from campaigns.windows import QuietRule

_ID, _AT = "2qbsgz3kxm4ta", 1_795_906_800_000
_IOS = "8d1f" * 16
_MESSAGE = Message(
    title="Storm",
    body="Stay inside",
    url="https://example.com/story/7",
    texts={"pt": Text(title="Tempestade", body="Fique em casa")},
)
_TALLY = Tally(audience=2000, enqueued=2000, delivered=1500, dead=3, remaining=497)
_STATE = ChannelState(
    channel="android-news",
    reason="breaker",
    sentence="the provider refuses the key",
    since=_AT,
    remedy="correct the key",
)
_KEY = KeyRecord(id="k3xm4taq", name="Ana", role="editor", created_at=_AT, channels=["ios-news"], used_at=_AT)
_ALARM = Alarm(
    name=AlarmName.CHANNEL_REFUSED,
    severity=Severity.CRITICAL,
    text="channel android-news: the provider refuses the key",
    remedy="correct the key",
    about="android-news",
    since=_AT,
)
_FORECAST = Forecast(
    phones=132_000,
    seconds=13.6,
    bottleneck="window",
    sentence="What it waits for is the provider's window.",
    channels={
        "ios-news": ChannelForecast(
            phones=132_000, seconds=13.6, rate=9_700.0, bottleneck="window", sentence="the provider's window"
        )
    },
    bytes={"ios-news": 250},
    longer="Each 100 bytes more make it 5 s longer.",
    opens=120.0,
    image_bytes=970_000_000.0,
    made_at=_AT,
)
_REPORT = CampaignReport(
    id=_ID,
    state="firing",
    message=_MESSAGE,
    created_at=_AT,
    fired_at=_AT,
    seconds=1.5,
    active=1.5,
    rate=1002.0,
    channels={"ios-news": _TALLY},
    forecast=_FORECAST,
    reach=Reach(
        accepted=9_800,
        p50=0.8,
        rate=9_700.0,
        left=12.4,
        parts=[ReachPart(channel="ios-news", node="node-1", accepted=9_800, p50=0.8, rate=9_700.0)],
        bottlenecks=[
            Bottleneck(limit="window", sentence="It waits for its window.", channel="ios-news", node="node-1")
        ],
    ),
)
_TUBES = TubeStatus(
    tubes={"push_ios-news": {"ready": 3, "taken": 2, "buried": 0}},
    unsettled=512,
    parked=0,
    outbox=1,
    marks=4,
    memory={"used": 1},
)
_RING = RingState(
    nodes=[
        RingNode(
            name="node-1",
            this=True,
            status="alive",
            epoch=3,
            seen_at=_AT,
            leased=True,
            state=NodeState(
                version="1.0",
                started_at=_AT - 3_600_000,
                ready=True,
                processes=[ProcessState(name="worker-1", pid=4712, starts=2, rss=74_000_000)],
                tree=ActorState(
                    id="node-1",
                    since=_AT - 3_600_000,
                    children=[
                        ActorState(
                            id="worker-1",
                            incarnation=2,
                            since=_AT - 60_000,
                            crash='ProcessDied: process "worker-1" ended with signal 9',
                            crashed_at=_AT - 62_000,
                        )
                    ],
                ),
                channels=[
                    ChannelFlow(
                        channel="ios-news",
                        platform="push",
                        in_hand=10,
                        rate=9800.0,
                        quota="none (the provider sets no rate)",
                        connections=2,
                        wanted=2,
                        streams=1730,
                        streams_allowed=2000,
                        window=1_048_576,
                        p50=0.12,
                        p99=0.31,
                    )
                ],
                queue=_TUBES,
            ),
            told_at=_AT,
            standing=[_STATE],
        )
    ],
    memory={"store": MemoryUse(30_000_000, 268_435_456)},
)
_SUBSCRIBER = Subscriber(
    channel="ios-news", token=_IOS, locale="pt-BR", tz="America/Sao_Paulo", tags=["sport"], fields={"first_name": "Ada"}
)
_DEAD = DeadEntry(
    channel="ios-news",
    campaign=_ID,
    state="asked",
    since=_AT,
    delivered=700,
    likely=300,
    doubtful=0,
    postponed=0,
    kept=300,
    removed=0,
    share=0.3,
    limit=0.1,
    reasons={"Unregistered": 300},
    examples=[17, 42],
    text="ios-news: the provider refused 300 of 1,000 phones, 30%; the limit is 10%.",
)

_DRAFT = DraftLine(
    id="k7r2m5qpx4n3a",
    title="Storm",
    version=3,
    created_at=_AT,
    created_by="Ana",
    changed_at=_AT + 60_000,
    changed_by="Bo",
)

_HERD = CampaignHerd(
    rate=2000.0,
    ramp=30.0,
    now=820.0,
    governed=True,
    share=0.41,
    load=0.84,
    text="reaches 820 of at most 2,000 people a second: the site is loaded by 84% (the goal is 85%)",
)
_WEBHOOK = WebhookReport(name="crm", host="hooks.example.com", state="heard", heard_at=1_796_000_000_000)

_DRILL = DrillRecord(
    id=_ID,
    state="done",
    by="timer",
    fired_at=_AT,
    finished_at=_AT + 41_000,
    phones=2_000_000,
    settled=2_000_000,
    seconds=41.0,
    rate=48_780.5,
    rates={"drill-ios-news": 24_390.2, "drill-android-news": 24_390.2},
    yielded=False,
    forecast=39.0,
    slower="",
)

_CHANGE = StoryChange(state={"score": "2:1"}, message=Message(title="Goal", body="2:1"), loud=True)
_STORY = StoryReport(
    id="c5dq2j7vx3mna",
    title="Cup final",
    state="open",
    cards=[
        StoryCard(
            channel="ios-news",
            place="com.example.news at api-manage-broadcast.push.apple.com:2196",
            broadcast="dHN0LXNyY2gtY2hubA==",
            state="ready",
        )
    ],
    fallback=["android-news"],
    stored=True,
    updates=[
        StoryUpdate(
            number=2,
            event="update",
            at=_AT,
            by="Ana",
            timestamp=_AT // 1000,
            state="sent",
            campaign=_ID,
            change=_CHANGE,
        )
    ],
    created_at=_AT - 60_000,
    created_by="Ana",
    changed_at=_AT,
)

EXAMPLES: Mapping[Any, Any] = {
    StoryChange: _CHANGE,
    StoryRequest: StoryRequest(title="Cup final", channels=["ios-news", "android-news"], change=_CHANGE),
    StoryReport: _STORY,
    StoryPage: StoryPage(
        items=[_STORY],
        places=[
            BroadcastPlace(
                place="com.example.news at api-manage-broadcast.push.apple.com:2196",
                channels=3,
                limit=10_000,
                ours=2,
                unknown=["Zm9yZWlnbi1jaGFubmVsMQ=="],
                at=_AT,
            )
        ],
        next=None,
    ),
    dict[str, Any]: {"openapi": "3.1.0"},
    Health: Health(ok=True),
    LoginRequest: LoginRequest(key="bsk_k3xm4taq_6fD0…"),
    SessionRecord: SessionRecord(
        id="k3xm4taq",
        name="Ana",
        role="editor",
        scopes=["any", "editor", "viewer"],
        expires_at=_AT + 43_200_000,
        csrf="0f3a…",
    ),
    LogoutAnswer: LogoutAnswer(ended=True),
    LoginLink: LoginLink(url="https://node-1.example/login#Zk0…", expires_at=_AT + 600_000),
    KeyRequest: KeyRequest(name="Ana", role="editor", channels=["ios-news"], days=90),
    KeyRecord: _KEY,
    KeyCreated: KeyCreated(key="bsk_k3xm4taq_6fD0…", record=_KEY),
    Keys: Keys(keys=[_KEY]),
    AuditPage: AuditPage(
        entries=[
            AuditEntry(
                number=7,
                at=_AT,
                node="node-1",
                key="k3xm4taq",
                name="Ana",
                action="POST /v1/campaigns/{id}/pause",
                about=_ID,
                status=200,
            )
        ],
    ),
    Readiness: Readiness(ready=True, alarms=[_ALARM]),
    str: "broadside_ready 1.0\n",
    Canary: Canary(share=0.01, limit=0.1, state="on", rest="2qbsgz3kxm4tc"),
    ArmedFire: ArmedFire(again=True),
    Approval: Approval(phones=2_004_112, asked_by="Edith", by="Anna", at=_AT, expires_at=_AT + 43_200_000),
    DeviceSend: DeviceSend(message=_MESSAGE, subscribers=[17], tokens=[_IOS]),
    DeviceAnswer: DeviceAnswer(subscriber=17, channel="ios-news", outcome="accepted", text="Apple accepts it"),
    DeviceSendReport: DeviceSendReport(
        id="2qbsgz3kxm4ta",
        title="[TEST] Storm tonight",
        devices=[DeviceAnswer(subscriber=17, channel="ios-news", outcome="accepted", text="Apple accepts it")],
    ),
    DraftChange: DraftChange(version=3, request=FireRequest(message=_MESSAGE)),
    DraftRecord: DraftRecord(
        **msgspec.structs.asdict(_DRAFT), request=FireRequest(message=_MESSAGE), expires_at=_AT + 2_419_260_000
    ),
    DraftPage: DraftPage(items=[_DRAFT], next=None),
    DraftRemoved: DraftRemoved(removed=True),
    CampaignCertificate: CampaignCertificate(
        campaign=_ID,
        state="done",
        created_at=_AT,
        fired_at=_AT,
        finished_at=_AT + 41_000,
        texts=[CertifiedText(version=0, sha256="9f86d081884c7d65…", title="Storm", body="Stay inside")],
        channels={"ios-news": {"audience": 2000, "enqueued": 2000, "delivered": 1990, "dead": 10}},
        ranges=[
            Walked(
                segment=0,
                channel="ios-news",
                from_id=0,
                to_id=2000,
                node="node-1",
                epoch=1,
                pages=1,
                recipients=2000,
                settled=2000,
            )
        ],
        gaps=[],
        issued_at=_AT + 60_000,
        issued_by="node-1",
        key="5f0a9c41d7e2b836",
        signature="bW9y…",
    ),
    CertificateKey: CertificateKey(
        key="5f0a9c41d7e2b836", public="-----BEGIN PUBLIC KEY-----\nMCow…\n-----END PUBLIC KEY-----\n", created_at=_AT
    ),
    Drills: Drills(items=[_DRILL], next_at=_AT + 86_400_000),
    DrillRequest: DrillRequest(),
    DrillRecord: _DRILL,
    ExplainRequest: ExplainRequest(subscriber=4711),
    Explanations: Explanations(
        items=[
            Explanation(
                id=_ID,
                subscriber=4711,
                channel="ios-news",
                fate="dead",
                sentence="The provider says that the token is no longer valid: Unregistered.",
                token="8f1c2e…",  # noqa: S106 - the beginning of one
                message_id="0e36f95a-1b2c-4d5e-0000-000000001267",
                segment=0,
                page=2,
                node="node-1",
                epoch=1,
                attempts=1,
                answers=[GivenAnswer(outcome="dead", reason="Unregistered", attempt=1, node="node-1", at=_AT)],
            )
        ]
    ),
    LinkRequest: LinkRequest(url="https://www.example.com/story/7"),
    CampaignHerd: _HERD,
    RateRequest: RateRequest(rate=1500.0),
    LoadRequest: LoadRequest(load=0.62),
    LoadNoted: LoadNoted(load=0.62),
    HerdReport: HerdReport(
        governed=True,
        target=0.85,
        campaigns=["2qbsgz3kxm4ta"],
        node="node-1",
        share=0.41,
        load=0.84,
        text="says 0.84",
    ),
    FeedLine: FeedLine(
        cursor="7.2",
        kind="dead",
        at=1_796_000_000_000,
        channel="ios-news",
        subscriber=184_102,
        token="00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0",  # noqa: S106, nobody's
        campaign="2qbsgz3kxm4ta",
        reason="Unregistered",
    ),
    WebhookReport: _WEBHOOK,
    Webhooks: Webhooks(webhooks=[_WEBHOOK]),
    ReceiptsRequest: ReceiptsRequest(receipts=["2qbsgz3kxm4ta.ios-news.1000.5f2c9e1b7a3d4068.0b9d1f7c3e5a2d4868fa"]),
    ReceiptsNoted: ReceiptsNoted(counted=1, again=0, forged=0, unknown=0),
    LinkMetadata: LinkMetadata(
        url="https://www.example.com/story/7",
        title="Storm",
        description="Stay inside",
        image="https://www.example.com/storm.jpg",
    ),
    FireRequest: FireRequest(
        message=_MESSAGE, kind="breaking", start="2026-12-01T08:00+01:00", audience=AudienceRequest(countries=["BR"])
    ),
    CorrectionRequest: CorrectionRequest(message=_MESSAGE),
    RetractionRequest: RetractionRequest(message=_MESSAGE),
    CutLine: CutLine(
        accepted=812_004,
        refused=1_207,
        may_have_it=312,
        on_tubes=42_000,
        not_walked=1_144_477,
        nodes={"node-2": "not yet"},
    ),
    CampaignReport: _REPORT,
    CampaignPage: CampaignPage([CampaignLine.of(_REPORT)], next=_ID),
    CampaignLine: CampaignLine.of(_REPORT),
    ChannelsNow: ChannelsNow([_STATE]),
    AlarmsNow: AlarmsNow([_ALARM]),
    Forecast: _FORECAST,
    RingState: _RING,
    DryRunReport: DryRunReport({"ios-news": Verdict("accepted", "the provider accepts it", asked=5, accepted=5)}),
    PreviewReport: PreviewReport(
        {
            "ios-news": ChannelPreview(
                platform="push",
                texts=[
                    TextPreview(
                        locale="pt",
                        presentation="awake",
                        fields={"urgency": "high"},
                        body='{"title":"Tempestade","body":"Fique em casa"}',
                        bytes=46,
                        limit=4096,
                    )
                ],
            )
        }
    ),
    Coverage: Coverage(
        id=_ID,
        state="firing",
        walked=[
            Walked(
                segment=0,
                channel="ios-news",
                from_id=0,
                to_id=2000,
                node="n1",
                epoch=1,
                pages=1,
                recipients=2000,
                settled=1503,
            )
        ],
        gaps=[Gap(segment=0, from_id=2000, to_id=4000, why="not claimed yet")],
    ),
    Verification: Verification(
        id=_ID,
        state="done",
        ok=True,
        pages=1,
        channels={"ios-news": Checked(enqueued=2000, base=1997, left=3)},
        problems=[],
    ),
    CountRequest: CountRequest(audience=AudienceRequest(locales=["pt"], tags=TagConditions(any=["sport"])), exact=True),
    AudienceCount: AudienceCount(
        subscribers=1200, error=40, of=2000, channels={"ios-news": ChannelCount(subscribers=1200, error=40)}
    ),
    NewsroomClock: NewsroomClock(
        zone="Europe/Berlin",
        now=_AT,
        kinds={
            "news": KindRules(
                lane="middle", quiet=QuietRule.HOLD, quiet_hours="23:00-07:00", urgency="normal", ttl_seconds=14_400
            )
        },
        channels={"ios-news": "push"},
        silent=["ios-news"],
        link_hosts=["www.example.com"],
    ),
    KnownAttributes: KnownAttributes(
        locales=["de", "pt-BR"], countries=["DE", "BR"], zones=["Europe/Berlin"], tags=["sport"]
    ),
    Subscriber: _SUBSCRIBER,
    Imported: Imported(
        inserted=0,
        updated=1,
        replaces={"moved": 1, "merged": 0, "unknown": 0},
        converted={"locale": ChangedField(1, ['"pt_BR" → "pt-BR"'])},
    ),
    ImportedLines: ImportedLines(
        inserted=2998,
        updated=1,
        dropped={"tz": ChangedField(1, ['"Europe/Berlim"'])},
        refused=1,
        faults=[
            LineFault(
                line=7,
                field="channel",
                value="ios-nwes",
                detail='no node serves "ios-nwes"',
                remedy="did you mean ios-news? served: android-news, ios-news",
            )
        ],
    ),
    Removed: Removed(removed=True),
    SubscriberPage: SubscriberPage([Subscriber(id=17, channel="ios-news", token=_IOS, registered_at=_AT)], next="17"),
    BaseCount: BaseCount(2000, {"ios-news": 1200, "android-news": 800}),
    DeadPage: DeadPage([_DEAD], next=None),
    DeadAnswer: DeadAnswer(channel="ios-news", campaign=_ID),
    DeadAnswered: DeadAnswered(channel="ios-news", campaigns=[_ID], kept=300),
    DeadRestore: DeadRestore(channel="ios-news"),
    DeadRestored: DeadRestored(restored=299, registered_again=1),
    NodeStatus: NodeStatus(
        node="n1",
        pid=4711,
        ready=True,
        rss=91_000_000,
        tasks=42,
        workers=[
            WorkerStatus(
                name="worker-1",
                pid=4712,
                serving=True,
                rss=74_000_000,
                cpu=12.5,
                stages={"walk": 1.25},
                tasks=61,
                connections={"ios-news": Connections(4, 16, 3, 0)},
            )
        ],
        quotas={"android-news": "10,000 pushes a second"},
        twins={"push": TwinStatus("https://localhost:4443", "var/twins/push.ledger")},
        tree={"id": "node", "kind": "supervisor", "state": "running", "children": []},
        queue=_TUBES,
        memory={"store": MemoryUse(30_000_000, 268_435_456)},
        alarms=[],
        channels=[_STATE],
    ),
    Channels: Channels({"ios-news": NodeChannel("push", "com.example.news")}, ["android-news", "ios-news"]),
    ChannelSettings: ChannelSettings(
        platform="push", app="com.example.sport", credentials={"key": "AuthKey.p8", "key_id": "ABC123DEFG"}, rate=500.0
    ),
    ChannelCredentials: ChannelCredentials(credentials={"key": "AuthKey_NEW.p8", "key_id": "NEWKEY0001"}),
    ChannelChanged: ChannelChanged(channel="ios-sport", changed=["channels.ios-sport: added"]),
    ChannelRecord: ChannelRecord(
        channel="ios-sport",
        by_api=True,
        platform="push",
        app="com.example.sport",
        credentials=["key", "key_id"],
        twin=False,
        rate=500.0,
        dead_limit=0.2,
        daily_limit=None,
        connections=32,
        quiet_channel=None,
        android_v2=False,
        collapse_slots=[],
        devices=[],
        push_services=[],
        origin=None,
        broadcast_origin=None,
        manage_origin=None,
        zone=None,
        delivery=[],
    ),
    Peers: Peers(
        [
            PeerReport(
                name="n1",
                queue="6f1d0c1e-5b0b-4b60-9d5b-8a8d7e7c1f00",
                epoch=1,
                status="current",
                seen_at=_AT,
                seconds_ago=0.4,
                leased=True,
                unsettled_pages=3,
                this=True,
            )
        ]
    ),
    Forgotten: Forgotten(
        name="n2", status="fenced", epoch=1, unsettled_pages=3, message="n2 is forgotten; its 3 pages are walked again"
    ),
    TubeStatus: _TUBES,
    BuriedPage: BuriedPage(
        [
            BuriedBatch(
                id=9, campaign=_ID, segment=0, page=3, attempt=1, crashes=3, maybe_sent=500, why="ValueError: a defect"
            )
        ],
        next=None,
    ),
    Probed: Probed(2),
    Kicked: Kicked(1),
    EndedBatches: EndedBatches(1, 500),
}

ERRORS: Mapping[int, dict[str, Any]] = {
    400: {
        "detail": 'message.titel: unknown field (did you mean "title"? known: title, body, url)',
        "field": "message.titel",
        "value": '"titel"',
        "remedy": 'did you mean "title"? known: title, body, url',
    },
    401: {
        "detail": "the key is missing or wrong",
        "field": "authorization",
        "remedy": "send `Authorization: Bearer KEY` with the key in the data folder's api.key",
    },
    403: {
        "detail": "the key may not do this: it needs the scope operator",
        "field": "authorization",
        "remedy": "use a key of an operator",
    },
    404: {"detail": f"no campaign {_ID}", "field": "id", "value": _ID, "remedy": "`campaign list` shows the ids"},
    409: {"detail": f"campaign {_ID} is done", "remedy": "it has ended already"},
    421: {
        "detail": "this node is not known under the name of the request",
        "field": "host",
        "value": "elsewhere.example",
        "remedy": "use the node's address, or add the name to [http] names in broadside.toml",
    },
    429: {"detail": "too many log-ins failed", "remedy": "try again in 42 s"},
    413: {
        "detail": "the body is larger than 2,097,152 bytes",
        "field": "body",
        "remedy": "send it in several requests",
    },
    422: {
        "detail": f'Idempotency-Key "k1" was used for campaign {_ID}, with another message.title',
        "field": "Idempotency-Key",
        "value": "k1",
        "remedy": "use a new key for a new campaign",
    },
    431: {
        "detail": "the path and the header fields are too long",
        "field": "request",
        "remedy": "send less in the address",
    },
    500: {
        "detail": "the node failed: ValueError",
        "id": "1f2e3d4c",
        "remedy": "the node's log has the reason under the id 1f2e3d4c",
    },
    502: {
        "detail": "www.example.com answers 404",
        "field": "url",
        "value": "https://www.example.com/story/7",
        "remedy": "check the link",
    },
    503: {
        "detail": "the node does not reach its Tarantool: store: no connection",
        "remedy": "try again in a moment; `broadside doctor` says more",
    },
    507: {"detail": "Tarantool's memory is full: the rest is for work under way", "remedy": "give it more memory"},
}
"""Status → an example of the error."""
