"""The records that the store and the queue return, typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from campaigns.baton import Baton
from campaigns.campaign import Campaign
from campaigns.id_set import pack_ids
from campaigns.lane import Lane
from campaigns.message import Message
from campaigns.windows import Windows

_MESSAGE = msgspec.json.Decoder(Message)


@dataclass(frozen=True, slots=True)
class TakenBaton:
    """A baton taken from this node's tube, not yet acked."""

    baton: Baton
    id: int
    number: int
    epoch: int
    """The queue's epoch at the take: the baton's page must be put in the same epoch."""


class Row(NamedTuple):
    """One subscriber, as the store keeps it."""

    id: int
    channel: str
    token: str
    kind: str
    registered_at: int
    locale: str
    tz: str
    country: str
    app_version: str
    screen: str
    best_minute: int | None
    tags: list[str]
    fields: dict[str, str]
    changed_at: int | None = None
    """Ms UTC by the store's clock: when the row came, or another locale, zone, country, version, screen or tag."""


class Stored(NamedTuple):
    """What became of subscribers that were put: how many were new, and how many known."""

    inserted: int
    updated: int
    moved: int = 0
    """Of the known: their token has replaced another one."""
    merged: int = 0
    """Of the known: both tokens had a subscriber. One of the two is left."""
    unknown: int = 0
    """Tokens that should be replaced, and are no subscriber's."""


class PagePart(NamedTuple):
    """Subscribers of a page on one channel, at most a batch of them. On the channel's tube it becomes a batch."""

    channel: str
    size: int
    recipients: bytes
    """Encoded as a batch carries them (``campaigns.recipient``), so that nothing on the way has to decode them."""
    window: int = 0
    """Their window class; 0: no quiet hours hold for them."""
    zones: dict[str, int] = {}  # noqa: RUF012 - a default that nobody writes to
    """Time zone → how many of them it has, if they have a window class."""


class Placed(NamedTuple):
    """A part of a page, and the time that it has on its channel's tube."""

    part: PagePart
    delay: float
    """Seconds until it may be taken."""
    expires_at: int
    """Ms UTC after which nobody wants it."""
    begin_from: int = 0
    begin_until: int = 0
    """The interval in which its pushes may begin, ms UTC; 0: at any time. What counts is asked again at the take."""
    kept: int = 0
    """The part's number, from 1, in a page whose recipients the instance keeps; 0: they are in ``part``."""


class PageRows(NamedTuple):
    """The subscribers of a page."""

    parts: list[PagePart]
    skipped: dict[str, int]
    """channel → rows that are not in the campaign's audience."""
    kept: str | None = None
    """The name of a page whose recipients have stayed in the instance: ``Tubes.page_put`` finds them there."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The store's answer to a baton."""

    verdict: str
    """``claimed``, ``empty``, ``stale`` or ``fenced``."""
    from_id: int = 0
    to_id: int = 0
    next: Baton | None = None
    ended: frozenset[int] = frozenset()
    """Subscribers of the page that need nothing any more: an earlier owner of the page has settled them."""
    only: frozenset[int] | None = None
    """The only subscribers that the page goes to; None: all of the audience."""
    unsure: bool = False
    """Whether those who are left may have a push from an earlier owner of the page, which is lost."""
    position: tuple[int, int] | None = None
    """The store's log position: (instance, number). A replica that has reached it has all subscribers of the page."""


class PausedCampaign(NamedTuple):
    """A campaign of which a queue must hand out no batch: pausing, paused or cancelled."""

    campaign: int
    version: int
    """The campaign's version: reports about an earlier pause do not count for this one."""
    purge: bool
    """Cancelled: the queue deletes its batches."""
    settling: bool
    """The store waits for every node's report."""


class DeadStanding(NamedTuple):
    """A question of the dead ledger about one campaign and channel, or a person's answer to it."""

    campaign: int
    channel: str
    state: str
    """``asked``; ``stopped``: asked, and the channel waits for the answer; ``confirmed``; ``denied``."""
    answered_at: int
    """Ms UTC; 0: not yet."""
    refused: int
    delivered: int
    limit: float
    reason: str
    """The provider's most frequent reason."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The store's answer to a heartbeat: the queue may go on for ``seconds``, except with the paused campaigns."""

    seconds: float
    paused: list[PausedCampaign]
    dead: list[DeadStanding] = field(default_factory=list)
    texts: dict[int, int] = field(default_factory=dict)
    """Corrected campaign → the version of its texts."""
    watched: bool = False
    """Whether somebody has looked at the nodes' states in the last seconds."""


