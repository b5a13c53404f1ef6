"""The client's side of one HTTP/2 connection, without I/O: batches of requests in, batches of answers out.

The hot path is written to save microseconds: the part that a batch's requests share is encoded once (``blocks``), a
request costs an entry in a dict and nine references in a list, and an answer costs one lookup (``receive``). h2 handles
the connection itself: stream 0 (``control``).

Its interface is this class and the records in ``messages``. The client has no callbacks and does not know its user.
docs/adr/0003-http2-engine.md says why.

Rules: RFC 9113 (HTTP/2), RFC 7541 (HPACK).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from h2.errors import ErrorCodes

from transports.http2.blocks import Blocks
from transports.http2.control import ControlStream
from transports.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_STREAM_ID,
    PeerError,
    frame,
    stream_octets,
)
from transports.http2.growth import Bound
from transports.http2.messages import (
    UNANSWERED,
    UNPROCESSED,
    Completions,
    Row,
    Run,
    Template,
)
from transports.http2.receive import Receiver
from transports.http2.streams import Streams, Upload

_STREAM_CAP = 1_000
"""Most streams in flight, even if the peer allows more: with 300 a push costs 13 % more CPU (`./dev bench choices`)."""
_ERROR_NAMES = {code.value: code.name for code in ErrorCodes}
_TEMPLATES = 64  # templates whose header blocks are cached, the oldest evicted first


class Http2Client:
    """One connection. Owned by one task group; never raises because of the peer: see :attr:`error`."""

    good_after = 60.0
    connect_every = 1.0
    pings = True

    def __init__(self, *, last_id: int = MAX_STREAM_ID, stream_cap: int = _STREAM_CAP) -> None:
        """``last_id``: the highest stream id to use; ``stream_cap``: our own limit on streams in flight."""
        self._control = ControlStream()
        self._streams = Streams(self._control)
        self._streams.out.append(self._control.taken())
        self._receiver = Receiver(self._control, self._streams, self._on_goaway)
        self._blocks: dict[object, Blocks] = {}  # by what templates share
        self._latest: tuple[Template, Blocks] | None = None  # most calls use the same template as the one before
        self._last_id = last_id
        self._cap = stream_cap
        self._pings = 0
        self._need = 1  # octets of the window that the last request took
        self._closed = False
        self.retiring: str | None = None
        """Why no new request may be sent here (GOAWAY, ids used up, an answer that asks for it); None: they may."""
        self.error: str | None = None
        """Why the connection must be closed at once; None: it need not."""
        self.accepted = 0
        """How many requests were answered with 200–299."""

    @property
    def settled(self) -> bool:
        """Whether the peer's SETTINGS have arrived: its limits are known."""
        return self._receiver.settled

    @property
    def pong(self) -> bytes | None:
        """Payload of the latest PING answer."""
        return self._receiver.pong

    @property
    def in_flight(self) -> int:
        """How many requests await their answer."""
        return len(self._streams.live)

    @property
    def window(self) -> int:
        """Bytes that the connection's flow-control window still takes (RFC 9113 §5.2)."""
        return self._control.outbound_flow_control_window

    @property
    def stream_limit(self) -> int:
        """How many requests may be in flight at once."""
        return min(self._receiver.max_streams, self._cap)

    @property
    def bound(self) -> Bound | None:
        """What it waits for before it can begin another request like the last; None: nothing, or it takes no more."""
        streams = self._streams
        if self.retiring is not None or self.error is not None or not self._receiver.settled:
            return None
        if streams.uploads or self._control.outbound_flow_control_window < self._need:
            return Bound.WINDOW
        return Bound.STREAMS if len(streams.live) >= self.stream_limit else None

    def room(self) -> int:
        """How many more requests may be begun now; 0 before the peer's SETTINGS and once retiring."""
        streams = self._streams
        if self.retiring is not None or self.error is not None or not self._receiver.settled or streams.uploads:
            return 0
        window = self._control.outbound_flow_control_window
        if window <= 0 or (streams.live and window < self._need):  # with nothing in flight there is no more to wait for
            return 0
        return max(0, min(self.stream_limit - len(streams.live), (self._last_id - streams.next_id) // 2 + 1))

    def encode(
        self, owner: object, template: Template, requests: Sequence[Row], start: int, stop: int, now: float
    ) -> int:
        """Begin as many of ``requests[start:stop]`` as the peer's limits allow. Returns how many were begun.

        ``owner`` is returned with each answer, unchanged. ``now``: seconds, for deadlines.
        :meth:`outgoing` returns the requests' bytes; the other methods return what became of the requests.
        A request is begun only if the windows take its whole body, or if the body exceeds the peer's stream window.
        ``requests`` may grow afterwards, but its items must keep their places.
        """
        stop = min(stop, len(requests), start + self.room())
        if start >= stop:
            return 0
        streams, control = self._streams, self._control
        if self._latest is None or template is not self._latest[0]:
            self._latest = template, self._blocks.get(template.shared) or self._remember(template)
        blocks = self._latest[1]
        stream_window = self._receiver.stream_window
        # A body of up to this size goes out in one frame.
        plain = min(stream_window, control.max_outbound_frame_size)
        window = control.outbound_flow_control_window
        first = stream_id = streams.next_id
        run = Run(owner, template, requests, start, first, now)
        live, emit = streams.live, streams.out.extend
        ready, unnamed, unindexed = blocks.ready, not template.ident, template.unindexed
        path_size = ident_size = body_size = size = need = -1
        head = front = middle = data = b""
        known = None
        for row in requests[start:stop]:
            _, path, ident, body, fields = row
            if unnamed:
                ident = b""
            if body is not known:  # Apple's is the same for a whole batch
                known, size = body, len(body)
                need = min(size, stream_window)
                short = 0 < size <= plain
            if need > window:
                break
            if short and ready and not fields:
                if size != body_size or len(path) != path_size or len(ident) != ident_size:
                    path_size, ident_size, body_size = len(path), len(ident), size
                    head, front, middle, data = blocks.shape(path_size, ident_size, body_size, unindexed)
                octets = stream_octets(stream_id)
                emit((head, octets, front, path, middle, ident, data, octets, body))
                live[stream_id] = run
                window -= size
                stream_id += 2
            else:
                live[stream_id] = run
                control.outbound_flow_control_window = window
                self._send(stream_id, blocks.whole(row, unindexed), body, stream_window)
                window = control.outbound_flow_control_window
                ready, body_size = blocks.ready, -1
                stream_id += 2
                if streams.uploads:
                    break
        control.outbound_flow_control_window = window
        self._need = max(need, 1)
        streams.next_id = stream_id
        if stream_id > self._last_id:
            self.retire("its stream ids are used up")
        return (stream_id - first) // 2

    def outgoing(self) -> bytes:
        """Take the bytes to be written now; empty if there are none."""
        out = self._streams.out
        data = b"".join(out)
        out.clear()
        self._control.written()
        return data

    def feed(self, data: bytes) -> Completions:
        """Take bytes from the peer and return what they settle. If the peer broke HTTP/2, :attr:`error` says how."""
        done = Completions()
        if self.error is not None or self._closed:
            return done
        try:
            self._receiver.feed(data, done)
        except PeerError as error:
            self._streams.out.append(self._control.terminate(error.code))
            self.error = f"the peer broke HTTP/2: {error}"
        self.accepted += len(done.accepted)
        return done

    def ping(self) -> bytes:
        """Send PING; :attr:`pong` becomes the returned payload once the peer answers (RFC 9113 §6.7)."""
        self._pings += 1
        payload = self._pings.to_bytes(8, "big")
        if self.error is None and not self._closed:
            self._control.ping(payload)
            self._streams.out.append(self._control.data_to_send())
        return payload

    def retire(self, reason: str) -> None:
        """Begin nothing new here; requests in flight may still be answered."""
        if self.retiring is None:
            self.retiring = reason

    def close(self) -> None:
        """Send GOAWAY (RFC 9113 §6.8) as the last bytes."""
        self.retire("closed")
        if self.error is None and not self._closed:
            self._closed = True
            self._streams.out.append(self._control.terminate(ErrorCodes.NO_ERROR))

    def oldest(self) -> float | None:
        """When the oldest unanswered request was sent (``now`` of :meth:`encode`); None: nothing is in flight."""
        for run in self._streams.live.values():
            return run.sent
        return None

    def unanswered(self, found: Mapping[object, list[int]]) -> None:
        """Add the keys of all requests in flight to the lists of their owners; other owners' are left out."""
        for stream_id, run in self._streams.live.items():
            keys = found.get(run.owner)
            if keys is not None:
                keys.append(run.key(stream_id))

    def expire(self, before: float) -> Completions:
        """Give up requests sent before ``before`` (seconds), and reset their streams.

        They end unanswered. Those whose body the peer's window never took whole end unprocessed: a peer cannot act on
        half a push, because its length is announced (RFC 9113 §8.1.1). Such a connection gets no new requests.
        """
        done = Completions()
        streams = self._streams
        for stream_id in [stream_id for stream_id, run in streams.live.items() if run.sent < before]:
            if stream_id in streams.uploads:
                self.retire("its window never took a whole request")
            if self.error is None and not self._closed:
                streams.give_up(stream_id, ErrorCodes.CANCEL, UNANSWERED, done)
            else:
                streams.finish(stream_id, UNANSWERED, done)
        self.accepted += len(done.accepted)
        return done

    def lost(self, reason: str) -> Completions:
        """The connection is lost: everything in flight is unanswered."""
        if self.error is None:
            self.error = reason
        done = Completions()
        for stream_id in list(self._streams.live):
            self._streams.finish(stream_id, UNANSWERED, done)
        self.accepted += len(done.accepted)
        return done

    def _remember(self, template: Template) -> Blocks:
        if len(self._blocks) >= _TEMPLATES:
            del self._blocks[next(iter(self._blocks))]
        blocks = self._blocks[template.shared] = Blocks(template, self._control.encoder)
        return blocks

    def _send(self, stream_id: int, block: bytes, body: bytes, window: int) -> None:
        """Send one request the slow way: its header block and its body may have any size."""
        streams, limit = self._streams, self._control.max_outbound_frame_size
        flags = 0 if body else END_STREAM
        for at in range(0, len(block), limit):
            last = END_HEADERS if at + limit >= len(block) else 0
            kind = CONTINUATION if at else HEADERS
            streams.out.append(frame(kind, last if at else last | flags, stream_id, block[at : at + limit]))
        if 0 < len(body) <= min(limit, window):
            streams.out.append(frame(DATA, END_STREAM, stream_id, body))
            self._control.outbound_flow_control_window -= len(body)
        elif body:
            streams.uploads[stream_id] = Upload(body, window)
            streams.upload()

    def _on_goaway(self, last: int, code: int, data: bytes, done: Completions) -> None:
        detail = f" {data[:200].decode(errors='replace')}" if data else ""
        self.retire(f"GOAWAY {_ERROR_NAMES.get(code, code)}{detail}")
        streams = self._streams
        for stream_id in [stream_id for stream_id in streams.live if stream_id > last]:
            streams.give_up(stream_id, ErrorCodes.CANCEL, UNPROCESSED, done)
