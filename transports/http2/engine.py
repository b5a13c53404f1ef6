"""What a connection needs of the protocol that is spoken on it: requests in, bytes out, answers back, without I/O.

:class:`~transports.http2.client.Http2Client` is one; so a pool can also keep connections to a provider that speaks only
HTTP/1.1, with the same queue, deadlines, growth and drain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from transports.http2.growth import Bound
from transports.http2.messages import Completions, Row, Template


class Engine(Protocol):
    """One connection's protocol. Owned by one task group; never raises because of the peer: see :attr:`error`."""

    good_after: float
    """Seconds after which a connection that ends counts as good, so that the next try is not delayed."""
    connect_every: float
    """Least seconds from one more connection to the next; the pool's own setting may be shorter."""
    pings: bool
    """Whether the peer can be asked if it is alive."""
    retiring: str | None
    """Why no new request may be sent here; None: they may."""
    error: str | None
    """Why the connection must be closed at once; None: it need not."""
    accepted: int
    """How many requests were answered with 200–299."""

    @property
    def settled(self) -> bool:
        """Whether the peer's limits are known."""

    @property
    def pong(self) -> bytes | None:
        """Payload of the latest answer to :meth:`ping`."""

    @property
    def in_flight(self) -> int:
        """How many requests await their answer."""

    @property
    def window(self) -> int:
        """Bytes that the peer still takes."""

    @property
    def stream_limit(self) -> int:
        """How many requests may be in flight at once."""

    @property
    def bound(self) -> Bound | None:
        """What it waits for before it can begin another request; None: nothing, or it takes no more."""

    def room(self) -> int:
        """How many more requests may be begun now."""

    def encode(
        self, owner: object, template: Template, requests: Sequence[Row], start: int, stop: int, now: float
    ) -> int:
        """Begin as many of ``requests[start:stop]`` as there is room for. Returns how many were begun."""

    def outgoing(self) -> bytes:
        """Take the bytes to be written now; empty if there are none."""

    def feed(self, data: bytes) -> Completions:
        """Take bytes from the peer and return what they settle."""

    def ping(self) -> bytes:
        """Ask the peer whether it is alive; :attr:`pong` becomes the returned payload once it answers."""

    def retire(self, reason: str) -> None:
        """Begin nothing new here; requests in flight may still be answered."""

    def close(self) -> None:
        """Say goodbye, if the protocol has a word for it."""

    def oldest(self) -> float | None:
        """When the oldest unanswered request was sent; None: nothing is in flight."""

    def unanswered(self, found: Mapping[object, list[int]]) -> None:
        """Add the keys of all requests in flight to the lists of their owners; other owners' are left out."""

    def expire(self, before: float) -> Completions:
        """Give up requests sent before ``before`` (seconds)."""

    def lost(self, reason: str) -> Completions:
        """The connection is lost: everything in flight is unanswered."""
