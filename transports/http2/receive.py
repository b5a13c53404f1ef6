"""Reads the peer's frames in one pass, however the bytes were split (RFC 9113 §4 to §6)."""

from __future__ import annotations

from collections.abc import Callable

import h2.events
from h2.errors import ErrorCodes

from transports.http2.control import HEADER_LIST_LIMIT, ControlStream
from transports.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEAD,
    HEAD_SIZE,
    HEADERS,
    INITIAL_WINDOW,
    MAX_FRAME,
    MAX_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    PeerError,
    credit,
    head,
    reset,
    unpadded,
)
from transports.http2.messages import UNANSWERED, UNPROCESSED, Completions
from transports.http2.replies import Head, ReplyDecoder
from transports.http2.streams import Reply, Streams

_WINDOW = 1 << 20  # octets of answers that may be on their way to us
_BODY_LIMIT = 16_384  # octets kept of an answer's body; the rest is dropped: providers need about 200
_NAMES = {
    DATA: "DATA", HEADERS: "HEADERS", PRIORITY: "PRIORITY", RST_STREAM: "RST_STREAM", SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE", PING: "PING", GOAWAY: "GOAWAY", WINDOW_UPDATE: "WINDOW_UPDATE",
    CONTINUATION: "CONTINUATION",
}  # fmt: skip
_ON_STREAM_0 = frozenset((SETTINGS, PING, GOAWAY))
_ON_STREAMS = frozenset((DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION))
_whole_head = HEAD.unpack_from
_RESET = head(4, RST_STREAM, 0)
_PARTS = 64  # most frames of one header block
_SHAPE = END_STREAM | END_HEADERS | PADDED | HAS_PRIORITY
_WHOLE = END_STREAM | END_HEADERS


