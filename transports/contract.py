"""What a platform's transport takes and returns: the border between the pipeline and the providers.

A transport takes a whole :class:`Batch` and returns its :class:`Outcomes`: how many recipients were delivered, and one
:class:`Exceptional` for each of the others. Failures are data here, never exceptions, so one recipient that fails does
not affect the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Death, Fault, Outcome
from campaigns.presentation import Presentation
from transports.load import Load
from transports.proxy import Proxy
from transports.traffic import Traffic

CONTRACT = 1
"""The version of what a platform is given and gives: this module, and the parts of ``transports`` that platforms build
upon. It rises when a platform that was written for it would have to change."""
LONGEST_PAUSE = 300.0
"""The longest pause of a channel before it tries again, seconds, even if its provider asks for more."""


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
    """DEAD: the provider's own timestamp, ms UTC. The subscriber is deleted only if registered before it."""
    death: Death | None = None
    """DEAD and REJECTED: what the refusal says about the token; None: nothing."""
    fault: Fault = Fault.MOMENT
    """Where the fault lies. RETRY and UNKNOWN: unless with the phone, the push is tried again until it expires."""


@dataclass(slots=True)
class Outcomes:
    """The outcomes of one batch. ``delivered + len(exceptions) == len(batch.recipients)``, each index at most once."""

    delivered: int = 0
    exceptions: list[Exceptional] = field(default_factory=list)
    stop: str | None = None
    """Why the channel must pause, in one sentence: the same fault would hit every recipient; None: it need not."""
    slow: float = 0.0
    """Seconds for which the channel should send nothing, because the provider limits the whole project."""
    put_off: int = 0
    """Pushes that wait because of a fault other than the phone's (5xx, refused streams, a quota).

    Many of them slow the channel down.
    """


def all_alike(batch: Batch, outcome: Outcome, reason: str) -> Outcomes:
    """The outcomes of a batch of which nothing was sent: the same for every recipient."""
    return Outcomes(0, [Exceptional(index, outcome, reason) for index in range(len(batch.recipients))])


@dataclass(frozen=True, slots=True)
class Quota:
    """The rate that a provider allows one customer, over everything that the customer runs."""

    owner: str
    """The owner's name for messages to operators (``project news-1a2b3``). Channels of one owner share the quota."""
    a_minute: float
    """Pushes a minute."""
    ramp: float
    """Seconds over which the rate must rise from a low start."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Why a provider cannot be reached, or gives us no credential."""

    sentence: str
    since: float
    """When it began, on ``trio.current_time()``."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The exact request that a phone's provider gets."""

    locale: str
    """The text; empty: the default text."""
    fields: Mapping[str, str]
    """The header fields that depend on the message."""
    body: bytes
    """The JSON, for a token that belongs to nobody and a subscriber without personal fields."""
    size: int
    """Bytes that count against ``limit``, with each personal field as long as it may be."""
    limit: int
    apps: str = ""
    """The versions of the app that get it (``>=5.0``), or ``others``; empty: all."""


class Transport(Protocol):
    """Sends one channel's pushes to its platform. Owns the connections; is a supervised actor (``run``/``stop``)."""

    @property
    def outage(self) -> Outage | None:
        """Why nothing can be sent, whether or not anything waits; None: sending is possible. Cheap to read."""

    @property
    def quota(self) -> Quota | None:
        """The provider's quota; None: it names no rate, or the channel does not connect to the provider itself."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the connections until stopped. Call ``ready`` once batches may come; retry a remote outage for ever."""

    async def send(self, batch: Batch) -> Outcomes:
        """Push to every recipient and return what became of each. Several tasks may call it at once.

        Never raises because of a provider or the network; waits while no connection is up. If it is cancelled, the
        outcome of pushes already sent is unknown to the caller.
        """

    def check(self, message: Message, presentation: Presentation = Presentation.AWAKE) -> None:
        """Raise ``PayloadError`` if this platform cannot carry one of the message's texts, with its personal fields as
        long as they may be. Called before a campaign is fired.
        """

    def preview(
        self, message: Message, campaign: int, expires_at: int, presentation: Presentation = Presentation.AWAKE
    ) -> list[Preview]:
        """Render every text of the message as :meth:`send` does. Raises ``PayloadError`` as :meth:`check`.

        ``expires_at``: ms UTC.
        """

    def stop(self) -> None:
        """Finish what is in flight, then end ``run``. Synchronous."""


class SharedText(NamedTuple):
    """A credential as it goes from one process of a node to the others."""

    text: str
    issued_at: int
    """Seconds UTC, by the clock at that time; 0: nobody asks."""
    made_at: float
    """Seconds of ``CLOCK_BOOTTIME``, which nobody can set."""
    seconds: float = 0.0
    """For which its provider takes it; 0: its kind has a fixed age."""


