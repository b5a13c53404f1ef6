"""The client's side of one HTTP/2 connection, without I/O: requests in by the batch, answers out by the batch.

Here h2 keeps the connection and its streams, and its HPACK writes the header blocks. The interface is made for an
engine that writes the frames of a whole batch by itself (docs/adr/0003-http2-engine.md): what a batch's requests share
lies in a :class:`Template`, and nothing is created per request but its entry in a dict.

Rules: RFC 9113 (HTTP/2), RFC 7541 (HPACK).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import h2.events
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from hpack import NeverIndexedHeaderTuple

from transports.http2_h2 import PatientH2

if TYPE_CHECKING:
    from transports.jobs import Job

Header = tuple[bytes, bytes]

UNPROCESSED = 0
"""Status of a request that the peer certainly did not act on (RFC 9113 §8.7): send it again freely."""
UNANSWERED = -1
"""Status of a request that may or may not have been acted on: the connection or the stream ended without an answer."""

MAX_STREAM_ID = 2**31 - 1
_BODY_LIMIT = 16_384  # an answer's body beyond this is read and dropped: providers say what they have to in 200 bytes
_STREAM_CAP = 1_000  # a peer that sets no limit gets this one: more in flight brings no throughput, only memory


class Request(NamedTuple):
    """What differs between the requests of a batch."""

    key: int
    """The caller's own number, handed back with the answer."""
    path: bytes
    """What follows the template's path."""
    ident: bytes
    """Value of the template's ``ident`` field."""
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
    """Name of the header field whose value is ``Request.ident``; empty: there is none."""


class Answer(NamedTuple):
    """What became of one request that was not simply accepted."""

    job: Job
    request: Request
    template: Template
    """What it was sent with: which credential was it?"""
    status: int
    """HTTP status, or :data:`UNPROCESSED` or :data:`UNANSWERED`."""
    body: bytes
    retry_after: bytes | None
    """The ``retry-after`` field as it came."""
    via: Http2Client
    """The connection that it came over."""


@dataclass(slots=True)
class Completions:
    """The fates that one read, sweep or loss has settled."""

    accepted: list[tuple[Job, Request, Template]] = field(default_factory=list)
    """Answered with 200–299."""
    answers: list[Answer] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.accepted or self.answers)


class _Reply:
    __slots__ = ("body", "retry_after", "status")

    def __init__(self, status: int, retry_after: bytes | None) -> None:
        self.status = status
        self.retry_after = retry_after
        self.body = b""