class Receiver:
    """The reading half of a connection. If :meth:`feed` raises ``PeerError``, requests settled before stay settled."""

    def __init__(
        self, control: ControlStream, streams: Streams, on_goaway: Callable[[int, int, bytes, Completions], None]
    ) -> None:
        """``on_goaway(last stream id, error code, debug data, completions)`` is called for each GOAWAY."""
        self.settled = False
        """The peer's SETTINGS have arrived."""
        self.pong: bytes | None = None
        """Payload of the latest PING answer."""
        self.max_streams = self.stream_window = 0
        """SETTINGS_MAX_CONCURRENT_STREAMS and SETTINGS_INITIAL_WINDOW_SIZE as they are now."""
        self._control = control
        self._streams = streams
        self._on_goaway = on_goaway
        self._decoder = ReplyDecoder()
        self._pending = b""
        self._greeted = False
        # A header block whose end has not arrived: (stream, END_STREAM), and its parts.
        self._open_block: tuple[int, bool] | None = None
        self._block = b""
        self._parts = 0
        self._received = 0
        streams.out.append(credit(0, _WINDOW - INITIAL_WINDOW))

    def feed(self, data: bytes, done: Completions) -> None:
        """Process every frame that is complete."""
        if self._pending:
            data = self._pending + data
        streams = self._streams
        live, replies, uploads = streams.live, streams.replies, streams.uploads
        heads, bare, alike = self._decoder.heads, self._decoder.bare, self._decoder.alike
        given_up = streams.given_up
        plain = not uploads and self._open_block is None  # until `_frame` says otherwise
        settle, name = done.accepted.append, done.streams.append
        position, size = 0, len(data)
        while size - position >= HEAD_SIZE:
            high, low, kind, flags, stream_id = _whole_head(data, position)
            start = position + HEAD_SIZE
            end = start + (high << 16 | low)
            if end > size:
                if end - start > MAX_FRAME:
                    raise PeerError(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {end - start} octets")
                break
            # Nearly every frame belongs to a 200 whose header block was seen before. For this common case, these
            # branches do what _frame would do.
            if kind == HEADERS and plain and stream_id in live and stream_id not in replies:
                block = data[start:end]
                shape = flags & _SHAPE
                if shape == _WHOLE and block in bare:
                    last = end
                else:
                    last = self._last(data, heads.get(block) or alike(block), shape, end, size, stream_id)
                if last:
                    settle(live.pop(stream_id))
                    name(stream_id)
                    position = last
                    # nginx resets each stream, because it has not read the body.
                    if (
                        last + 13 <= size
                        and data[last + 3] == RST_STREAM
                        and data[last : last + 5] == _RESET
                        and data[last + 5 : last + 9] == data[start - 4 : start]
                    ):
                        position += 13
                    continue
            elif (
                kind == WINDOW_UPDATE
                and plain
                and stream_id & 1
                and stream_id < streams.next_id
                and end - start == 4
                and int.from_bytes(data[start:end], "big") & 0x7FFFFFFF
            ):
                # For a stream whose body is sent: not needed.
                position = end
                continue
            elif (
                kind == RST_STREAM
                and stream_id not in live
                and stream_id & 1
                and stream_id < streams.next_id
                and end - start == 4
                and not given_up
                and self._open_block is None
            ):
                # For a stream that was answered: nginx resets it, because it has not read the body.
                position = end
                continue
            self._frame(kind, flags, stream_id & 0x7FFFFFFF, data[position:end], done)
            plain = not uploads and self._open_block is None
            position = end
        self._pending = data[position:]

    def _last(self, data: bytes, head: Head | None, shape: int, end: int, size: int, stream_id: int) -> int:
        """Where a simple, successful answer ends; 0 if it is neither, or if its end has not arrived."""
        if head is None or not head.fine:
            return 0
        if shape == _WHOLE:
            return 0 if head.length else end
        return self._whole_body(data, end, size, stream_id, head.length) if shape == END_HEADERS else 0

    def _whole_body(self, data: bytes, position: int, size: int, stream_id: int, length: int | None) -> int:
        """Where the one DATA frame with the whole body ends; 0 if it has not arrived or is not alone."""
        start = position + HEAD_SIZE
        if start > size:
            return 0
        high, low, kind, flags, owner = _whole_head(data, position)
        if high or low > MAX_FRAME or kind != DATA or flags & _SHAPE != END_STREAM or owner != stream_id:
            return 0
        if start + low > size or length not in (None, low):
            return 0
        self._take(low)
        return int(start + low)

    def _frame(self, kind: int, flags: int, stream_id: int, frame: bytes, done: Completions) -> None:
        size = len(frame) - HEAD_SIZE
        if size > MAX_FRAME:
            raise PeerError(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {size} octets")
        what = _NAMES.get(kind)
        if not self._greeted and (kind != SETTINGS or flags & ACK):
            raise PeerError(ErrorCodes.PROTOCOL_ERROR, f"{what or 'a frame'} before SETTINGS")
        if (self._open_block is not None) != (kind == CONTINUATION):
            raise PeerError(ErrorCodes.PROTOCOL_ERROR, f"{what or 'a frame'} out of order with CONTINUATION")
        if what is None:
            return None  # an extension that was not agreed on (RFC 9113 §5.5)
        if kind == PUSH_PROMISE or kind in (_ON_STREAM_0 if stream_id else _ON_STREAMS):
            raise PeerError(ErrorCodes.PROTOCOL_ERROR, f"{what} on stream {stream_id}")
        if not stream_id:
            return self._on_connection(kind, flags, frame, done)
        payload = frame[HEAD_SIZE:]
        match kind:
            case 0x1:  # HEADERS
                self._on_headers(flags, stream_id, payload, done)
            case 0x9:  # CONTINUATION
                self._on_continuation(flags, stream_id, payload, done)
            case 0x0:  # DATA
                self._on_data(flags, stream_id, payload, done)
            case _:
                self._on_word(kind, stream_id, payload, done)
        return None

    def _on_word(self, kind: int, stream_id: int, payload: bytes, done: Completions) -> None:
        """Process PRIORITY, RST_STREAM or WINDOW_UPDATE: short frames, which are allowed on closed streams, too."""
        streams = self._streams
        if len(payload) != (5 if kind == PRIORITY else 4):
            raise PeerError(ErrorCodes.FRAME_SIZE_ERROR, f"{_NAMES[kind]} of {len(payload)} octets")
        if kind == PRIORITY:
            return
        if not stream_id & 1 or stream_id >= streams.next_id:
            raise PeerError(ErrorCodes.PROTOCOL_ERROR, f"{_NAMES[kind]} on stream {stream_id}, which was never opened")
        number = int.from_bytes(payload, "big")
        if kind == WINDOW_UPDATE:
            streams.widen(stream_id, number & 0x7FFFFFFF, done)
            streams.upload()
        elif stream_id in streams.live:
            streams.replies.pop(stream_id, None)
            streams.finish(stream_id, UNPROCESSED if number == ErrorCodes.REFUSED_STREAM else UNANSWERED, done)
        else:
            streams.given_up.discard(stream_id)

    def _on_connection(self, kind: int, flags: int, frame: bytes, done: Completions) -> None:
        control, streams = self._control, self._streams
        if kind == WINDOW_UPDATE and len(frame) == HEAD_SIZE + 4:
            increment = int.from_bytes(frame[HEAD_SIZE:], "big") & 0x7FFFFFFF
            window = control.outbound_flow_control_window + increment
            if increment and window <= MAX_WINDOW:
                # What h2 does, at a thirtieth of the cost: where the window binds, nearly every read has one.
                control.outbound_flow_control_window = window
                return streams.upload()
        for event in control.receive(kind, flags, frame):
            match event:
                case h2.events.RemoteSettingsChanged():
                    self._greeted = self.settled = True
                    self.max_streams = control.remote_settings.max_concurrent_streams
                    before, self.stream_window = self.stream_window, control.remote_settings.initial_window_size
                    streams.widen_all(self.stream_window - before)
                case h2.events.SettingsAcknowledged():
                    self._decoder.allow(0)
                case h2.events.PingAckReceived(ping_data=data):
                    self.pong = data
                case h2.events.ConnectionTerminated(last_stream_id=last, error_code=code, additional_data=data):
                    self._on_goaway(last or 0, code or 0, data or b"", done)
                case _:
                    pass
        if words := control.taken():
            streams.out.append(words)
        return streams.upload()

    def _on_headers(self, flags: int, stream_id: int, payload: bytes, done: Completions) -> None:
        if flags & PADDED:
            payload = unpadded(payload)
        if flags & HAS_PRIORITY:
            if len(payload) < 5:
                raise PeerError(ErrorCodes.FRAME_SIZE_ERROR, "HEADERS without its priority")
            payload = payload[5:]
        ends = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self._on_block(stream_id, payload, ends, done)
        else:
            self._open_block, self._block, self._parts = (stream_id, ends), payload, 1

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes, done: Completions) -> None:
        assert self._open_block is not None
        opened, ends = self._open_block
        if opened != stream_id:
            raise PeerError(ErrorCodes.PROTOCOL_ERROR, f"CONTINUATION on {stream_id} in a header block on {opened}")
        self._block += payload
        self._parts += 1
        if len(self._block) > HEADER_LIST_LIMIT or self._parts > _PARTS:
            raise PeerError(ErrorCodes.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & END_HEADERS:
            block, self._open_block, self._block = self._block, None, b""
            self._on_block(stream_id, block, ends, done)

    def _on_block(self, stream_id: int, block: bytes, ends: bool, done: Completions) -> None:
        streams = self._streams
        head = self._decoder.decode(block)  # before any check: the table is the connection's, not the stream's
        if stream_id not in streams.live:
            return streams.ended(stream_id, "HEADERS", ends)
        reply = streams.replies.get(stream_id)
        if reply is not None:  # trailers (RFC 9113 §8.1)
            if not ends or head.status or head.fault is not None:
                return streams.refuse(stream_id, ErrorCodes.PROTOCOL_ERROR, done)
            return self._end(stream_id, reply, done)
        early = 100 <= head.status < 200
        if not head.status or head.fault is not None or (early and (ends or head.status == 101)):
            return streams.refuse(stream_id, ErrorCodes.PROTOCOL_ERROR, done)
        if not early:
            reply = streams.replies[stream_id] = Reply(head)
            if ends:
                self._end(stream_id, reply, done)
        return None

    def _on_data(self, flags: int, stream_id: int, payload: bytes, done: Completions) -> None:
        streams = self._streams
        weight = len(payload)
        self._take(weight)
        if flags & PADDED:
            payload = unpadded(payload)
        ends = bool(flags & END_STREAM)
        if stream_id not in streams.live:
            return streams.ended(stream_id, "DATA", ends)
        reply = streams.replies.get(stream_id)
        if reply is None:
            return streams.refuse(stream_id, ErrorCodes.PROTOCOL_ERROR, done)
        reply.received += weight
        reply.size += len(payload)
        if len(reply.body) < _BODY_LIMIT:
            reply.body += payload[: _BODY_LIMIT - len(reply.body)]
        if ends:
            self._end(stream_id, reply, done)
        elif reply.received > INITIAL_WINDOW // 2:
            streams.out.append(credit(stream_id, reply.received))
            reply.received = 0
        return None

    def _take(self, size: int) -> None:
        """Give the connection's window back as it is used (RFC 9113 §6.9): bytes that we have read take no memory."""
        self._received += size
        if self._received > _WINDOW // 2:
            self._streams.out.append(credit(0, self._received))
            self._received = 0

    def _end(self, stream_id: int, reply: Reply, done: Completions) -> None:
        streams = self._streams
        if reply.head.length not in (None, reply.size) and reply.head.status != 304:
            return streams.refuse(stream_id, ErrorCodes.PROTOCOL_ERROR, done)
        if stream_id in streams.uploads:
            # Answered before the whole body was sent (RFC 9113 §8.1): the rest is not wanted.
            streams.out.append(reset(stream_id, ErrorCodes.NO_ERROR))
        return streams.finish(stream_id, UNANSWERED, done)
