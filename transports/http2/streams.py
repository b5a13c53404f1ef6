"""The requests in flight on one connection. Nothing of a stream is kept after its end."""

from __future__ import annotations

from h2.errors import ErrorCodes

from transports.http2.control import ControlStream
from transports.http2.frames import DATA, END_STREAM, MAX_WINDOW, PeerError, frame, reset
from transports.http2.messages import UNANSWERED, UNPROCESSED, Answer, Completions, Run
from transports.http2.replies import Head

_GIVEN_UP = 10_000


class Upload:
    """A body that the peer's windows took only in part."""

    __slots__ = ("rest", "window")

    def __init__(self, rest: bytes, window: int) -> None:
        self.rest = rest
        self.window = window
        """Octets that the stream's own window still takes; below 0 after SETTINGS lowered it (RFC 9113 §6.9.2)."""


class Reply:
    """An answer that is not complete yet."""

    __slots__ = ("body", "head", "received", "size", "window")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.body = b""
        """The first octets of the body."""
        self.size = 0
        """Octets of the body so far."""
        self.received = 0
        """Octets taken from the stream's window, padding included, and not yet given back."""


class Streams:
    """Requests in flight, bodies partly sent, and answers partly received."""

    def __init__(self, control: ControlStream) -> None:
        self.live: dict[int, Run] = {}
        """Requests that await their answer, oldest first."""
        self.uploads: dict[int, Upload] = {}
        self.replies: dict[int, Reply] = {}
        self.given_up: set[int] = set()
        """Streams that we have reset: frames that the peer sent before it knew are ignored."""
        self.next_id = 1
        self.out: list[bytes] = []
        """All bytes to be written, in order: blocks, acknowledgements and everything else."""
        self._control = control
        self._forgotten = 0

    def finish(self, stream_id: int, otherwise: int, done: Completions) -> None:
        """End a stream. Without an answer the request's status is ``otherwise``."""
        run = self.live.pop(stream_id)
        # The body's length is announced, so a peer cannot act on a request whose end is missing (RFC 9113 §8.1.1).
        if self.uploads and self.uploads.pop(stream_id, None) is not None:
            otherwise = UNPROCESSED
        reply = self.replies.pop(stream_id, None)
        if reply is None:
            done.answers.append(Answer(run.owner, run.request(stream_id), run.template, otherwise, b"", None))
        elif 200 <= reply.head.status < 300:
            done.accepted.append(run)
            done.streams.append(stream_id)
        else:
            head, request = reply.head, run.request(stream_id)
            answer = Answer(run.owner, request, run.template, head.status, reply.body, head.retry_after)
            done.answers.append(answer)

    def give_up(self, stream_id: int, code: ErrorCodes, otherwise: int, done: Completions) -> None:
        """Reset a live stream. A status that has arrived counts; without one it is ``otherwise``."""
        self.out.append(reset(stream_id, code))
        if len(self.given_up) >= _GIVEN_UP:
            # Too many to remember: from now on, frames for any stream opened so far are ignored.
            self._forgotten = self.next_id
            self.given_up.clear()
        self.given_up.add(stream_id)
        self.finish(stream_id, otherwise, done)

    def refuse(self, stream_id: int, code: ErrorCodes, done: Completions) -> None:
        """Reset a live stream on which the peer broke HTTP/2 (RFC 9113 §5.4.2): its answer does not count."""
        self.replies.pop(stream_id, None)
        self.give_up(stream_id, code, UNANSWERED, done)

    def ended(self, stream_id: int, what: str, last: bool) -> None:
        """Take a frame with content for a stream that is not live. Raises ``PeerError`` unless we reset that stream."""
        if not stream_id & 1 or stream_id >= self.next_id:
            raise PeerError(ErrorCodes.PROTOCOL_ERROR, f"{what} on stream {stream_id}, which was never opened")
        if stream_id in self.given_up:
            if last:
                self.given_up.discard(stream_id)
        elif stream_id >= self._forgotten:
            raise PeerError(ErrorCodes.STREAM_CLOSED, f"{what} on stream {stream_id}, which had ended")

    def widen(self, stream_id: int, increment: int, done: Completions) -> None:
        """Apply a WINDOW_UPDATE to a stream."""
        upload = self.uploads.get(stream_id)
        if stream_id in self.live and not increment:
            self.refuse(stream_id, ErrorCodes.PROTOCOL_ERROR, done)
        elif upload is not None:
            upload.window += increment
            if upload.window > MAX_WINDOW:
                self.refuse(stream_id, ErrorCodes.FLOW_CONTROL_ERROR, done)

    def widen_all(self, delta: int) -> None:
        """Apply a new SETTINGS_INITIAL_WINDOW_SIZE. Raises ``PeerError`` if a window overflows (RFC 9113 §6.9.2)."""
        for stream_id, upload in self.uploads.items():
            upload.window += delta
            if upload.window > MAX_WINDOW:
                raise PeerError(ErrorCodes.FLOW_CONTROL_ERROR, f"the window of stream {stream_id} overflows")

    def upload(self) -> None:
        """Send as much of the partly sent bodies as the windows take, oldest first."""
        control, out = self._control, self.out
        for stream_id, upload in list(self.uploads.items()):
            rest = upload.rest
            while rest:
                size = min(len(rest), upload.window, control.outbound_flow_control_window)
                size = min(size, control.max_outbound_frame_size)
                if size <= 0:
                    break
                out.append(frame(DATA, END_STREAM if size == len(rest) else 0, stream_id, rest[:size]))
                rest = rest[size:]
                upload.window -= size
                control.outbound_flow_control_window -= size
            upload.rest = rest
            if not rest:
                del self.uploads[stream_id]
