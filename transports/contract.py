"""What a platform's transport takes and gives back. The border between the pipeline and the providers.

A transport is handed a whole :class:`Batch` and answers with its :class:`Outcomes`: a count of what was delivered, and
one :class:`Exceptional` for each recipient that was not. Failures are data here, never exceptions, so that one sick
recipient costs its neighbours nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Death, Fault, Outcome

LONGEST_PAUSE = 300.0
"""Seconds that a channel pauses at most before it tries again, however long its provider asks for."""


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
    """The app's id, as the provider knows it (``Platform.app``)."""
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
class CredentialField:
    """One entry of a channel's ``credentials`` table."""

    name: str
    meaning: str
    """What it is and where it is to be had, as people are told."""
    required: bool = True
    """Whether its set is incomplete without it."""
    file: bool = False
    """Whether it names a file, closed to other users."""
    public_beside: str | None = None
    """The field that, where it is given too, holds the secret, so that this one's file may be open to others."""
    pattern: str = ".*"
    """A regular expression that all of its text must match."""
    form: str = ""
    """The pattern in words (``10 letters and digits``)."""

    def fits(self, value: str) -> bool:
        """Whether ``value`` has this field's form."""
        return re.fullmatch(self.pattern, value, re.DOTALL) is not None


ENVIRONMENT = "environment"
"""The entry of a ``credentials`` table that names one of several environments."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform as its entry point (group ``broadside.transports``) describes it."""

    provider: str
    """Whose service it is, as people are told."""
    service: str
    """The service itself, as people are told."""
    app: str
    """How the service calls an app's id, as people are told (``the bundle id``)."""
    credentials: tuple[tuple[CredentialField, ...], ...]
    """Sets of fields. A channel gives one of them; the first is the usual one. Empty: no channel needs any."""
    environments: Mapping[str, str]
    """Name → the service's origin there. The first is the usual one; where there are several, a channel's credentials
    may name another as ``environment``. Empty: there is no origin but a channel's own."""
    sample: Callable[[str], str]
    """64 hexadecimal digits → a token of the first kind that is nobody's, and begins like the digits where it can."""
    build: Build
    kinds: tuple[str, ...]
    """Kinds of token that it has."""
    token: Callable[[str, str], str]
    """(kind, text) → the token as the platform writes it. Raises ``TokenError`` for what is no token of this kind."""
    tokens: Callable[[str, list[str]], list[str] | None]
    """(kind, texts) → the same for many at once, in their order; the list itself where nothing changes. None where one
    is no token, or wants a closer look: ask ``token`` for each."""

    def origin(self, credentials: Mapping[str, str]) -> str | None:
        """Where the service is for a channel with these ``credentials``; None: it has no origin of its own."""
        return self.environments.get(credentials.get(ENVIRONMENT, next(iter(self.environments), "")))
