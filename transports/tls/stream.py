"""TLS over a TCP socket for one reader and one writer: one encryption and one system call a turn.

Trio's own streams hand out one TLS record at a time, try each system call before they wait for it, and give way after
it. A server that answers each push in a record of its own makes that the most expensive part of a push.
"""

from __future__ import annotations

import socket
import ssl
from typing import cast

import trio

_READ_SIZE = 65_536
_RECORD = 16_384
"""Octets of a record at most (RFC 8446 §5.1). All are filled: in records of 8,192 octets a push costs 6 % more
CPU, of 4,096 16 %, of 1,400, a packet each, 93 % (`./dev bench choices`)."""


class TlsStream(trio.abc.AsyncResource):
    """The client's side. ``receive_some`` gives all that one read of the socket brought."""

    def __init__(self, tcp: trio.SocketStream, context: ssl.SSLContext, host: str) -> None:
        """Takes the socket over from ``tcp``. ``host``: whom the certificate must name."""
        self._socket = socket.socket(fileno=tcp.socket.detach())
        self._socket.setblocking(False)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = memoryview(b"")
        # Clear text goes here, record after record: a server that answers each push in one of its own would have a
        # new piece of memory made for each.
        self._clear = memoryview(bytearray(_READ_SIZE + _RECORD))
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
            data = await self._receive()
            if not data:
                raise trio.BrokenResourceError("the peer closed the connection in the handshake")
            self._incoming.write(data)

    def _shake(self) -> ssl.SSLError | None:
        try:
            self._tls.do_handshake()
        except ssl.SSLError as error:
            return error
        return None

    async def receive_some(self) -> bytes:
        """Whatever has arrived; nothing at the end. Raises ``trio.BrokenResourceError``."""
        while not self._ended:
            if not self._unread:
                data = await self._receive()
                if not data:
                    break  # HTTP/2 says goodbye by itself: what is cut off here is seen by GOAWAY and by streams
                self._incoming.write(data)
            self._unread = False
            if clear := self._decrypt():
                return clear
        await trio.lowlevel.checkpoint()
        return b""

    def send_now(self, data: bytes) -> bool:
        """Encrypt, and send what the system takes at once. False: :meth:`send_all` must be called for the rest.

        Raises ``trio.BrokenResourceError``. Not while ``send_all`` is under way.
        """
        self._encrypt(data)
        return self._push()

    async def send_all(self, data: bytes) -> None:
        """Encrypt and send, after what is left of before. Raises ``trio.BrokenResourceError``."""
        self._encrypt(data)
        await self._flush()

    async def aclose(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()

    def _encrypt(self, data: bytes) -> None:
        try:
            sent = self._tls.write(data) if data else 0
            while sent < len(data):
                sent += self._tls.write(memoryview(data)[sent:])
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error

    def _decrypt(self) -> bytes:
        read, clear, size = self._tls.read, self._clear, 0
        try:
            while size < _READ_SIZE:
                part = cast(int, read(_RECORD, clear[size:]))  # into a buffer it gives their number
                if not part:
                    self._ended = True
                    break
                size += part
            else:
                self._unread = True  # there may be more
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            if not size:
                raise trio.BrokenResourceError from error
            self._ended = True
        return bytes(clear[:size])

    async def _receive(self) -> bytes:
        # Always waiting first: nearly never is there something yet, and it is a checkpoint.
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(_READ_SIZE)
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError from error

    def _push(self) -> bool:
        """Send what the system takes at once; whether that was all."""
        try:
            while True:
                if not self._unsent:
                    if not self._outgoing.pending:
                        return True
                    self._unsent = memoryview(self._outgoing.read())
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def _flush(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._push():
            await trio.lowlevel.wait_writable(self._socket)
        await trio.lowlevel.cancel_shielded_checkpoint()