class DeadVerdict(NamedTuple):
    """A new verdict of the dead ledger about one campaign and channel."""

    campaign: int
    channel: str
    verdict: str
    """``deleting``, ``asked``, ``few`` (too few to judge) or ``collecting`` (a question that is withdrawn)."""
    refused: int
    delivered: int


class DeadRow(NamedTuple):
    """The dead ledger's row for one campaign and channel."""

    campaign: int
    channel: str
    state: str
    since: int
    """Ms UTC."""
    likely: int
    doubtful: int
    postponed: int
    """Phones whose pushes are postponed, as far as one worker knows."""
    kept: int
    """Refused targets that wait for a verdict or an answer."""
    removed: int
    """Targets deleted within the last day: they can be restored."""
    delivered: int
    limit: float
    reasons: dict[str, int]
    examples: list[int]
    """Some subscribers' ids."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a queue reports before its node asks for the next lease."""

    asked: float
    """The queue's own clock, seconds: the lease will count from here."""
    still: list[tuple[int, int]]
    """(campaign, version) of each paused campaign of which nothing is taken and no line is owed any more."""
    stops: int = 0
    """How often the queue was told of a stop: see ``Tubes.stopped``."""


class WaitedFor(NamedTuple):
    """A node that has not reported yet that it sends nothing of a campaign that is being stopped, or is away."""

    node: str
    state: str
    """``not yet``: it does not know; ``answers``: it waits for its last answers; ``away``: it begins nothing."""
    unsure: int
    """How many people, at most, have a push that a node that is away has not reported."""


class NodeRow(NamedTuple):
    """A registered node as the store knows it."""

    name: str
    uuid: str
    epoch: int
    status: str
    """``current``, ``fenced`` (forgotten, its lease may still hold) or ``forgotten``."""
    seen_at: int
    """Ms UTC of its last renewal, by its own clock."""
    leased: bool
    """Whether its queue may hold a lease."""
    unsettled: int
    """Pages that it has claimed and not settled."""


class WrittenState(NamedTuple):
    """What a node wrote of itself with a heartbeat."""

    name: str
    at: int
    """Ms UTC, by the node's clock."""
    text: str


class Memory(NamedTuple):
    """How full an instance is: its memory in bytes, and its disk."""

    uuid: str
    """The instance's."""
    used: int
    size: int
    full: bool = False
    """New subscribers are refused: too little is left, or Tarantool itself has refused some just now."""
    disk_full: bool = False
    """The disk has refused the last write."""


class Cursor(NamedTuple):
    """How far a segment has been walked."""

    segment: int
    seq: int
    after_id: int
    end_id: int
    ended: bool


class LedgerPage(NamedTuple):
    """One page of the ledger: the ids in (from_id, to_id], and what became of them."""

    segment: int
    seq: int
    from_id: int
    to_id: int
    node: str
    epoch: int
    state: str
    """``claimed``, ``enqueued``, ``settled`` or ``open``."""
    recipients: int
    settled: int
    tallies: dict[str, dict[str, int]]
    """channel → ``enqueued``, ``skipped`` and outcomes."""
    first_claimed_at: int | None = None
    """Ms UTC by the store's clock; None: a page of an earlier version."""
    put_at: int | None = None
    """When it was on tubes at the latest, by the same clock; None: it is not, or a page of an earlier version."""
    ended: Sequence[int | bytes] = ()
    """Of a page that was cancelled: who was settled before (``campaigns.id_set``)."""


class PageAnswer(NamedTuple):
    """One answer that some recipients of a page had: who they are, as a set (``campaigns.id_set``)."""

    segment: int
    seq: int
    number: int
    outcome: str
    reason: str
    attempt: int
    node: str
    at: int
    """Ms UTC by the store's clock, of the last one."""
    recipients: int
    ids: list[int | bytes]
    rest: bool
    """All of the page but ``ids``."""


class Whereabouts(NamedTuple):
    """The batch of one recipient, on a node's tube."""

    state: str
    """``ready``, ``taken``, ``delayed``, ``buried`` or ``parked``."""
    n: int
    """The batch's number in its page; negative: a remainder."""
    attempt: int
    """As in ``Task``."""
    until: int
    """Ms UTC until which it waits; 0: it does not."""
    why: str
    """Of a buried one."""


TASK_FIELDS = 15
"""Fields of a task on a tube: ``storage/lua/roles/tubes/batch_format.lua`` names them."""

