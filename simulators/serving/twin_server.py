"""The server of a twin: TLS on loopback, one peer for each connection, and a stop that answers what is in flight."""

from __future__ import annotations

import contextlib
import errno
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import trio

from simulators.errors import TwinError
from simulators.faults.director import Director
from simulators.faults.script import ConnectionFaultRule
from simulators.ledger import Ledger
from simulators.provider import Provider
from simulators.serving.http1_server import serve_http1
from simulators.serving.http2_server import Http2Peer, Stream

_HANDSHAKE_SECONDS: Final = 10.0
_HANDSHAKE: Final = b"\x16"
"""The first octet of a TLS handshake."""
_DRAIN_SECONDS: Final = 30.0
"""Time for clients to hang up: as with a provider, they close the connection. They wait 20 s for an answer."""


def server_context(
    certificate: Path, protocols: tuple[str, ...], clients: str | None = None, *, demanded: bool = False
) -> ssl.SSLContext:
    """A TLS context (≥ 1.2) for the key and chain in ``certificate``.

    ``clients``: PEM of the authority of client certificates, if TLS asks for them; ``demanded``: clients must have one.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(list(protocols))
    if clients is not None:
        context.load_verify_locations(cadata=clients)
        context.verify_mode = ssl.CERT_REQUIRED if demanded else ssl.CERT_OPTIONAL
    return context


async def listen(port: int) -> trio.SocketListener:
    """Listen on 127.0.0.1 (raises ``TwinError`` if the port is taken)."""
    try:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=512)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise TwinError(f"port {port}: {error.strerror}: choose another, or 0 for any free one") from None
        raise
    return listeners[0]


class TwinServer:
    """Serves one provider's rules on one listening socket."""

    def __init__(self, provider: Provider, director: Director, ledger: Ledger, context: ssl.SSLContext) -> None:
        self._provider = provider
        self._director = director
        self._ledger = ledger
        self._context = context
        self._peers: set[Http2Peer] = set()
        self._idle: set[trio.CancelScope] = set()
        self._stopping = False
        self._faults_used: dict[int, int] = {}

    async def serve(self, listener: trio.SocketListener, stopping: trio.Event) -> None:
        """Serve until ``stopping`` is set; then send GOAWAY, answer what is in flight (≤ 30 s), hang up, return."""
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accept = partial(trio.serve_listeners, self._guarded, [listener], handler_nursery=connections)
                accepting.start_soon(accept)
                await stopping.wait()
                accepting.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + _DRAIN_SECONDS
            self._drain()

    def _drain(self) -> None:
        self._stopping = True
        for peer in list(self._peers):
            peer.drain()
        for scope in list(self._idle):
            scope.cancel()

    async def _guarded(self, raw: trio.SocketStream) -> None:
        """Serve one connection. Errors that a client causes end here."""
        if self._provider.plain and not await self._begins_with_tls(raw):
            return
        stream: Stream = trio.SSLStream(raw, self._context, server_side=True, https_compatible=True)
        try:
            with self._interruptible(), trio.fail_after(_HANDSHAKE_SECONDS):
                await stream.do_handshake()
            if self._stopping:
                return
            if stream.selected_alpn_protocol() == "h2":
                await self._serve_http2(stream)
            elif "http/1.1" in self._provider.protocols:
                with self._interruptible():
                    await serve_http1(stream, self._provider.http1_session(), self._ledger, self._take_faults())
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, ssl.SSLError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _begins_with_tls(self, raw: trio.SocketStream) -> bool:
        """Whether the client begins a handshake. One that does not is served here, without TLS."""
        try:
            with self._interruptible(), trio.fail_after(_HANDSHAKE_SECONDS):
                if await raw.socket.recv(1, trio.socket.MSG_PEEK) == _HANDSHAKE:
                    return True
            with self._interruptible():
                await serve_http1(raw, self._provider.http1_session(), self._ledger, scheme=b"http")
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass
        await trio.aclose_forcefully(raw)
        return False

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Marks work that a drain does not wait for: handshakes, kept-alive HTTP/1.1 connections."""
        with trio.CancelScope() as scope:
            self._idle.add(scope)
            try:
                yield
            finally:
                self._idle.discard(scope)

    async def _serve_http2(self, stream: Stream) -> None:
        peer = Http2Peer(stream, self._provider, self._ledger, self._take_faults())
        self._peers.add(peer)
        try:
            await peer.run()
        finally:
            self._peers.discard(peer)

    def _take_faults(self) -> list[ConnectionFaultRule]:
        taken = []
        for number, fault in enumerate(self._director.script.connections):
            used = self._faults_used.get(number, 0)
            if fault.times is None or used < fault.times:
                self._faults_used[number] = used + 1
                taken.append(fault)
        return sorted(taken, key=lambda fault: fault.after)
