"""The I/O of one connection: TLS, a task that reads, one that writes, and a sweep for deadlines and silence."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import urlsplit

import trio

from transports.errors import ConnectionLost, CredentialsError
from transports.http2.engine import Engine
from transports.http2.growth import Bound
from transports.http2.messages import Completions
from transports.http2.rounds import CROWD, PLENTY, Rounds
from transports.proxy import Proxy
from transports.public_addresses import open_public
from transports.tls.stream import TlsStream
from transports.tunnel import open_tunnel


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a provider listens."""

    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """The value of ``:authority`` (RFC 9113 §8.3.1): without the port if it is the scheme's own.

        An IPv6 address is in brackets (RFC 3986 §3.2.2).
        """
        return str(self).removesuffix(":443").encode("ascii")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
    """An unanswered request is given up after this time."""
    connect: float = 10.0
    """TCP, TLS and the peer's SETTINGS together."""
    silence: float = 5.0
    """With requests in flight, send PING after hearing nothing for this long."""
    ping: float = 5.0
    """A PING unanswered for this long: the connection is dead."""
    idle: float = 3_600.0
    """PING an idle connection this often; ``inf``: never, because the provider counts it as abuse."""
    doubt: float = 60.0
    """A connection that has heard nothing for this long may have been forgotten by a router on the way: it is asked by
    PING before anything is sent there."""
    proof: float = 1.0
    """What does not answer that PING within this time is replaced."""
    sweep: float = 0.1
    """How often deadlines are checked."""


HTTP_1_1 = "http/1.1"
"""HTTP/1.1's name in ALPN (RFC 7301 §6)."""

_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
"""Seconds until the kernel asks the peer's, and between two tries; tries; ms until unacknowledged bytes end it."""


def keep_alive(tcp: trio.SocketStream) -> None:
    """Let the kernel keep an idle connection known to routers and firewalls: the peer's program sees nothing of it."""
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if (option := getattr(socket, name, None)) is not None:  # not every system has each
            tcp.setsockopt(socket.IPPROTO_TCP, option, value)


async def dial(
    origin: Origin,
    context: ssl.SSLContext,
    seconds: float,
    proxy: Proxy | None = None,
    protocols: Collection[str] = ("h2",),
    *,
    public: bool = False,
) -> TlsStream:
    """Connect, with a fresh DNS look-up, and shake hands. Raises ``ConnectionLost`` with the reason in words.

    Of several addresses, of both families, the first that answers is taken (RFC 8305); a ``proxy`` has its own view.
    ``public``: a stranger has chosen the host, so nothing is sent to an address that is not public.

    ``context`` must offer the ALPN ``protocols``. A peer that chooses none of them is refused (RFC 9113 §3.3), unless
    HTTP/1.1 is one of them: a peer without ALPN speaks that.
    """
    where = str(origin)
    stream: TlsStream | None = None
    try:
        with trio.fail_after(seconds):
            if proxy is not None and proxy.serves(origin.host):
                tcp = await open_tunnel(proxy, origin.host, origin.port)
            elif public:
                tcp = await open_public(origin.host, origin.port)
            else:
                tcp = await trio.open_tcp_stream(origin.host, origin.port)
            keep_alive(tcp)
            stream = TlsStream(tcp, context, origin.host)
            await stream.do_handshake()
        if (stream.protocol or HTTP_1_1) in protocols:
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
    """The stream that a connection needs; :class:`TlsStream` is one."""

    async def receive_some(self) -> bytes:
        """Return the bytes that have arrived; empty at the end."""

    def receive_now(self) -> bytes | None:
        """Return the bytes that have arrived; empty at the end; None: there are none yet."""

    def send_now(self, data: bytes) -> bool:
        """Send without waiting. False: bytes are left for ``send_all``."""

    async def send_all(self, data: bytes) -> None:
        """Send the bytes that are left, then ``data``."""

    async def aclose(self) -> None:
        """Close."""


