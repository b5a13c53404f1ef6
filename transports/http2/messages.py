"""The records that go into an HTTP/2 connection, and those that come out of it.

Nothing in them knows who uses them: an ``owner`` is whatever the caller named, and it comes back as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Header = tuple[bytes, bytes]

UNPROCESSED = 0
"""Status of a request that the peer certainly did not act on (RFC 9113 §8.7): send it again freely."""
UNANSWERED = -1
"""Status of a request that may or may not have been acted on: the connection or the stream ended without an answer."""

Row = tuple[int, bytes, bytes, bytes, tuple[Header, ...]]
"""A :class:`Request` as a plain tuple: of these, ``zip`` makes a thousand in the time of a few dozen Requests."""


class Request(NamedTuple):
    """What differs between the requests of a batch."""

    key: int
    """The caller's own number, handed back with the answer."""
    path: bytes
    """What follows the template's path."""
    ident: bytes
    """What follows the template's ``ident_prefix``."""
    body: bytes
    fields: tuple[Header, ...] = ()
    """Further header fields of this request alone, names in lower case."""


@dataclass(frozen=True, slots=True)
class Template:
    """What the requests of a batch share. Fields are valid and in lower case (RFC 9113 §8.2): nobody checks again."""

    authority: bytes
    path: bytes
    """``:path``, or the front part of it."""
    fields: tuple[Header, ...]
    """Regular header fields; they go into the peer's dynamic table once, and cost a byte each after that."""
    ident: bytes = b""
    """Name of the header field that ends in ``Request.ident``; empty: there is none."""
    ident_prefix: bytes = b""
    """The front part of that field's value."""
    unindexed: tuple[Header, ...] = ()
    """Further fields, which stay out of every table (RFC 7541 §7.1.3): each request carries them in full."""

    def value(self, name: bytes) -> bytes:
        """What the field ``name`` says. Raises ``KeyError``."""
        return dict(self.fields + self.unindexed)[name]


class Run:
    """Requests that were begun together, on consecutive streams: all that a connection keeps of them."""

    __slots__ = ("_offset", "owner", "requests", "sent", "template")

    def __init__(
        self, owner: object, template: Template, requests: Sequence[Row], start: int, stream_id: int, sent: float
    ) -> None:
        """``requests[start]`` goes over ``stream_id``, the next over the stream after it, and so on."""
        self.owner = owner
        self.template = template
        self.requests = requests
        self.sent = sent
        self._offset = 2 * start - stream_id

    def request(self, stream_id: int) -> Request:
        """The one that goes over this stream."""
        return Request(*self.requests[(stream_id + self._offset) >> 1])


class Answer(NamedTuple):
    """What became of one request that was not simply accepted."""

    owner: object
    """As the caller named it to ``encode``."""
    request: Request
    template: Template
    """What it was sent with: which credential was it?"""
    status: int
    """HTTP status, or :data:`UNPROCESSED` or :data:`UNANSWERED`."""
    body: bytes
    retry_after: bytes | None
    """The ``retry-after`` field as it came."""


@dataclass(slots=True)
class Completions:
    """The fates that one read, sweep or loss has settled."""

    accepted: list[Run] = field(default_factory=list)
    """For each request that was answered with 200–299, what it was a part of."""
    streams: list[int] = field(default_factory=list)
    """The streams of those, in the same order: ``run.request(stream_id)`` is the request."""
    answers: list[Answer] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.accepted or self.answers)
