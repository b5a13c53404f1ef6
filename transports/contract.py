"""What a platform's transport takes and gives back. The border between the pipeline and the providers.

A transport is handed a whole :class:`Batch` and answers with its :class:`Outcomes`: a count of what was delivered, and
one :class:`Exceptional` for each recipient that was not. Failures are data here, never exceptions, so that one sick
recipient costs its neighbours nothing.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

LONGEST_PAUSE = 300.0
"""Seconds that a channel pauses at most before it tries again, however long its provider asks for."""


class Recipient(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One push target, as it lies in a task: ``[id, token, kind, registered_at, locale]``, in MessagePack."""

    id: int
    """The subscriber's id (uint64)."""
    token: str
    kind: str
    """What ``token`` is: ``token`` (APNs device, FCM registration) or ``fid`` (Firebase installation id)."""
    registered_at: int
    """Milliseconds UTC at which this token was last registered."""
    locale: str
    """BCP 47; empty: the campaign's default text."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said. Platform-neutral; each platform's ``payload`` renders it once per (campaign, locale)."""

    title: str
    body: str
    url: str | None = None
    """What a tap opens."""
    data: dict[str, str] = {}
    """The app's own keys."""
    options: dict[str, dict[str, Any]] = {}
    """Platform → what only that platform knows (``{"apns": {"priority": 5}}``). Its ``payload`` reads it, strictly."""


class Leave(enum.Enum):
    """Whether more of a batch may be begun."""

    GIVEN = "given"
    AWAITED = "awaited"
    """It cannot be known just now whether the batch is still ours: begin nothing until it is."""
    GONE = "gone"
    """It is in other hands: what we would send now would be sent twice."""


def always() -> Leave:
    """For batches that nobody can take from us."""
    return Leave.GIVEN


@dataclass(frozen=True, slots=True)
class Batch:
    """The recipients of one task, with the message they get."""

    campaign: int
    """64-bit campaign id."""
    message: Message
    attempt: int
    """1 for the first try; waits grow with it. How often the phone itself refused is not in it."""
    expires_at: int
    """Milliseconds UTC after which nobody wants this push any more."""
    recipients: list[Recipient]
    """By rising id, unless they came back from an earlier attempt."""
    begin_until: float = math.inf
    """On ``trio.current_time()``: what is not begun by then comes back HELD, so that no lease runs out under way."""
    leave: Callable[[], Leave] = always
    """Asked before requests are begun, some at a time."""
    validate_only: bool = False
    """A dry run: the provider judges, and shows nothing to anybody. Where it cannot, nothing is sent (DROPPED)."""


class Outcome(enum.Enum):
    """What became of one recipient's push. The first six are terminal; the others come back as a later attempt."""

    DELIVERED = "delivered"
    DEAD = "dead"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DROPPED = "dropped"
    RETRY = "retry"
    """Not taken for now: try again after ``Exceptional.after`` seconds."""
    UNKNOWN = "unknown"
    """Sent, never answered: tried again under the same collapse id, so that a repeat replaces the first."""
    HELD = "held"
    """Not judged: never sent, or hit by a fault of the whole channel. Does not count as a try."""


class Fault(enum.Enum):
    """Where the fault lies that a push was not taken. Only the phone's own refusals count towards giving it up."""

    PHONE = "phone"
    """This token, or this message to it. The others of the batch are judged by themselves."""
    CHANNEL = "channel"
    """The credential, the app, the project, its quota: every recipient of the channel would hear the same."""
    MOMENT = "moment"
    """The provider or the way to it, just now: busy, silent, restarting."""


TERMINAL = frozenset(
    {Outcome.DELIVERED, Outcome.DEAD, Outcome.REJECTED, Outcome.EXPIRED, Outcome.CANCELLED, Outcome.DROPPED}
)


class Death(enum.Enum):
    """How surely a provider's refusal says that a phone is gone. What Broadside refuses by itself is none of these."""

    CERTAIN = "certain"
    """No wrong key can cause it: deleted with the report."""
    LIKELY = "likely"
    """Kept with the campaign, and judged over the whole ring when it ends."""
    DOUBTFUL = "doubtful"
    """Kept as well; in the field nearly always a wrong environment, app or project."""


class Exceptional(NamedTuple):
    """One recipient of a batch that was not simply delivered."""

    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody needs here
    """Position in ``batch.recipients``."""
    outcome: Outcome
    reason: str
    """The provider's own word (``BadDeviceToken``, ``UNREGISTERED``) or ours (``no answer``)."""
    after: float = 0.0
    """Seconds to wait before the next attempt (RETRY)."""
    unregistered_at: int | None = None
    """DEAD: the provider's own timestamp, ms UTC. The subscriber goes only if registered before it."""
    death: Death | None = None
    """DEAD and REJECTED: what the refusal says of the token; None: nothing."""
    fault: Fault = Fault.MOMENT
    """Whose fault it is. RETRY and UNKNOWN: what is not the phone's waits until the news expires."""


