"""TLS over a TCP stream for one reader and one writer: one encryption and one system call a turn.

Trio's own SSLStream hands out one TLS record at a time and holds locks for uses that HTTP/2 does not have. A server
that answers each push in a record of its own makes that the most expensive part of a push.
"""

from __future__ import annotations

import ssl

import trio

_READ_SIZE = 65_536


class TlsStream(trio.abc.Stream):
    """The client's side. ``receive_some`` gives all that one read of the socket brought."""

    def __init__(self, tcp: trio.abc.Stream, context: ssl.SSLContext, host: str) -> None:
        """``host``: whom the certificate must name."""
        self._tcp = tcp
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        # What the peer sent behind its handshake has been read with it.
        self._unread = True
        self._ended = False

    @property
    def protocol(self) -> str | None:
        """What ALPN has chosen (RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    async def do_handshake(self) -> None:
        """Shake hands, and check the certificate. Raises ``trio.BrokenResourceError``."""
        while True:
            fault = self._shake()
            await self._flush()  # be it the alert that tells the peer
            if fault is None:
                return
            if not isinstance(fault, ssl.SSLWantReadError):
                raise trio.BrokenResourceError from fault
            data = await self._tcp.receive_some(_READ_SIZE)
            if not data:
                raise trio.BrokenResourceError("the peer closed the connection in the handshake")
            self._incoming.write(data)

    def _shake(self) -> ssl.SSLError | None:
        try:
            self._tls.do_handshake()
        except ssl.SSLError as error:
            return error
        return None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Whatever has arrived, ``max_bytes`` or not; nothing at the end. Raises ``trio.BrokenResourceError``."""
        while not self._ended:
            if not self._unread:
                data = await self._tcp.receive_some(_READ_SIZE)
                if not data:
                    break  # HTTP/2 says goodbye by itself: what is cut off here is seen by GOAWAY and by streams
                self._incoming.write(data)
            self._unread = False
            if clear := self._decrypt():
                return clear
        await trio.lowlevel.checkpoint()
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. Raises ``trio.BrokenResourceError``."""
        try:
            sent = self._tls.write(data)
            while sent < len(data):
                sent += self._tls.write(memoryview(data)[sent:])
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        """As in ``trio.abc.SendStream``."""
        await self._tcp.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the socket."""
        await self._tcp.aclose()

    def _decrypt(self) -> bytes:
        parts = []
        read, pending = self._tls.read, self._incoming
        try:
            while True:
                part = read(_READ_SIZE)
                if not part:
                    self._ended = True
                    break
                parts.append(part)
                if not pending.pending and not self._tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            if not parts:
                raise trio.BrokenResourceError from error
            self._ended = True
        return b"".join(parts)

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._tcp.send_all(data)