class Http2Client:
    """One connection. Owned by one task group; never raises for what the peer sends: see :attr:`error`."""

    def __init__(self, *, last_id: int = MAX_STREAM_ID, stream_cap: int = _STREAM_CAP) -> None:
        """``last_id``: the highest stream id to use; ``stream_cap``: our own limit on streams in flight."""
        self._h2 = PatientH2()
        self._live: dict[int, tuple[Job, Request, Template]] = {}
        self._replies: dict[int, _Reply] = {}
        # Streams whose window took only a part of their body: what is left. Served before any new request.
        self._unfinished: dict[int, bytes] = {}
        # (first id, time sent) of each encode call, oldest first: a deadline costs nothing per request.
        self._sent: deque[tuple[int, float]] = deque()
        self._last_id = last_id
        self._cap = stream_cap
        self._next_id = 1
        self._pings = 0
        self._closed = False
        self.settled = False
        """The peer's SETTINGS have arrived: its limits are known."""
        self.retiring: str | None = None
        """Why no new request may go this way (GOAWAY, ids used up, an answer that asks for it); None: all is well."""
        self.error: str | None = None
        """Why the connection must be closed at once; None: all is well."""
        self.accepted = 0
        """How many requests were answered with 200–299."""
        self.pong: bytes | None = None
        """Payload of the latest PING answer."""
        self._h2.initiate_connection()

    @property
    def in_flight(self) -> int:
        """How many requests await their answer."""
        return len(self._live)

    @property
    def window(self) -> int:
        """Bytes that the connection's flow-control window still takes (RFC 9113 §5.2)."""
        return self._h2.outbound_flow_control_window

    def room(self) -> int:
        """How many more requests may be begun now; 0 before the peer's SETTINGS and once retiring."""
        if not self.settled or self.retiring is not None or self.error is not None or self._unfinished:
            return 0
        if self._h2.outbound_flow_control_window <= 0:
            return 0
        return max(0, min(self._h2.remote_settings.max_concurrent_streams, self._cap) - len(self._live))

    def encode(
        self, job: Job, template: Template, requests: Sequence[Request], start: int, stop: int, now: float
    ) -> int:
        """Begin ``requests[start:stop]``, as many as the peer's limits allow, and say how many that was.

        ``now``: seconds, for deadlines. Their bytes join :meth:`outgoing`; their fates come from the other methods.
        A request is begun only if the windows take its whole body, or the peer's stream window is smaller than it.
        """
        stop = min(stop, len(requests), start + self.room())
        if start >= stop:
            return 0
        connection = self._h2
        pseudo = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", template.authority)]
        first = self._next_id
        n = start
        stream_window = connection.remote_settings.initial_window_size
        frame_limit = connection.max_outbound_frame_size
        while n < stop:
            request = requests[n]
            body = request.body
            size = len(body)
            if min(size, stream_window) > connection.outbound_flow_control_window:
                break
            # What varies stays out of the peer's table: it would push out what does not.
            path: Header = (b":path", template.path)
            if request.path:
                path = NeverIndexedHeaderTuple(b":path", template.path + request.path)
            length = NeverIndexedHeaderTuple(b"content-length", b"%d" % size)
            headers: list[Header] = [*pseudo, path, *template.fields, length]
            if template.ident:
                headers.append(NeverIndexedHeaderTuple(template.ident, request.ident))
            headers += request.fields
            stream_id = self._next_id
            self._next_id += 2
            connection.send_headers(stream_id, headers, end_stream=not body)
            self._live[stream_id] = (job, request, template)
            n += 1
            if size <= stream_window and size <= frame_limit:
                if body:
                    connection.send_data(stream_id, body, end_stream=True)
            else:
                self._unfinished[stream_id] = body
                self._send_rest()
                if self._unfinished:
                    break
            if self._next_id > self._last_id:
                self.retire("its stream ids are used up")
                break
        if n > start:
            self._sent.append((first, now))
        return n - start

    def outgoing(self) -> bytes:
        """Take the bytes to be written now; empty if there are none."""
        return self._h2.data_to_send()

    def feed(self, data: bytes) -> Completions:
        """Take bytes from the peer, give what they settle. What the peer broke is told by :attr:`error`."""
        done = Completions()
        if self.error is not None or self._closed:
            return done
        try:
            for event in self._h2.receive(data):
                self._on_event(event, done)
            self._send_rest()
        except H2Error as error:
            self._h2.refuse(error)
            self.error = f"the peer broke HTTP/2: {type(error).__name__}: {error}"
        return done

    def ping(self) -> bytes:
        """Ask for a sign of life; :attr:`pong` becomes the returned payload when it is answered (RFC 9113 §6.7)."""
        self._pings += 1
        payload = self._pings.to_bytes(8, "big")
        if self.error is None and not self._closed:
            self._h2.ping(payload)
        return payload

    def retire(self, reason: str) -> None:
        """Begin nothing new here; what is in flight may still be answered."""
        if self.retiring is None:
            self.retiring = reason

    def close(self) -> None:
        """Say GOAWAY (RFC 9113 §6.8) as the last bytes."""
        self.retire("closed")
        if self.error is None and not self._closed:
            self._closed = True
            self._h2.close_connection()

    def oldest(self) -> float | None:
        """When the oldest unanswered request was sent (as told to :meth:`encode`); None: nothing is in flight."""
        if not self._live:
            self._sent.clear()
            return None
        oldest = next(iter(self._live))
        while len(self._sent) > 1 and self._sent[1][0] <= oldest:
            self._sent.popleft()
        return self._sent[0][1]

    def expire(self, before: float) -> Completions:
        """Give up what was sent before ``before`` (seconds): its streams are reset.

        Each is unanswered, but for those whose body the peer's window never took: half a push cannot be acted on
        (RFC 9113 §8.1.1, its length is announced), and a connection that does so takes nothing more.
        """
        done = Completions()
        while (sent := self.oldest()) is not None and sent < before:
            stream_id = next(iter(self._live))
            if stream_id in self._unfinished:
                self.retire("its window never took a whole request")
            if self.error is None and not self._closed:
                self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)
            self._finish(stream_id, UNANSWERED, done)
        return done

    def lost(self, reason: str) -> Completions:
        """The connection is gone: everything in flight is unanswered."""
        if self.error is None:
            self.error = reason
        done = Completions()
        for stream_id in list(self._live):
            self._finish(stream_id, UNANSWERED, done)
        return done

    def _on_event(self, event: h2.events.Event, done: Completions) -> None:
        match event:
            case h2.events.ResponseReceived(stream_id=int(stream_id), headers=headers):
                if stream_id in self._live:
                    self._replies[stream_id] = _reply(headers or [])
            case h2.events.DataReceived(stream_id=int(stream_id), data=data, flow_controlled_length=int(length)):
                self._h2.acknowledge_received_data(length, stream_id)
                reply = self._replies.get(stream_id)
                if reply is not None and data and len(reply.body) < _BODY_LIMIT:
                    reply.body += data
            case h2.events.StreamEnded(stream_id=int(stream_id)):
                if stream_id in self._unfinished:
                    # Answered before all was said (RFC 9113 §8.1): the rest is not wanted.
                    self._h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)
                self._finish(stream_id, UNANSWERED, done)
            case h2.events.StreamReset(stream_id=int(stream_id), error_code=code):
                self._replies.pop(stream_id, None)
                self._finish(stream_id, UNPROCESSED if code == ErrorCodes.REFUSED_STREAM else UNANSWERED, done)
            case h2.events.ConnectionTerminated(last_stream_id=last, error_code=code, additional_data=data):
                self._on_goaway(last or 0, code, data, done)
            case h2.events.RemoteSettingsChanged():
                self.settled = True
            case h2.events.PingAckReceived(ping_data=data):
                self.pong = data
            case _:
                pass  # 1xx, trailers, unknown frames, priority: nothing to do

    def _on_goaway(self, last: int, code: int | None, data: bytes | None, done: Completions) -> None:
        detail = f" {data[:200].decode(errors='replace')}" if data else ""
        self.retire(f"GOAWAY {getattr(code, 'name', code)}{detail}")
        for stream_id in [stream_id for stream_id in self._live if stream_id > last]:
            self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)
            self._finish(stream_id, UNPROCESSED, done)

    def _finish(self, stream_id: int, otherwise: int, done: Completions) -> None:
        entry = self._live.pop(stream_id, None)
        if self._unfinished.pop(stream_id, None) is not None:
            otherwise = UNPROCESSED
        reply = self._replies.pop(stream_id, None)
        self._h2.forget(stream_id)
        if entry is None:
            return
        if reply is None:
            done.answers.append(Answer(*entry, otherwise, b"", None, self))
        elif 200 <= reply.status < 300:
            self.accepted += 1
            done.accepted.append(entry)
        else:
            done.answers.append(Answer(*entry, reply.status, reply.body, reply.retry_after, self))

    def _send_rest(self) -> None:
        for stream_id, rest in list(self._unfinished.items()):
            while rest:
                size = min(len(rest), self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
                if size <= 0:
                    break
                self._h2.send_data(stream_id, rest[:size], end_stream=size == len(rest))
                rest = rest[size:]
            if rest:
                self._unfinished[stream_id] = rest
            else:
                del self._unfinished[stream_id]


def _reply(headers: Sequence[tuple[bytes, bytes]] | Iterator[tuple[bytes, bytes]]) -> _Reply:
    status = 0
    retry_after = None
    for name, value in headers:
        if name == b":status":
            status = int(value)
        elif name == b"retry-after":
            retry_after = value
    return _Reply(status, retry_after)


__all__ = [
    "MAX_STREAM_ID",
    "UNANSWERED",
    "UNPROCESSED",
    "Answer",
    "Completions",
    "Header",
    "Http2Client",
    "Request",
    "Template",
]
