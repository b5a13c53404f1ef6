"""The server side of one HTTP/2 connection, without I/O: bytes in, requests out; answers in, bytes out (RFC 9113).

It is built on bare frames, not on h2, for two reasons: a twin must misbehave on command, which h2 forbids, and must
cost far less than the client it measures. Incoming frames are judged in ``receiving``.
"""

from __future__ import annotations

from simulators.http2 import framing as f
from simulators.http2.header_compression import Field
from simulators.http2.receiving import FrameReceiver


class Http2Connection(FrameReceiver):
    """One connection's protocol state.

    Feed it with :meth:`feed`, answer with :meth:`respond`, send what :meth:`outgoing` returns, hang up when
    :attr:`closed` is set and everything is sent. Streams that are never answered stay open, as they do for the client.
    """

    def respond(self, stream_id: int, fields: tuple[Field, ...], body: bytes = b"") -> bool:
        """Answer a request; ``fields`` start with ``:status``. Returns False if nobody waits for it any more."""
        stream = self._streams.get(stream_id)
        if stream is None or self.closed:
            return False
        block = self._encoder.encode(fields)
        if not body:
            self._out.append(f.head(len(block), f.HEADERS, f.END_HEADERS | f.END_STREAM, stream_id) + block)
            self._finish(stream)
            return True
        self._out.append(f.head(len(block), f.HEADERS, f.END_HEADERS, stream_id) + block)
        stream.parked = memoryview(body)
        self._send_data(stream)
        return True

    def settings(self, values: dict[int, int]) -> None:
        """Change our settings in mid-connection; a lower stream limit binds the client from now on."""
        self.max_concurrent_streams = values.get(f.MAX_CONCURRENT_STREAMS, self.max_concurrent_streams)
        growth = self._window.announce(values.get(f.INITIAL_WINDOW_SIZE))
        if growth:
            for stream in self._streams.values():
                stream.recv_window += growth
        self._out.append(f.settings(values))

    def go_away(self, code: int = f.NO_ERROR, debug: bytes = b"", last_stream: int | None = None) -> None:
        """Send GOAWAY: streams above ``last_stream`` (default: the last opened) are forgotten, the rest answered."""
        if self.closed:
            return
        last = self.last_stream if last_stream is None else last_stream
        self.accept_up_to = min(self.accept_up_to, last)
        for stream_id in [stream for stream in self._streams if stream > last]:
            del self._streams[stream_id]
            self._parked.pop(stream_id, None)
        self._going_away = True
        self._out.append(f.goaway(last, code, debug))
        self._close_if_drained()

    def hang_up(self) -> None:
        """End the connection without GOAWAY; bytes that are already queued still go out."""
        self._streams.clear()
        self._parked.clear()
        self.closed = True

    def inject(self, forged: bytes) -> None:
        """Send bytes as they are, whatever they do to the protocol's state at the other end."""
        self._out.append(forged)

    def abandon(self, stream_id: int) -> None:
        """Give up a stream silently: it counts as done here, and the client gets no frame."""
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._parked.pop(stream_id, None)
            self._close_if_drained()

    def outgoing(self) -> bytes:
        """Return the bytes to send, once."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    @property
    def has_outgoing(self) -> bool:
        """Whether :meth:`outgoing` would return anything."""
        return bool(self._out)

    @property
    def open_streams(self) -> int:
        """Streams that are opened and not yet answered."""
        return len(self._streams)
