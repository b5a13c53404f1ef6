"""The I/O of one HTTP/2 connection: TLS, one task that reads, one that writes, and a sweep for what stays silent."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import trio

from transports.errors import ConnectionLost, CredentialsError
from transports.http2.client import Http2Client
from transports.http2.messages import Completions
from transports.tls.stream import TlsStream


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a provider listens."""

    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """As ``:authority`` wants it (RFC 9113 §8.3.1): without the scheme's own port."""
        return (self.host if self.port == 443 else f"{self.host}:{self.port}").encode("ascii")


def parse_origin(text: str) -> Origin:
    """Read ``https://host[:port]``. Raises ``CredentialsError`` for anything else."""
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port or 443
        if url.scheme != "https" or not host or not host.isascii() or url.path not in ("", "/") or url.query:
            raise ValueError("not of that form")
    except ValueError:
        raise CredentialsError(f'origin: "{text}" must be of the form https://host:port') from None
    return Origin(host, port)


@dataclass(frozen=True, slots=True)
class Timing:
    """All durations in seconds."""

    deadline: float = 20.0
    """An unanswered request is given up after this."""
    connect: float = 10.0
    """TCP, TLS and the peer's SETTINGS together."""
    silence: float = 5.0
    """With requests in flight and nothing heard for this long: PING."""
    ping: float = 5.0
    """A PING unanswered for this long: the connection is dead."""
    idle: float = 3_600.0
    """PING an idle connection this often (Apple allows an hour)."""
    sweep: float = 0.1
    """How often deadlines are looked at."""


async def dial(origin: Origin, context: ssl.SSLContext, seconds: float) -> TlsStream:
    """Connect, with a fresh DNS look-up, and shake hands. Raises ``ConnectionLost`` with the reason in words.

    ``context`` must offer the ALPN protocol ``h2``; a peer that does not choose it is refused (RFC 9113 §3.3).
    """
    where = f"{origin.host}:{origin.port}"
    stream: TlsStream | None = None
    try:
        with trio.fail_after(seconds):
            tcp = await trio.open_tcp_stream(origin.host, origin.port)
            stream = TlsStream(tcp, context, origin.host)
            await stream.do_handshake()
        if stream.protocol == "h2":
            good, stream = stream, None
            return good
        raise ConnectionLost(f"{where} does not speak HTTP/2 (ALPN chose {stream.protocol!r})")
    except trio.TooSlowError:
        raise ConnectionLost(f"{where} did not answer within {seconds:g} s") from None
    except trio.BrokenResourceError as error:
        raise ConnectionLost(f"{where}: TLS failed: {error.__cause__ or error}") from error
    except OSError as error:
        raise ConnectionLost(f"{where}: {error}") from error
    finally:
        if stream is not None:
            with trio.move_on_after(1, shield=True):
                await trio.aclose_forcefully(stream)


class Wire(Protocol):
    """What a connection asks of its stream; :class:`TlsStream` is one."""

    async def receive_some(self) -> bytes:
        """Give what has arrived; nothing at the end."""

    def send_now(self, data: bytes) -> bool:
        """Send without waiting. False: something is left, for ``send_all``."""

    async def send_all(self, data: bytes) -> None:
        """Send what is left, and this."""

    async def aclose(self) -> None:
        """Close."""


