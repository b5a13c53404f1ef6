"""The client's side of one HTTP/1.1 connection, without I/O, for providers that do not speak HTTP/2.

It stands where ``Http2Client`` stands: the same pool keeps its connections. h11 reads and writes the protocol; a
connection carries one request at a time, because pipelining (RFC 9112 §9.3.2) makes a lost connection's pushes unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import h11

from transports.http2.client import Http2Client
from transports.http2.connection import HTTP_1_1
from transports.http2.engine import Engine
from transports.http2.growth import Bound
from transports.http2.messages import UNANSWERED, Answer, Completions, Row, Run, Template

_BODY_LIMIT = 65_536
"""Octets kept of an answer's body; the rest is dropped. A list of a thousand refused tokens is the longest."""
_HEAD_LIMIT = 65_536
_IDENT = 1
"""The stream that the only request in flight would have in HTTP/2."""


class Http1Engine:
    """One connection: see :class:`~transports.http2.engine.Engine`."""

    good_after = 2.0  # servers close idle connections, some after five seconds: no reason to wait with the next
    connect_every = 0.1
    pings = False
    settled = True
    pong: bytes | None = None
    stream_limit = 1
    window = 1 << 30  # there is no flow control but TCP's

    def __init__(self, *, judge_all: bool = False) -> None:
        """``judge_all``: a status of 200–299 is an answer like another, because its body says what was accepted."""
        self.retiring: str | None = None
        self.error: str | None = None
        self.accepted = 0
        self._judge_all = judge_all
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
        self._out: list[bytes] = []
        self._run: Run | None = None
        self._head: h11.Response | None = None
        self._body = bytearray()

    @property
    def in_flight(self) -> int:
        """0 or 1."""
        return self._run is not None

    @property
    def bound(self) -> Bound | None:
        """The answer to the request in flight."""
        return Bound.STREAMS if self._run is not None and self.retiring is None and self.error is None else None

    def room(self) -> int:
        """1 while nothing is in flight, else 0."""
        return int(self._run is None and self.retiring is None and self.error is None)

    def encode(
        self, owner: object, template: Template, requests: Sequence[Row], start: int, stop: int, now: float
    ) -> int:
        """Begin the request ``requests[start]``, if there is room. Returns how many were begun."""
        if start >= min(stop, len(requests)) or not self.room():
            return 0
        _, path, ident, body, fields = requests[start]
        head = [(b"host", template.authority), *template.fields, *template.unindexed, *fields]
        if template.ident:
            head.append((template.ident, template.ident_prefix + ident))
        head.append((b"content-length", b"%d" % len(body)))
        send = self._h11.send
        self._out += [
            send(h11.Request(method=b"POST", target=template.path + path, headers=head)) or b"",
            send(h11.Data(data=body)) or b"",
            send(h11.EndOfMessage()) or b"",
        ]
        self._run = Run(owner, template, requests, start, _IDENT, now)
        return 1

    def outgoing(self) -> bytes:
        """Take the bytes to be written now; empty if there are none."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def feed(self, data: bytes) -> Completions:
        """Take bytes from the peer and return what they settle. If the peer broke HTTP, :attr:`error` says how."""
        done = Completions()
        if self.error is not None:
            return done
        if self._run is None:
            self.error = "the peer spoke unasked"
            return done
        try:
            self._h11.receive_data(data)
            self._read(done)
        except h11.RemoteProtocolError as error:
            self.error = f"the peer broke HTTP/1.1: {error}"
        return done

    def ping(self) -> bytes:
        """HTTP/1.1 has none."""
        return b""

    def retire(self, reason: str) -> None:
        """Begin nothing new here; the request in flight may still be answered."""
        if self.retiring is None:
            self.retiring = reason

    def close(self) -> None:
        """Begin nothing new; HTTP/1.1 has no word for goodbye."""
        self.retire("closed")

    def oldest(self) -> float | None:
        """When the request in flight was sent; None: there is none."""
        return None if self._run is None else self._run.sent

    def unanswered(self, found: Mapping[object, list[int]]) -> None:
        """Add the key of the request in flight to its owner's list, if it has one."""
        if self._run is not None and (keys := found.get(self._run.owner)) is not None:
            keys.append(self._run.key(_IDENT))

    def expire(self, before: float) -> Completions:
        """Give up the request if it was sent before ``before``: a late answer cannot be told apart, so that ends it."""
        done = Completions()
        if self._run is not None and self._run.sent < before:
            self.error = "no answer in time"
            self._finish(done)
        return done

    def lost(self, reason: str) -> Completions:
        """The connection is lost: what is in flight is unanswered, unless its status has arrived."""
        if self.error is None:
            self.error = reason
        done = Completions()
        self._finish(done)
        return done

    def _read(self, done: Completions) -> None:
        while True:
            match self._h11.next_event():
                case h11.Response() as head:
                    self._head = head
                case h11.Data(data=data):
                    self._body += data[: max(0, _BODY_LIMIT - len(self._body))]
                case h11.EndOfMessage():
                    self._finish(done)
                    if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
                        self._h11.start_next_cycle()
                        if self._h11.trailing_data[0]:
                            self.error = "the peer spoke unasked"
                    else:
                        self.retire("the peer closes the connection")
                    return
                case h11.InformationalResponse():
                    pass
                case h11.PAUSED:  # 101: it speaks something else now
                    self.error = "the peer switches to another protocol"
                    return
                case _:  # NEED_DATA, or the end that `lost` reports
                    return

    def _finish(self, done: Completions) -> None:
        """End the request in flight with the status that has arrived, or without."""
        run, head, body = self._run, self._head, bytes(self._body)
        self._run = self._head = None
        self._body.clear()
        if run is None:
            return
        status = UNANSWERED if head is None else head.status_code
        retry_after = None if head is None else dict(head.headers).get(b"retry-after")
        fine = 200 <= status < 300
        self.accepted += fine
        if fine and not self._judge_all:
            done.accepted.append(run)
            done.streams.append(_IDENT)
        else:
            done.answers.append(Answer(run.owner, run.request(_IDENT), run.template, status, body, retry_after))


EITHER_HTTP: Mapping[str, Callable[[], Engine]] = {"h2": Http2Client, HTTP_1_1: Http1Engine}
"""Engines by ALPN protocol, the preferred one first, for a provider that may speak either."""
