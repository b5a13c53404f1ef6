"""The same client as ``transports.http2.client``, written plainly: every stream and every header block goes through h2.

Slow, and known to be right: what the engine is compared with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import h2.connection
import h2.events
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import GoAwayFrame

from transports.http2.control import PlainEncoder
from transports.http2.frames import MAX_STREAM_ID
from transports.http2.messages import UNANSWERED, UNPROCESSED, Answer, Completions, Header, Request, Run, Template


class PatientH2(h2.connection.H2Connection):
    """A client connection that goes on being useful after GOAWAY, and whose cost does not grow with open streams."""

    def __init__(self) -> None:
        super().__init__(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                # Our own templates are valid; checking them again costs a third of the whole request.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.encoder = PlainEncoder()  # hpack announces table sizes wrongly; all else of its encoder is stock
        self.local_settings = Settings(
            client=True, initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: 65_536}
        )

    # h2 counts its streams one by one at each new one. Http2Client.room() has counted already.
    open_outbound_streams = 0

    def receive(self, data: bytes) -> Iterator[h2.events.Event]:
        """Like ``receive_data``, but events of before an illegal frame are not lost with it. Raises ``H2Error``."""
        self.incoming_buffer.add_data(data)
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        try:
            for frame in self.incoming_buffer:
                yield from self._receive_frame(frame)
        except HyperframeError as error:
            raise ProtocolError(str(error)) from error

    def refuse(self, error: H2Error) -> None:
        """Tell the peer with a GOAWAY that it broke the protocol."""
        code = error.error_code if isinstance(error, ProtocolError) else ErrorCodes.PROTOCOL_ERROR
        self._terminate_connection(ErrorCodes(code))

    def forget(self, stream_id: int) -> None:
        """Drop an ended stream at once; h2 would do so at its next count."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.closed:
            del self.streams[stream_id]
            self._closed_streams[stream_id] = stream.closed_by

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Any], list[h2.events.Event]]:
        # h2 closes itself on GOAWAY: it would raise on the answers that the peer still owes, and has thrown away
        # our unsent bytes. RFC 9113 §6.8 lets streams up to last_stream_id finish.
        event = h2.events.ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


class _Reply:
    __slots__ = ("body", "retry_after", "status")

    def __init__(self, status: int, retry_after: bytes | None) -> None:
        self.status = status
        self.retry_after = retry_after
        self.body = b""


class PlainClient:
    """One connection. Owned by one task group; never raises for what the peer sends: see :attr:`error`."""

    def __init__(self, *, last_id: int = MAX_STREAM_ID, stream_cap: int = 1_000) -> None:
        """``last_id``: the highest stream id to use; ``stream_cap``: our own limit on streams in flight."""
        self._h2 = PatientH2()
        self._live: dict[int, Run] = {}
        self._replies: dict[int, _Reply] = {}
        # Streams whose window took only a part of their body: what is left. Served before any new request.
        self._unfinished: dict[int, bytes] = {}
        # (first id, time sent) of each encode call, oldest first: a deadline costs nothing per request.
        self._sent: deque[tuple[int, float]] = deque()
        self._last_id = last_id
        self._cap = stream_cap
        self._next_id = 1
        self._pings = 0
        self._need = 1  # octets of the window that the last request took
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
        window = self._h2.outbound_flow_control_window
        if window <= 0 or (self._live and window < self._need):
            return 0
        return max(0, min(self._h2.remote_settings.max_concurrent_streams, self._cap) - len(self._live))

    def encode(
        self, owner: object, template: Template, requests: Sequence[Request], start: int, stop: int, now: float
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
            request = Request(*requests[n])
            body = request.body
            size = len(body)
            self._need = max(1, min(size, stream_window))
            if self._need > connection.outbound_flow_control_window:
                break
            # What varies stays out of the peer's table: it would push out what does not.
            path: Header = (b":path", template.path)
            if request.path:
                path = NeverIndexedHeaderTuple(b":path", template.path + request.path)
            length = NeverIndexedHeaderTuple(b"content-length", b"%d" % size)
            headers: list[Header] = [*pseudo, path, *template.fields, *template.unindexed, length]
            if template.ident:
                headers.append(NeverIndexedHeaderTuple(template.ident, template.ident_prefix + request.ident))
            headers += request.fields
            stream_id = self._next_id
            self._next_id += 2
            connection.send_headers(stream_id, headers, end_stream=not body)
            self._live[stream_id] = Run(owner, template, requests, n, stream_id, now)
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
                if reply is not None and data and len(reply.body) < 16_384:
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
        run = self._live.pop(stream_id, None)
        if self._unfinished.pop(stream_id, None) is not None:
            otherwise = UNPROCESSED
        reply = self._replies.pop(stream_id, None)
        self._h2.forget(stream_id)
        if run is None:
            return
        entry = (run.owner, run.request(stream_id), run.template)
        if reply is None:
            done.answers.append(Answer(*entry, otherwise, b"", None))
        elif 200 <= reply.status < 300:
            self.accepted += 1
            done.accepted.append(run)
            done.streams.append(stream_id)
        else:
            done.answers.append(Answer(*entry, reply.status, reply.body, reply.retry_after))

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