class Connection:
    """One connection, from its handshake to its end. ``run`` owns the stream; all other methods are synchronous."""

    def __init__(
        self,
        stream: Wire,
        client: Engine,
        timing: Timing,
        settle: Callable[[Completions], str | None],
        progress: Callable[[], None],
        rounds: Rounds,
        most: int | None = None,
    ) -> None:
        """``settle`` takes settled requests, and returns why no new ones should be sent here (None: they may).

        ``progress`` is called afterwards, when there may be room for more; ``rounds`` read it while it is busy.
        ``most``: requests that are not of the upper lane are begun only up to so many in flight; None: as many as the
        peer allows.
        """
        self.client = client
        self.most = most
        self.unusable = trio.Event()
        """Set once no new requests may be sent here: a new connection is needed."""
        self.settled = trio.Event()
        """Set once the peer's SETTINGS have arrived, or can no longer arrive."""
        self.warm = False
        """Whether batches may be sent here."""
        self.used = trio.current_time()
        """When it last had a request in flight."""
        self.round_trip = 0.0
        """Seconds that the last PING took; 0: not known."""
        self._asked: tuple[bytes, float] | None = None  # the PING that measures it
        self._stream = stream
        self._timing = timing
        self._settle = settle
        self._progress = progress
        self._rounds = rounds
        self._wake = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._brought = 0  # requests that the last read has settled
        self._reading = False  # the reader's turn: at its end it writes what is due
        self._sending = False  # the writer waits for the socket
        self._rest = False  # the socket did not take all of the reader's bytes
        if client.settled:
            self.settled.set()
        if not client.pings:
            self.ask_no_more()
        now = trio.current_time()
        self._born = self._heard = now
        self._ping: tuple[bytes, float, float] | None = None  # payload, when, seconds within which it is answered
        self._stalled: float | None = None

    @property
    def age(self) -> float:
        """Seconds since the handshake."""
        return trio.current_time() - self._born

    async def run(self) -> None:
        """Read and write until the connection ends and everything in flight is settled. Never raises."""
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

    def room(self, first: bool) -> int:
        """How many more requests may be begun now. ``first``: of the upper lane."""
        room = self.client.room()
        return room if first or self.most is None else min(room, max(0, self.most - self.client.in_flight))

    def wake(self) -> None:
        """Wake the writer: there may be something to write."""
        if not self._reading:
            self._wake.unpark()

    def fail(self, reason: str) -> None:
        """End now; requests in flight are unanswered."""
        self._settle(self.client.lost(reason))
        self.unusable.set()
        self._scope.cancel()

    @property
    def usable(self) -> bool:
        """Whether new requests may be sent here."""
        client = self.client
        return self.warm and client.settled and client.retiring is None and client.error is None

    def check(self) -> None:
        """Act on the client's state after a change, and wake the writer."""
        if self.client.settled:
            self.settled.set()
        if self.client.retiring is not None or self.client.error is not None:
            self.unusable.set()
        if self.client.error is not None:
            # Sending the last GOAWAY may take a second, no more.
            self._settle(self.client.lost(self.client.error))
            self._limit(1.0)
        self.wake()

    def certain(self, now: float) -> bool:
        """Whether the peer was heard lately. If not, ask it: ``progress`` is called once it answers."""
        if now - self._heard <= self._timing.doubt:
            return True
        if self._ping is None or self._ping[2] > self._timing.proof:
            self._ask(now, self._timing.proof)
        return False

    def measure(self) -> None:
        """Find out the round trip by a PING, unless the peer counts it as abuse."""
        if self._timing.idle < math.inf and self.client.error is None:
            self._asked = (self.client.ping(), trio.current_time())
            self.wake()

    def ask_no_more(self) -> None:
        """Send no PING any more: the peer counts them as abuse, or knows none."""
        self._timing = replace(self._timing, silence=math.inf, idle=math.inf, doubt=math.inf)

    def _ask(self, now: float, within: float) -> None:
        self._ping = (self.client.ping(), now, within)
        self._asked = (self._ping[0], now)
        self.wake()

    def sweep(self, now: float, wanted: bool) -> None:
        """Check deadlines and silence. ``wanted``: requests wait that this connection has not taken."""
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
            payload, at, within = self._ping
            if client.pong == payload:
                self._ping = None
            elif now - at > within:
                return self.fail(f"no answer to PING within {within:g} s")
        elif now - self._heard > (timing.silence if sent is not None else timing.idle):
            self._ask(now, timing.ping)
        if client.retiring is not None and not client.in_flight:
            self._limit(2.0)
            self.wake()
        # Requests wait and nothing is in flight, yet nothing goes out: a window or a stream limit never opens.
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
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
                return self._broke(error)
            self._take(data)
            self._progress()
            self.write_now()
            if self.busy:
                await self._rounds.serve(self)
        return None

    @property
    def busy(self) -> bool:
        """Whether it is to be read in rounds."""
        return self.client.in_flight >= CROWD and self._brought < PLENTY and self.client.error is None

    @property
    def starved(self) -> bool:
        """Whether the peer's window is empty."""
        return self.client.bound is Bound.WINDOW

    def read_now(self) -> bool:
        """Take what has arrived, in a round. False: there was nothing."""
        self._reading = True
        try:
            data = self._stream.receive_now()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            self._broke(error)
            return False
        if data is None:
            return False
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        """Take what was read. :meth:`write_now` must follow."""
        client = self.client
        self._reading = True
        self._heard = trio.current_time()
        if not data:
            return self.fail("the peer closed the connection")
        done = client.feed(data)
        if self._asked is not None and client.pong == self._asked[0]:
            self.round_trip, self._asked = self._heard - self._asked[1], None
        if done and (reason := self._settle(done)) is not None:
            client.retire(reason)
        self._brought = len(done.accepted)
        return self.check()

    def write_now(self) -> None:
        """Send what is due after a read."""
        client = self.client
        self._reading = False
        try:
            # Here, and not in the writer: switching tasks costs more than the write.
            if not self._sending and not self._rest and (data := client.outgoing()):
                self._rest = not self._stream.send_now(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            return self._broke(error)
        # Only the writer waits for the socket, and only it sends the closing GOAWAY.
        if self._rest or client.retiring is not None or client.error is not None:
            self.wake()
        return None

    def _broke(self, error: Exception) -> None:
        self.fail(f"the connection broke: {error.__cause__ or error}")

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
                    return self._broke(error)
                finally:
                    self._sending = False
            elif said_goodbye or client.error is not None:
                return self._scope.cancel()
            elif client.retiring is not None and not client.in_flight:
                client.close()
                said_goodbye = True
            else:
                await self._wake.park()
