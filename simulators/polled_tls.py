"""The server's side of TLS over a socket that is looked at now and then: after its handshake, nothing here waits."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl

import trio

_READ_SIZE = 1 << 18
_RECORD = 16_384


class PolledTls:
    """One client's connection."""

    def __init__(self, tcp: socket.socket, context: ssl.SSLContext) -> None:
        """``tcp``: connected, and closed by :meth:`close`."""
        tcp.setblocking(False)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = tcp
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._unsent = b""
        self._poll = select.poll()
        self._poll.register(tcp, select.POLLIN)

    async def shake_hands(self) -> None:
        """Finish the handshake. Raises ``OSError``."""
        shaken = False
        while not shaken:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                shaken = True
            self.send_now(b"")
            if not shaken:
                await trio.lowlevel.wait_readable(self._socket)
                self._incoming.write(self._socket.recv(_READ_SIZE) or b"\0")  # an end in here is an error of TLS

    def waiting(self) -> bool:
        """Whether there is something to read, or the client has gone."""
        return bool(self._poll.poll(0))

    def receive_now(self) -> bytes | None:
        """Return what has arrived; None: nothing; empty: the client has gone."""
        try:
            if not (data := self._socket.recv(_READ_SIZE)):
                return b""
            self._incoming.write(data)
            return self._decrypt() or None
        except BlockingIOError:
            # what the handshake has read beyond itself
            return (self._decrypt() or None) if self._incoming.pending else None
        except OSError:  # the socket's or TLS's
            return b""

    def send_now(self, data: bytes) -> None:
        """Send, after what was left over. What the system does not take now waits for the next call.

        Raises ``OSError``.
        """
        if data:
            self._tls.write(data)
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        if self._unsent:
            with contextlib.suppress(BlockingIOError):
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _decrypt(self) -> bytes:
        parts = []
        with contextlib.suppress(ssl.SSLWantReadError):
            while part := self._tls.read(_RECORD):
                parts.append(part)
        return b"".join(parts)
