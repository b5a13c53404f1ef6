"""The interface between the servers and a provider's rules: requests in, answers out, without I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeAlias

from simulators.answers import TwinAnswer
from simulators.faults.director import Director
from simulators.http2.received_request import ReceivedRequest
from simulators.http2.server_streams import Limits
from simulators.ledger import Ledger
from simulators.twin_credentials import Credentials


class Session(Protocol):
    """A provider's view of one connection."""

    streams: int
    """MAX_CONCURRENT_STREAMS that the connection should have now; the server announces a change."""

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        """Judge one request. An accepted push is in the ledger when this returns, but not yet flushed."""


class Provider(ABC):
    """One platform's rules: the base of all twins.

    Args:
        director: the fault script.
        ledger: takes accepted pushes, counts refusals.
        apps: topics or projects served; empty: any well-formed one.
        latency: draws the seconds before each answer.
    """

    protocols: tuple[str, ...] = ("h2",)
    """ALPN names, preferred first."""
    plain: ClassVar[bool] = False
    """Whether it also answers HTTP/1.1 without TLS."""
    usual_streams: ClassVar[int]
    """MAX_CONCURRENT_STREAMS, unless a script sets another."""

    def __init__(
        self,
        director: Director,
        ledger: Ledger,
        apps: tuple[str, ...] = (),
        latency: Callable[[], float] = float,
    ) -> None:
        script = director.script
        self.streams = script.streams or self.usual_streams
        self.limits = Limits(self.streams, initial_window=script.stream_window)
        if script.connection_window is not None:
            self.limits = Limits(
                self.streams, initial_window=script.stream_window, connection_window=script.connection_window
            )
        self.director = director
        self.ledger = ledger
        self.apps = apps
        self.latency = latency

    def http1_session(self) -> Session:
        """Begin a connection that speaks HTTP/1.1."""
        return self.session()

    @abstractmethod
    def session(self, certificate: bytes | None = None) -> Session:
        """Begin a connection; ``certificate``: the client's, DER, if it showed one."""


@dataclass(frozen=True, slots=True)
class TwinParts:
    """What every twin is built from."""

    made: Credentials
    director: Director
    ledger: Ledger
    apps: tuple[str, ...]
    """As ``Provider`` takes them."""
    latency: Callable[[], float]
    """As ``Provider`` takes it."""
    origin: str
    """``https://localhost:port``, where the twin listens."""


@dataclass(frozen=True, slots=True)
class BuiltTwin:
    """A platform's rules, and the credentials that a client needs. Paths are absolute."""

    provider: Provider
    credentials: Mapping[str, str]
    """The entries for a channel's ``credentials`` table."""
    keys: Sequence[Mapping[str, str]] = ()
    """The same for each further key of the script."""
    certificates: Mapping[str, str] = field(default_factory=dict)
    """Client certificates by file name. If there are any, the server asks for one."""


BuildTwin: TypeAlias = Callable[[TwinParts], BuiltTwin]
"""The type of a twin's entry point (group ``broadside.twins``)."""