REFUSALS = 1000
"""How a task's tries and its own refusals share one number: see :func:`attempt`."""


UNSURE = 1_000_000
"""Added once its recipients may have a push of which nobody knows (``roles/tubes/unsure.lua``)."""


def attempt(tries: int, refusals: int, unsure: bool = False) -> int:
    """Encode a task's ``attempt`` field: the number of the try, plus a thousand for each refusal of its own."""
    return min(tries, REFUSALS - 1) + REFUSALS * refusals + UNSURE * unsure


@dataclass(frozen=True, slots=True)
class Task:
    """A batch taken from a tube, its recipients still packed."""

    id: int
    number: int
    """The take's number: never given twice by this queue, so it names this take of this task."""
    campaign: int
    epoch: int
    segment: int
    seq: int
    n: int
    attempt: int
    """Three values in one, as the tube stores it: see :func:`attempt`."""
    expires_at: int
    size: int
    recipients: bytes
    """See ``campaigns.recipient``."""
    window: int = 0
    """The recipients' window class; 0: no quiet hours hold for them."""
    lane: int = Lane.MIDDLE
    """See ``campaigns.lane``."""
    texts: int = 0
    """The version of the texts that came with the lease under which it was taken."""

    @property
    def tries(self) -> int:
        """1 for the first try: waits grow with it."""
        return self.attempt % REFUSALS

    @property
    def refusals(self) -> int:
        """Refusals of these recipients' own so far: after too many they are given up."""
        return self.attempt % UNSURE // REFUSALS

    @property
    def unsure(self) -> bool:
        """Whether these recipients are counted as unsure: they may have a push of an earlier try."""
        return self.attempt >= UNSURE

    @classmethod
    def of(cls, id: int, number: int, data: list[Any]) -> Task:
        """Read a task as the tube stores it (ValueError for an unknown version)."""
        (
            version,
            campaign,
            epoch,
            segment,
            seq,
            n,
            attempt,
            expires_at,
            lane,
            window,
            *_times,
            texts,
            size,
            recipients,
        ) = data
        if version != 1 or len(data) != TASK_FIELDS:
            raise ValueError(f"task {id} has format {version} and {len(data)} fields, not format 1 and {TASK_FIELDS}")
        return cls(
            id, number, campaign, epoch, segment, seq, n, attempt, expires_at, size, recipients, window, lane, texts
        )


class Buried(NamedTuple):
    """A batch that was buried for a person."""

    id: int
    data: Any
    """As the tube stores it, without a batch's recipients: tokens are shown to nobody."""
    crashes: int
    """Crashes counted against it."""
    why: str
    maybe_sent: int = 0
    """Recipients that may have been sent to before it was buried. If it is brought back, they are sent to again."""
    pri: int = 0
    """Its lane on the tube: batches are listed by it, and then by ``id``."""


class Remainder(NamedTuple):
    """Recipients of a batch that go back to the tube."""

    delay: float
    attempt: int
    size: int
    recipients: bytes


class Left(NamedTuple):
    """The rest of a batch after a part was settled: it stays taken."""

    before: int
    """Recipients before: each part has its own, so a repeated one is known by it."""
    size: int
    recipients: bytes


class KeptAnswer(NamedTuple):
    """An answer that some of a batch's recipients had, kept for whoever asks about one of them."""

    outcome: str
    """A terminal outcome that is no delivery; or ``retry`` or ``unknown``: the push is tried again."""
    reason: str
    attempt: int
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one take of one batch, or of a part of it."""

    task_id: int
    number: int
    tallies: dict[str, int]
    """Outcome -> recipients; ``retried`` counts those that go back."""
    reasons: dict[str, int]
    dead: list[tuple[int, str, int, str, str]]
    """(subscriber, token, delete if registered at or before this ms, kind, reason): see ``contract.Death``."""
    ended: list[int]
    """Subscribers who have their outcome: all of the batch, less those in ``remainders`` and ``left``, and those of
    earlier parts."""
    remainders: list[Remainder]
    left: Left | None = None
    """None: nothing of the batch is left."""
    answers: Sequence[KeptAnswer] = ()
    """What became of those who were not simply delivered to."""
    texts: int = 0
    """The version of the texts that were sent."""

    def wire(self) -> list[Any]:
        """As the queue's ``settle`` wants it."""
        line: dict[str, Any] = {
            "tallies": self.tallies,
            "reasons": self.reasons,
            "dead": [list(entry) for entry in self.dead],
            "ended": pack_ids(self.ended),
            "texts": self.texts,
        }
        if self.answers:
            line["answers"] = [[*answer[:3], len(answer.ids), pack_ids(answer.ids)] for answer in self.answers]
        wire = [self.task_id, self.number, line, [list(rest) for rest in self.remainders]]
        return wire if self.left is None else [*wire, list(self.left)]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signs certificates; every node of the store has the same."""

    private: bytes = field(repr=False)
    created_at: int


class Once(NamedTuple):
    """A client's idempotency key, and the request that it stands for."""

    owner: str
    """Who may use it: a key means nothing to another owner."""
    key: str
    request: dict[str, str]
    """Field → digest of its value."""