class SharedCredential(Protocol):
    """A credential that the provider expects to be the same in all processes of a node."""

    @property
    def name(self) -> str:
        """Identifies the credential: channels whose credentials have the same name share one. Holds no secret."""

    def current(self) -> SharedText | None:
        """Return the credential, a new one if the last is too old. Called in the node's own process.

        None: it is yet to be fetched.
        """

    def set_token(self, token: SharedText) -> None:
        """Use the credential that the node's own process made, as long as it is fresh. Disturbs no connection."""


@runtime_checkable
class Fetched(Protocol):
    """Optional interface of a :class:`SharedCredential`: its provider gives it out, to one process of a node."""

    async def run(self, fetched: Callable[[], None]) -> None:
        """Fetch and renew it for ever, and call ``fetched`` for each new one. Called in the node's own process."""

    def borrow(self) -> None:
        """Expect it from the node's own process, and fetch it here only if none comes. Called in a worker."""


@runtime_checkable
class Sharing(Protocol):
    """Optional interface of a :class:`Transport`: a credential that processes share."""

    @property
    def shared(self) -> SharedCredential | None:
        """The credential to share; None: there is none."""


@runtime_checkable
class Counting(Protocol):
    """Optional interface of a :class:`Transport`: figures of its connections."""

    @property
    def traffic(self) -> Traffic:
        """What its connections are doing now. Cheap to read."""


@runtime_checkable
class Pooling(Protocol):
    """Optional interface of a :class:`Transport`: it opens more connections as they are needed."""

    @property
    def wanted(self) -> int:
        """How many connections it wants to keep up at present."""

    @property
    def load(self) -> Load:
        """What its connections wait for."""

    def probe(self) -> None:
        """Ask connections that were silent for long whether they are alive, because pushes come soon."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """What a transport needs to know about its channel."""

    channel: str
    platform: str
    app: str
    """The app's id at the provider (``Platform.app``)."""
    credentials: Mapping[str, str]
    """The config's ``credentials`` table, with absolute file names."""
    origin: str | None = None
    """``https://host:port`` instead of the provider's own (twins, tests)."""
    ca: Path | None = None
    """PEM file of the authority that signed ``origin``; None: the system's trust store."""
    connections: int = 1
    """Always kept up."""
    most_connections: int | None = None
    """Kept up while they are needed; None: no more than ``connections``."""
    connect_every: float = 1.0
    """Seconds from one more connection to the next."""
    proxy: Proxy | None = None
    """Between us and the provider; None: there is none."""
    upper_lane: bool = False
    """Keep one connection more, on which the upper lane need not wait for answers to others."""
    deadline: float = 20.0
    """Seconds after which an unanswered push is *unknown*."""
    quiet_channel: str | None = None
    """The app's own notification channel without sound, for pushes that are asleep; None: the app has none."""
    android_v2: bool | str = False
    """Send Google's second form of Android messages; a text: to apps of these versions (``>=5.0``), whose recipients
    have ``NEW_APP`` as their last value."""
    collapse_slots: tuple[str, ...] = ()
    """The named slots of the screen that an editor may use."""
    devices: tuple[str, ...] = ()
    """Of ``Platform.devices``, those that the app is on; empty: all."""
    push_services: tuple[str, ...] = ()
    """Hosts that pushes may go to, where each token names its own; empty: the platform's."""
    labelled: bool = False
    """Let each push name its campaign for the provider's own figures, where the platform can."""
    broadcast_origin: str | None = None
    """``https://host:port`` that broadcasts go to; None: where pushes go."""
    manage_origin: str | None = None
    """``https://host:port`` where broadcast channels are made and deleted; None: ``origin``, or the provider's own."""
    warm_up: str | None = None
    """Token of a device of our own: each new connection first sends it a push that nobody sees."""


class Build(Protocol):
    """Builds a channel's transport."""

    def __call__(self, settings: TransportSettings) -> Transport:
        """Check the settings and credentials (raises ``CredentialsError`` naming the field and the remedy)."""


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One entry of a channel's ``credentials`` table."""

    name: str
    meaning: str
    """What it is and where to get it, for messages to operators."""
    required: bool = True
    """Whether its set of fields is incomplete without it."""
    file: bool = False
    """Whether it names a file, which other users must not be able to read."""
    public_beside: str | None = None
    """Another field: if it is given too, it holds the secret, and others may read this field's file."""
    pattern: str = ".*"
    """A regular expression that the whole value must match."""
    form: str = ""
    """The pattern in words (``10 letters and digits``)."""

    def fits(self, value: str) -> bool:
        """Whether ``value`` has this field's form."""
        return re.fullmatch(self.pattern, value, re.DOTALL) is not None