@dataclass(slots=True)
class Outcomes:
    """The fate of one batch. ``delivered + len(exceptions) == len(batch.recipients)``, each index at most once."""

    delivered: int = 0
    exceptions: list[Exceptional] = field(default_factory=list)
    stop: str | None = None
    """One plain sentence when the channel must pause, because the same fault would hit every recipient."""
    slow: float = 0.0
    """Seconds for which the channel should send nothing, where the provider limits the whole project."""
    put_off: int = 0
    """Pushes that wait for a fault which is not the phone's (5xx, refused streams, a quota): many slow the channel."""


def held(batch: Batch, why: str) -> Outcomes:
    """None of a batch was sent."""
    return Outcomes(0, [Exceptional(index, Outcome.HELD, why) for index in range(len(batch.recipients))])


@dataclass(frozen=True, slots=True)
class Quota:
    """What a provider allows one of its customers, over all that this customer runs."""

    owner: str
    """Whose it is, as people are told (``project news-1a2b3``). Channels of one owner share it."""
    a_minute: float
    """Pushes."""
    ramp: float
    """Seconds over which the rate is to rise from a small start."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Why a provider cannot be reached, or gives us no credential."""

    sentence: str
    since: float
    """On ``trio.current_time()``."""


class Transport(Protocol):
    """One platform's way out for one channel. Owns its connections; is an actor of supervision (``run``/``stop``)."""

    @property
    def outage(self) -> Outage | None:
        """Why nothing can be sent, whether or not anything waits; None: it can. Cheap to ask."""

    @property
    def quota(self) -> Quota | None:
        """What the provider allows; None: it names no rate, or the channel does not go to the provider itself."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the connections until stopped. Call ``ready`` once batches may come; retry a remote outage for ever."""

    async def send(self, batch: Batch) -> Outcomes:
        """Push to every recipient and answer with what became of each. May be called by several tasks at once.

        Never raises for what a provider or the network does; waits while no connection is up. Cancelling it leaves
        sent pushes *unknown* to the caller.
        """

    def check(self, message: Message) -> None:
        """Raise ``PayloadError`` if this platform cannot carry the message. Asked before a campaign is fired."""

    def stop(self) -> None:
        """Finish what is in flight, then end ``run``. Synchronous."""


class SharedCredential(Protocol):
    """A credential that the provider wants to see as one and the same from all processes of a node."""

    @property
    def name(self) -> str:
        """What it is made of: channels whose credentials have one name share one. Holds no secret."""

    def current(self) -> tuple[str, int, float]:
        """(text, issued at, made at), made anew when the last one is too old. Asked in the node's own process.

        Issued at: seconds UTC, by the clock as it was. Made at: seconds of ``CLOCK_BOOTTIME``, which nobody sets.
        """

    def set_token(self, text: str, issued_at: int, made_at: float) -> None:
        """Use what the node's own process has made, as long as it is fresh. Disturbs no connection."""


@runtime_checkable
class Sharing(Protocol):
    """What a :class:`Transport` may offer beside its own methods."""

    @property
    def shared(self) -> SharedCredential | None:
        """Its credential to share; None: it has none of this kind."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """What a transport needs to know of its channel."""

    channel: str
    platform: str
    app: str
    """APNs: the bundle id (topic). FCM: the project id."""
    credentials: Mapping[str, str]
    """As in the config's ``credentials`` table, file names made absolute."""
    origin: str | None = None
    """``https://host:port`` in place of the provider's own (twins, tests)."""
    ca: Path | None = None
    """PEM file of the authority that signed ``origin``; None: the system's trust store."""
    connections: int = 1
    deadline: float = 20.0
    """Seconds after which an unanswered push is *unknown*."""
    warm_up: str | None = None
    """Token of a device of our own: each new connection first sends it something that nobody sees."""


class Build(Protocol):
    """Builds a channel's transport."""

    def __call__(self, settings: TransportSettings) -> Transport:
        """Check the settings and credentials (raises ``CredentialsError`` naming the field and the remedy)."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform as its entry point (group ``broadside.transports``) describes it."""

    provider: str
    """Whose service it is, as people are told."""
    build: Build
    kinds: tuple[str, ...]
    """Kinds of token that it has."""
    rule: int
    """Raised when ``token`` writes another form: the rows that are there are then looked through again."""
    token: Callable[[str, str], str]
    """(kind, text) → the token as the platform writes it. Raises ``TokenError`` for what is no token of this kind."""
    tokens: Callable[[str, list[str]], list[str] | None]
    """(kind, texts) → the same for many at once, in their order; the list itself where nothing changes. None where one
    is no token, or wants a closer look: ask ``token`` for each."""


def unpack_recipients(packed: bytes) -> list[Recipient]:
    """Read a task's recipients (raises ``msgspec.ValidationError`` for anything else)."""
    return _DECODER.decode(packed)


def pack_recipients(recipients: list[Recipient]) -> bytes:
    """Write recipients as a task carries them."""
    return _ENCODER.encode(recipients)


_DECODER = msgspec.msgpack.Decoder(list[Recipient])
_ENCODER = msgspec.msgpack.Encoder()
