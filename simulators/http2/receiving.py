"""Processes the frames of one HTTP/2 connection, and replies as the protocol itself requires (RFC 9113).

It is as strict as a provider may be: whatever RFC 9113 calls an error is answered with the RFC's own code, so that a
client's fault shows in its tests and not in production.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from simulators.errors import ConnectionFault, HeaderBlockError, StreamFault
from simulators.http2 import framing as f
from simulators.http2.header_compression import TABLE_LIMIT, Decoder, Encoder, Field
from simulators.http2.received_request import ReceivedRequest, check_names, check_trailers
from simulators.http2.server_streams import AnnouncedWindow, Limits, Stream, unpad

_BODY_LIMIT = 262_144
_BLOCK_LIMIT = 65_536
_ANNOUNCED_HEADER_LIST = 8_000
_REMEMBERED_RESETS = 4096


class FrameReceiver:
    """The state of a connection and the rules for frames; ``Http2Connection`` adds the actions."""

    def __init__(self, limits: Limits | None = None, faults: Counter[str] | None = None) -> None:
        self.faults: Counter[str] = Counter() if faults is None else faults
        """The client's violations of the RFC, by the message they were answered with."""
        self.limits = limits or Limits()
        self.max_concurrent_streams = self.limits.max_concurrent_streams
        self.closed = False
        """Nothing more will be read or answered."""
        self.fault: ConnectionFault | None = None
        """Why we ended the connection, if the peer was at fault."""
        self.topping_up = True
        """Whether windows are given back as data arrives. If a script sets it to False, the client starves."""
        self.last_stream = 0
        """Highest stream id the client has opened."""
        self.accept_up_to = f.WINDOW_LIMIT
        """Highest stream id that is still served: lowered by GOAWAY."""
        self._going_away = False
        self._peer_going_away = False
        self._prefaced = False
        self._settled = False
        self._buffer = b""
        self._out: list[bytes | memoryview] = []
        self._streams: dict[int, Stream] = {}
        self._reset: dict[int, None] = {}
        self._block: tuple[int, int, bytearray] | None = None
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._recv_window = self.limits.connection_window
        self._window = AnnouncedWindow()
        self._send_window = f.DEFAULT_WINDOW
        self._peer_window = f.DEFAULT_WINDOW
        self._peer_frame = f.FRAME_LIMIT
        self._parked: dict[int, None] = {}
        self._requests: list[ReceivedRequest] = []
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            f.DATA: self._on_data,
            f.HEADERS: self._on_headers,
            f.PRIORITY: self._on_priority,
            f.RST_STREAM: self._on_rst_stream,
            f.SETTINGS: self._on_settings,
            f.PUSH_PROMISE: self._on_push_promise,
            f.PING: self._on_ping,
            f.GOAWAY: self._on_goaway,
            f.WINDOW_UPDATE: self._on_window_update,
            f.CONTINUATION: self._on_continuation,
        }
        self._greet()

    def _greet(self) -> None:
        limits = self.limits
        self._out.append(
            f.settings(
                {
                    f.HEADER_TABLE_SIZE: TABLE_LIMIT,
                    f.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                    f.INITIAL_WINDOW_SIZE: limits.initial_window,
                    f.MAX_FRAME_SIZE: f.FRAME_LIMIT,
                    f.MAX_HEADER_LIST_SIZE: _ANNOUNCED_HEADER_LIST,
                }
            )
        )
        self._window.announce(limits.initial_window)
        if limits.connection_window > f.DEFAULT_WINDOW:
            self._out.append(f.window_update(0, limits.connection_window - f.DEFAULT_WINDOW))

    def feed(self, data: bytes) -> list[ReceivedRequest]:
        """Take bytes off the wire and return the requests that are complete by now, in order of completion."""
        if self.closed:
            return []
        buffer = self._buffer + data if self._buffer else data
        at = 0
        end = len(buffer)
        try:
            if not self._prefaced:
                if not buffer.startswith(f.PREFACE[:end]):
                    raise ConnectionFault(f.PROTOCOL_ERROR, "the connection does not start with the HTTP/2 preface")
                if end < len(f.PREFACE):
                    self._buffer = buffer
                    return []
                self._prefaced = True
                at = len(f.PREFACE)
            handlers = self._handlers
            while end - at >= 9:
                high, low, kind, flags, stream = f.unpack_head(buffer, at)
                length = high << 16 | low
                if length > f.FRAME_LIMIT:
                    raise ConnectionFault(f.FRAME_SIZE_ERROR, f"a frame of {length} bytes; {f.FRAME_LIMIT} are allowed")
                start = at + 9
                stop = start + length
                if stop > end:
                    break
                at = stop
                stream &= f.WINDOW_LIMIT
                if self._block is not None and (kind != f.CONTINUATION or stream != self._block[0]):
                    raise ConnectionFault(f.PROTOCOL_ERROR, "a frame in the middle of a header block")
                if not self._settled and kind != f.SETTINGS:
                    raise ConnectionFault(f.PROTOCOL_ERROR, "the preface is not followed by SETTINGS")
                handler = handlers.get(kind)
                if handler is not None:
                    try:
                        handler(flags, stream, buffer[start:stop])
                    except StreamFault as fault:
                        self.faults[f"stream: {fault.message}"] += 1
                        self.reset(stream, fault.code)
        except ConnectionFault as fault:
            self._die(fault)
        self._buffer = buffer[at:] if at < end else b""
        requests = self._requests
        self._requests = []
        return requests

    def reset(self, stream_id: int, code: int) -> None:
        """End one stream with RST_STREAM."""
        self._streams.pop(stream_id, None)
        self._parked.pop(stream_id, None)
        self._remember_reset(stream_id)
        self._out.append(f.rst_stream(stream_id, code))
        self._close_if_drained()

    # Frames, by number

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        if size > self._recv_window:
            raise ConnectionFault(f.FLOW_CONTROL_ERROR, "DATA beyond the connection's window")
        self._recv_window -= size
        if self.topping_up and self._recv_window * 2 < self.limits.connection_window:
            self._out.append(f.window_update(0, self.limits.connection_window - self._recv_window))
            self._recv_window = self.limits.connection_window
        stream = self._streams.get(stream_id)
        if stream is None or not stream.remote_open:
            self._check_known(stream_id)
            if stream_id in self._reset or stream_id > self.accept_up_to:
                return
            raise StreamFault(f.STREAM_CLOSED, "DATA on a closed stream")
        if size > stream.recv_window:
            raise StreamFault(f.FLOW_CONTROL_ERROR, "DATA beyond the stream's window")
        stream.recv_window -= size
        if flags & f.PADDED:
            payload = unpad(payload)
        stream.received += len(payload)
        if stream.received > _BODY_LIMIT:
            raise StreamFault(f.ENHANCE_YOUR_CALM, f"a body over {_BODY_LIMIT} bytes")
        stream.body = stream.body + payload if stream.body else payload
        if flags & f.END_STREAM:
            self._complete(stream)
        elif size:
            self._top_up(stream)

    def _top_up(self, stream: Stream) -> None:
        window = self._window.size
        if self.topping_up and stream.recv_window * 2 < window:
            self._out.append(f.window_update(stream.id, window - stream.recv_window))
            stream.recv_window = window

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}, which a client cannot open")
        if flags & f.PADDED:
            payload = unpad(payload)
        if flags & f.PRIORITISED:
            if len(payload) < 5:
                raise ConnectionFault(f.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
            payload = payload[5:]
        if flags & f.END_HEADERS:
            self._on_block(stream_id, flags, payload)
        else:
            self._block = (stream_id, flags, bytearray(payload))

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(f.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        opened, opening_flags, block = self._block
        block += payload
        if len(block) > _BLOCK_LIMIT:
            raise ConnectionFault(f.ENHANCE_YOUR_CALM, f"a header block over {_BLOCK_LIMIT} bytes")
        if flags & f.END_HEADERS:
            self._block = None
            self._on_block(opened, opening_flags, bytes(block))

    def _on_block(self, stream_id: int, flags: int, block: bytes) -> None:
        # Whatever becomes of the stream, the block is decoded: the table must stay in step with the peer's.
        try:
            fields = self._decoder.decode(block)
        except HeaderBlockError as error:
            raise ConnectionFault(f.COMPRESSION_ERROR, f"stream {stream_id}: {error}") from None
        if stream_id <= self.last_stream:
            self._on_trailers(stream_id, flags, fields)
            return
        self.last_stream = stream_id
        if stream_id > self.accept_up_to:
            return
        if len(self._streams) >= self.max_concurrent_streams:
            raise StreamFault(f.REFUSED_STREAM, f"over {self.max_concurrent_streams} streams")
        expected = check_names(fields)
        stream = Stream(stream_id, fields, self._window.size, self._peer_window)
        stream.expected = expected
        self._streams[stream_id] = stream
        if flags & f.END_STREAM:
            self._complete(stream)

    def _on_trailers(self, stream_id: int, flags: int, fields: list[Field]) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or not stream.remote_open:
            if stream_id in self._reset or stream_id > self.accept_up_to:
                return
            raise ConnectionFault(f.STREAM_CLOSED, f"HEADERS on stream {stream_id}, which is closed")
        if not flags & f.END_STREAM:
            raise StreamFault(f.PROTOCOL_ERROR, "trailers that do not end the stream")
        check_trailers(fields)
        self._complete(stream)

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(f.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise StreamFault(f.FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes")

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(f.FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes")
        self._check_known(stream_id)
        if self._streams.pop(stream_id, None) is not None:
            self._parked.pop(stream_id, None)
            self._close_if_drained()

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"SETTINGS on stream {stream_id}")
        if flags & f.ACK:
            if payload:
                raise ConnectionFault(f.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            if not self._settled:
                raise ConnectionFault(f.PROTOCOL_ERROR, "the preface is followed by an ACK, not by SETTINGS")
            self._on_acknowledged()
            return
        if len(payload) % 6:
            raise ConnectionFault(f.FRAME_SIZE_ERROR, "SETTINGS is not a multiple of 6 bytes")
        self._settled = True
        for setting, value in f.iter_settings(payload):
            self._apply(setting, value)
        self._out.append(f.head(0, f.SETTINGS, f.ACK, 0))
        self._unpark()

    def _on_acknowledged(self) -> None:
        change = self._window.acknowledged()
        if not change:
            return
        for stream in self._streams.values():
            stream.recv_window += change
            if stream.remote_open:
                # The client may have sent more than the new window holds already, and would wait for ever.
                self._top_up(stream)

    def _apply(self, setting: int, value: int) -> None:
        if setting == f.HEADER_TABLE_SIZE:
            self._encoder.allow(value)
        elif setting == f.ENABLE_PUSH:
            if value > 1:
                raise ConnectionFault(f.PROTOCOL_ERROR, f"ENABLE_PUSH {value}")
        elif setting == f.INITIAL_WINDOW_SIZE:
            if value > f.WINDOW_LIMIT:
                raise ConnectionFault(f.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE {value}")
            for stream in self._streams.values():
                stream.send_window += value - self._peer_window
                if stream.send_window > f.WINDOW_LIMIT:
                    raise ConnectionFault(f.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE overflows a stream's window")
            self._peer_window = value
        elif setting == f.MAX_FRAME_SIZE:
            if not f.FRAME_LIMIT <= value < 2**24:
                raise ConnectionFault(f.PROTOCOL_ERROR, f"MAX_FRAME_SIZE {value}")
            self._peer_frame = value

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(f.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"PING on stream {stream_id}")
        if len(payload) != 8:
            raise ConnectionFault(f.FRAME_SIZE_ERROR, "PING is not 8 bytes")
        if not flags & f.ACK:
            self._out.append(f.head(8, f.PING, f.ACK, 0) + payload)

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"GOAWAY on stream {stream_id}")
        if len(payload) < 8:
            raise ConnectionFault(f.FRAME_SIZE_ERROR, "GOAWAY shorter than 8 bytes")
        code = f.unpack_word(payload, 4)[0]
        if code:
            self.faults[f"the client's GOAWAY: {f.NAMES.get(code, code)}"] += 1
        self._peer_going_away = True
        self._close_if_drained()

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(f.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes")
        increment = f.unpack_word(payload)[0] & f.WINDOW_LIMIT
        if not stream_id:
            if not increment:
                raise ConnectionFault(f.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self._send_window += increment
            if self._send_window > f.WINDOW_LIMIT:
                raise ConnectionFault(f.FLOW_CONTROL_ERROR, "WINDOW_UPDATE overflows the connection's window")
            self._unpark()
            return
        self._check_known(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not increment:
            raise StreamFault(f.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        stream.send_window += increment
        if stream.send_window > f.WINDOW_LIMIT:
            raise StreamFault(f.FLOW_CONTROL_ERROR, "WINDOW_UPDATE overflows the stream's window")
        if stream.parked:
            self._send_data(stream)

    # Streams

    def _check_known(self, stream_id: int) -> None:
        if not stream_id or stream_id > self.last_stream or not stream_id & 1:
            raise ConnectionFault(f.PROTOCOL_ERROR, f"a frame for stream {stream_id}, which is idle")

    def _complete(self, stream: Stream) -> None:
        stream.remote_open = False
        if stream.expected >= 0 and stream.expected != stream.received:
            raise StreamFault(f.PROTOCOL_ERROR, "content-length is not the body's length")
        self._requests.append(ReceivedRequest(stream.id, stream.fields, stream.body))

    def _send_data(self, stream: Stream) -> None:
        while stream.parked:
            room = min(len(stream.parked), self._send_window, stream.send_window, self._peer_frame)
            if room <= 0:
                self._parked[stream.id] = None
                return
            piece, stream.parked = stream.parked[:room], stream.parked[room:]
            self._send_window -= room
            stream.send_window -= room
            self._out.append(f.head(room, f.DATA, 0 if stream.parked else f.END_STREAM, stream.id))
            self._out.append(piece)
        self._parked.pop(stream.id, None)
        self._finish(stream)

    def _unpark(self) -> None:
        for stream_id in list(self._parked):
            if self._send_window <= 0:
                return
            self._send_data(self._streams[stream_id])

    def _finish(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        if stream.remote_open:
            self._remember_reset(stream.id)
            self._out.append(f.rst_stream(stream.id, f.NO_ERROR))
        if self._going_away or self._peer_going_away:
            self._close_if_drained()

    def _remember_reset(self, stream_id: int) -> None:
        self._reset[stream_id] = None
        if len(self._reset) > _REMEMBERED_RESETS:
            del self._reset[next(iter(self._reset))]

    def _close_if_drained(self) -> None:
        if (self._going_away or self._peer_going_away) and not self._streams:
            self.closed = True

    def _die(self, fault: ConnectionFault) -> None:
        self.fault = fault
        self.faults[f"connection: {fault.message}"] += 1
        self._out.append(f.goaway(self.last_stream, fault.code, fault.message.encode()))
        self._streams.clear()
        self._parked.clear()
        self.closed = True