class Connection:
    """One connection, from its handshake to its end. ``run`` owns the stream; all else is synchronous."""

    def __init__(
        self,
        stream: Wire,
        client: Http2Client,
        timing: Timing,
        settle: Callable[[Completions], str | None],
        progress: Callable[[], None],
    ) -> None:
        """``settle`` takes what was settled, and returns why nothing new should go over this connection (None: it may).

        ``progress`` is called after it, when there may be room for more.
        """
        self.client = client
        self.unusable = trio.Event()
        """Set once nothing new may be sent here: a successor is wanted."""
        self.settled = trio.Event()
        """Set once the peer's SETTINGS are here, or will not come any more."""
        self.warm = False
        """Whether jobs may go over it."""
        self._stream = stream
        self._timing = timing
        self._settle = settle
        self._progress = progress
        self._wake = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._reading = False  # the reader's turn: it writes at its end what has come up
        self._sending = False  # the writer waits for the socket
        self._rest = False  # the socket did not take all of the reader's words
        now = trio.current_time()
        self._born = self._heard = now
        self._ping: tuple[bytes, float] | None = None
        self._stalled: float | None = None

    @property
    def age(self) -> float:
        """Seconds since the handshake."""
        return trio.current_time() - self._born

    async def run(self) -> None:
        """Read and write until the connection ends; then everything in flight has its fate. Returns, never raises."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    nursery.start_soon(self._write)
        finally:
            self._settle(self.client.lost("the connection was closed"))
            self.settled.set()
            self.unusable.set()
            with trio.move_on_after(1, shield=True):
                await self._stream.aclose()
            self._progress()

    def wake(self) -> None:
        """There may be something to write."""
        if not self._reading:
            self._wake.unpark()

    def fail(self, reason: str) -> None:
        """End now; what is in flight is unanswered."""
        self._settle(self.client.lost(reason))
        self.unusable.set()
        self._scope.cancel()

    @property
    def usable(self) -> bool:
        """Whether new requests may go over it."""
        client = self.client
        return self.warm and client.settled and client.retiring is None and client.error is None

    def check(self) -> None:
        """Look what the client has become after a change, and let the writer look for bytes."""
        if self.client.settled:
            self.settled.set()
        if self.client.retiring is not None or self.client.error is not None:
            self.unusable.set()
        if self.client.error is not None:
            # The last GOAWAY is worth a second, no more.
            self._settle(self.client.lost(self.client.error))
            self._limit(1.0)
        self.wake()

    def sweep(self, now: float, wanted: bool) -> None:
        """Look for what has stayed silent too long. ``wanted``: requests wait that this connection does not take."""
        timing, client = self._timing, self.client
        if not client.settled and now - self._born > timing.connect:
            return self.fail(f"no SETTINGS within {timing.connect:g} s")
        sent = client.oldest()
        if sent is not None and sent < now - timing.deadline:
            reason = self._settle(client.expire(now - timing.deadline))
            if reason is not None:
                client.retire(reason)
            if self._heard < sent:
                return self.fail(f"nothing heard for {now - self._heard:.1f} s: half-open")
            self.check()
        if self._ping is not None:
            payload, at = self._ping
            if client.pong == payload:
                self._ping = None
            elif now - at > timing.ping:
                return self.fail(f"no answer to PING within {timing.ping:g} s")
        elif now - self._heard > (timing.silence if sent is not None else timing.idle):
            self._ping = (client.ping(), now)
            self.wake()
        if client.retiring is not None and not client.in_flight:
            self._limit(2.0)
            self.wake()
        # Work waits, nothing is in flight, and still nothing goes out: a window or a stream limit that never opens.
        if not wanted or client.in_flight or not client.settled or client.retiring is not None:
            self._stalled = None
        elif self._stalled is None:
            self._stalled = now
        elif now - self._stalled > timing.deadline:
            client.retire(f"the peer took nothing for {timing.deadline:g} s")
            self.check()
        return None

    def _limit(self, seconds: float) -> None:
        if self._scope.deadline == math.inf:
            self._scope.deadline = trio.current_time() + seconds

    async def _read(self) -> None:
        client = self.client
        while client.error is None:
            try:
                data = await self._stream.receive_some()
                self._reading = True
                self._heard = trio.current_time()
                if not data:
                    return self.fail("the peer closed the connection")
                done = client.feed(data)
                if done and (reason := self._settle(done)) is not None:
                    client.retire(reason)
                self.check()
                self._progress()
                # At once, not by way of the writer: a change of tasks costs more than the writing.
                if not self._sending and not self._rest and (data := client.outgoing()):
                    self._rest = not self._stream.send_now(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
                return self.fail(f"the connection broke: {error.__cause__ or error}")
            finally:
                self._reading = False
            # Only the writer waits for the socket, and it alone says goodbye.
            if self._rest or client.retiring is not None or client.error is not None:
                self.wake()
        return None

    async def _write(self) -> None:
        client = self.client
        said_goodbye = False
        while True:
            data = client.outgoing()
            if data or self._rest:
                self._sending, self._rest = True, False
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
                    return self.fail(f"the connection broke: {error.__cause__ or error}")
                finally:
                    self._sending = False
            elif said_goodbye or client.error is not None:
                return self._scope.cancel()
            elif client.retiring is not None and not client.in_flight:
                client.close()
                said_goodbye = True
            else:
                await self._wake.park()