class DeliveryFigures(NamedTuple):
    """What a provider says became of accepted pushes. The parts may not add up: providers round, and leave some out."""

    day: date
    """UTC."""
    campaign: str
    """The campaign's text; empty: all pushes of the app on that day."""
    accepted: int
    delivered: int
    waiting: int
    """Kept for phones that are off."""
    discarded: int


class DeliverySource(Protocol):
    """A provider's figures for one channel."""

    async def figures(self, first: date, last: date) -> list[DeliveryFigures]:
        """Fetch those of some days. May take minutes. Raises ``ConnectionLost``, to be tried again, and
        ``DeliveryRefused``, whose text says what a person must do.
        """


@dataclass(frozen=True, slots=True)
class DeliveryReports:
    """How a platform's own figures are had."""

    fields: tuple[CredentialField, ...]
    """The entries of a channel's ``delivery`` table."""
    build: Callable[[TransportSettings, Mapping[str, str]], DeliverySource]
    """(settings, the ``delivery`` table) → the source. Raises ``CredentialsError``."""
    by_campaign: bool
    """Whether they are by campaign; else by app and day."""


DELIVERY_ORIGIN = CredentialField(
    "origin",
    "where the figures are had instead of the provider's own address",
    required=False,
    pattern=r"https://[^/?#@\s]+",
    form='an origin like "https://127.0.0.1:8443"',
)
DELIVERY_EXPIRES = CredentialField(
    "expires",
    "the last day on which the token holds, for an alarm two weeks before",
    required=False,
    pattern=r"\d{4}-\d{2}-\d{2}",
    form='a day like "2027-05-01"',
)

ENVIRONMENT = "environment"
"""The entry of a ``credentials`` table that names one of several environments."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform as its entry point (``transports.registry``) describes it."""

    provider: str
    """The provider's name for messages to operators."""
    service: str
    """The service's name for messages to operators."""
    app: str
    """The service's term for an app's id, for messages to operators (``the bundle id``)."""
    credentials: tuple[tuple[CredentialField, ...], ...]
    """Sets of fields, the usual one first. A channel gives one set. Empty: channels need no credentials."""
    environments: Mapping[str, str]
    """Name → the service's origin there, the usual one first. If there are several, a channel's credentials may choose
    another by ``environment``. Empty: each channel names its own origin."""
    sample: Callable[[str], str]
    """64 hexadecimal digits → a token of the first kind that belongs to nobody; begins with the digits if it can."""
    build: Build
    kinds: tuple[str, ...]
    """Its kinds of token."""
    token: Callable[[str, str], str]
    """(kind, text) → the token as the platform writes it. Raises ``TokenError`` if it is no token of this kind."""
    tokens: Callable[[str, list[str]], list[str] | None]
    """(kind, texts) → the same for many at once, in their order; the list itself if nothing changes. None if one is no
    token or needs a closer look: call ``token`` for each."""
    options: Callable[[Mapping[str, Any]], object]
    """Reads ``Message.options`` of this platform. Raises ``PayloadError`` for a wrong one. So options are checked even
    if the message goes to no channel of this platform."""

    distinct: bool = True
    """Whether its tokens have a form by which they are told from those of other platforms."""

    keys: frozenset[str] = frozenset()
    """Further keys of a channel's table that it understands: ``quiet_channel``, ``android_v2``, ``collapse_slots``,
    ``devices``, ``push_services``, ``broadcast_origin``, ``manage_origin``."""

    devices: tuple[str, ...] = ()
    """The kinds of devices that its requests speak to, if a channel may leave some of them out."""

    sleeps: bool = False
    """Whether it can show a push asleep. If it understands ``quiet_channel``, only on a channel that names one."""

    message_id: Callable[[int, int], str] | None = None
    """(campaign, subscriber) → the id that the provider's own logs have of the push; None: it cannot be computed."""

    weight: float = 1.0
    """CPU of a push through a whole node, in that of a push which is not encrypted."""
    delivery: DeliveryReports | None = None
    """How its provider's own figures of deliveries are had; None: it has none."""
    protocols: tuple[str, ...] = ("h2",)
    """What its transport speaks, by ALPN's names. With ``http/1.1`` the service may also choose none."""

    device: str = "Android"
    """What shows its pushes, for a drawing: ``iPhone``, ``Android`` or ``browser``."""

    def can_be_asleep(self, quiet_channel: str | None) -> bool:
        """Whether a push to a channel with this ``quiet_channel`` can be shown asleep."""
        return self.sleeps and ("quiet_channel" not in self.keys or quiet_channel is not None)

    def origin(self, credentials: Mapping[str, str]) -> str | None:
        """The service's origin for a channel with these ``credentials``; None: the platform has none."""
        return self.environments.get(credentials.get(ENVIRONMENT, next(iter(self.environments), "")))