class Keyed(NamedTuple):
    """The campaign that an idempotency key stands for already."""

    campaign: int
    request: dict[str, str]
    """As in ``Once``, of the request that made the campaign."""


class Rest(NamedTuple):
    """Whether the rest of a canary's audience gets it."""

    state: str
    """``open``: that is not decided yet; ``on``: it does; ``stopped``: it does not; ``cancelled``: the campaign was."""
    campaign: int | None = None
    """The campaign to the rest."""


class TextGuard(NamedTuple):
    """What the content guard is to look for when a campaign is fired."""

    texts: list[str]
    """Fingerprints of its texts (``campaigns.same_text``)."""
    window: int
    """Ms before and after its start."""
    again: bool = False
    """Whether it may be a repeat: it is only noted."""
    owner: str = ""
    key: str | None = None
    """Its idempotency key, with that key's owner."""

    def wire(self) -> dict[str, Any]:
        """As ``campaign_fire`` wants it."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Missed(NamedTuple):
    """A scheduled campaign that was not started."""

    campaign: int
    start: int
    """When it was to start, ms UTC."""
    why: str
    """Empty: it expired before any node started it."""


class StoppedCanary(NamedTuple):
    """A canary whose share has failed, so that the rest got nothing."""

    campaign: int
    since: int
    """Ms UTC."""
    why: str


class Due(NamedTuple):
    """What is to be started, by the store's clock."""

    campaigns: list[int]
    """Scheduled campaigns whose start is now or was before."""
    wait: float | None
    """Seconds until the next one is due; None: no other is scheduled."""
    missed: list[Missed]
    """Of the last day."""
    armed: int = 0
    """Campaigns that are armed: somebody may fire them at any moment."""
    canaries: int = 0
    """Campaigns to a share first, of which nobody knows yet whether the rest gets it."""
    stopped: Sequence[StoppedCanary] = ()
    """Canaries that have stopped, of the last day."""


class Audience(NamedTuple):
    """Whom a Fire reaches."""

    channels: list[str]
    unserved: dict[str, int]
    """Channel that no node serves → its subscribers, which get nothing."""
    together: bool
    """Whether one node serves all of ``channels``, as the walk of a page needs."""


class AudienceRows(NamedTuple):
    """Rows of a channel, by whether they are in an audience now."""

    inside: int = 0
    outside: int = 0
    inside_changed: int = 0
    """Changed since a given moment, and counted in neither of the first two."""
    outside_changed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def given_windows(windows: Windows | None) -> list[Any] | None:
    """A campaign's window classes as the store takes them."""
    if windows is None:
        return None
    text = msgspec.json.encode(windows).decode()
    return [windows.classes_by_zone(), windows.channels, text, windows.ends_at, windows.best]


def read_campaign(answer: list[Any]) -> Campaign:
    """Read ``campaign_get``'s answer."""
    row, channels, *more = answer
    texts, second, copied, former = more[0] if more and more[0] is not None else (0, None, True, [])
    removed = {name: tallies.pop("removed_before", 0) for name, tallies, _ in channels}
    id, version, state, message, audience, policy, created, fired, finished, segments_open, _pages = row
    return Campaign(
        id=id,
        version=version,
        state=state,
        message=_MESSAGE.decode(message),
        audience=audience.get("channels"),
        policy=policy,
        created_at=created,
        fired_at=fired or None,
        finished_at=finished or None,
        walked=bool(fired) and segments_open == 0,
        tallies={name: tallies for name, tallies, _ in channels},
        reasons={name: reasons for name, _, reasons in channels},
        removed_before=removed,
        unserved=dict(audience.get("unserved") or {}),
        where=audience.get("where"),
        estimate=dict(audience.get("estimate") or {}),
        texts=texts,
        correction=second,
        corrected=copied,
        former=[(when, _MESSAGE.decode(text)) for when, text in former],
    )
