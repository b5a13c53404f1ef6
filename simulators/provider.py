"""What stands between the wire and a provider's rules: requests go in, answers come out, nothing here does I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Protocol

from simulators.answers import Answer
from simulators.director import Director
from simulators.ledger import Ledger
from simulators.requests import Request
from simulators.streams import Limits


class Session(Protocol):
    """A provider's view of one connection."""

    streams: int
    """MAX_CONCURRENT_STREAMS that the connection should have now; the server announces a change."""

    def answer(self, request: Request) -> Answer:
        """Judge one request. What is accepted has been added to the ledger when this returns; not yet flushed."""


class Provider(ABC):
    """One platform's rules, and what all of them stand on.

    Args:
        director: the fault script.
        ledger: takes what is accepted, counts what is refused.
        apps: topics or projects served; empty: any well-formed one.
        latency: draws the seconds before each answer.
    """

    protocols: ClassVar[tuple[str, ...]] = ("h2",)
    """ALPN names, preferred first."""
    usual_streams: ClassVar[int]
    """MAX_CONCURRENT_STREAMS where a script says nothing else."""

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

    @abstractmethod
    def session(self, certificate: bytes | None = None) -> Session:
        """Begin a connection; ``certificate``: the client's, DER, if it showed one."""
