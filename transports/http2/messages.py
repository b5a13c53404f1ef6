"""The records that go into an HTTP/2 connection, and the ones that come out of it.

They know nothing of their user: an ``owner`` is whatever the caller passed, and is returned unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Header = tuple[bytes, bytes]

UNPROCESSED = 0
"""Status of a request that the peer certainly did not act on (RFC 9113 §8.7): sending it again is safe."""
UNANSWERED = -1
"""Status of a request that may or may not have been acted on: the connection or the stream ended without an answer."""

Row = tuple[int, bytes, bytes, bytes, tuple[Header, ...]]
"""A :class:`Request` as a plain tuple: ``zip`` makes a thousand of them in the time of a few dozen Requests."""


class Request(NamedTuple):
    """What differs between the requests of a batch."""

    key: int
    """The caller's own number, returned with the answer."""
    path: bytes
    """The part after the template's path."""
    ident: bytes
    """The part after the template's ``ident_prefix``."""
    body: bytes
    fields: tuple[Header, ...] = ()
    """Further header fields of this request alone, names in lower case."""


@dataclass(frozen=True, slots=True)
class Template:
    """What a batch's requests share. Fields must be valid and in lower case (RFC 9113 §8.2); they are not checked."""

    authority: bytes
    path: bytes
    """``:path``, or its first part."""
    fields: tuple[Header, ...]
    """Regular header fields; they go into the peer's dynamic table once, and cost a byte each after that."""
    ident: bytes = b""
    """Name of the header field whose value ends in ``Request.ident``; empty: there is none."""
    ident_prefix: bytes = b""
    """The first part of that field's value."""
    unindexed: tuple[Header, ...] = ()
    """Further fields, which stay out of every table (RFC 7541 §7.1.3): each request carries them in full. Templates
    that differ only in them share their header blocks (``blocks``)."""

    @property
    def shared(self) -> tuple[object, ...]:
        """All but ``unindexed``."""
        return self.authority, self.path, self.fields, self.ident, self.ident_prefix

    def value(self, name: bytes) -> bytes:
        """The value of the field ``name``. Raises ``KeyError``."""
        return dict(self.fields + self.unindexed)[name]


class Run:
    """Requests that were begun together, on consecutive streams: all that a connection remembers of them."""

    __slots__ = ("_offset", "owner", "requests", "sent", "template")

    def __init__(
        self, owner: object, template: Template, requests: Sequence[Row], start: int, stream_id: int, sent: float
    ) -> None:
        """``requests[start]`` is on stream ``stream_id``, the next on the stream after it, and so on."""
        self.owner = owner
        self.template = template
        self.requests = requests
        self.sent = sent
        self._offset = 2 * start - stream_id

    def key(self, stream_id: int) -> int:
        """The key of the request on this stream."""
        return self.requests[(stream_id + self._offset) >> 1][0]

    def request(self, stream_id: int) -> Request:
        """The request on this stream."""
        return Request(*self.requests[(stream_id + self._offset) >> 1])


class Answer(NamedTuple):
    """What became of one request that was not simply accepted."""

    owner: object
    """As the caller passed it to ``encode``."""
    request: Request
    template: Template
    """The template it was sent with, which holds the credential."""
    status: int
    """HTTP status, or :data:`UNPROCESSED` or :data:`UNANSWERED`."""
    body: bytes
    retry_after: bytes | None
    """The ``retry-after`` field as it came."""


@dataclass(slots=True)
class Completions:
    """The requests that one read, sweep or loss has settled."""

    accepted: list[Run] = field(default_factory=list)
    """The run of each request that was answered with 200–299."""
    streams: list[int] = field(default_factory=list)
    """The streams of these requests, in the same order: ``run.request(stream_id)`` is the request."""
    answers: list[Answer] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.accepted or self.answers)
