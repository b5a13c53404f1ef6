"""TLS over a TCP socket for one reader and one writer: one encryption and one system call a turn.

Trio's own streams return one TLS record at a time, try each system call before they wait for it, and yield to other
tasks after it. With a server that answers each push in a record of its own, that is the most expensive part of a push.
"""

from __future__ import annotations

import socket
import ssl
from typing import cast

import trio

_READ_SIZE = 65_536
_RECORD = 16_384
"""Most octets of a record (RFC 8446 §5.1). Records are filled: at 4,096 octets a push costs 16 % more CPU (`./dev
bench choices`)."""


class TlsStream(trio.abc.AsyncResource):
    """The client's side. ``receive_some`` returns everything that one read of the socket brought."""

    def __init__(self, tcp: trio.SocketStream, context: ssl.SSLContext, host: str) -> None:
        """Take the socket over from ``tcp``. ``host``: the name that must be in the certificate."""
        self._socket = socket.socket(fileno=tcp.socket.detach())
        self._socket.setblocking(False)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = memoryview(b"")
        # Records are decrypted into this buffer one after another: with a server that answers each push in a record of
        # its own, each would otherwise cost an allocation.
        self._clear = memoryview(bytearray(_READ_SIZE + _RECORD))
        # Bytes that the peer sent right after its handshake have been read with it.
        self._unread = True
        self._ended = False

    @property
    def protocol(self) -> str | None:
        """The protocol that ALPN has chosen (RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    async def do_handshake(self) -> None:
        """Shake hands, and check the certificate. Raises ``trio.BrokenResourceError``."""
        while True:
            fault = self._shake()
            await self._flush()  # also after a fault: the peer gets an alert
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
        """Return the bytes that have arrived; empty at the end. Raises ``trio.BrokenResourceError``."""
        while not self._ended:
            if not self._unread:
                data = await self._receive()
                if not data:
                    break  # no close_notify needed: HTTP/2 sees a cut by GOAWAY and by open streams
                self._incoming.write(data)
            self._unread = False
            if clear := self._decrypt():
                return clear
        await trio.lowlevel.checkpoint()
        return b""

    def receive_now(self) -> bytes | None:
        """Return the bytes that have arrived; empty at the end; None: there are none yet.

        Raises ``trio.BrokenResourceError``. Must not be called while ``receive_some`` runs.
        """
        if self._ended:
            return b""
        if not self._unread:
            try:
                data = self._socket.recv(_READ_SIZE)
            except BlockingIOError:
                return None
            except OSError as error:
                raise trio.BrokenResourceError from error
            if not data:
                self._ended = True
                return b""
            self._incoming.write(data)
        self._unread = False
        return self._decrypt() or (b"" if self._ended else None)

    def send_now(self, data: bytes) -> bool:
        """Encrypt, and send what the system takes at once. False: :meth:`send_all` must be called for the rest.

        Raises ``trio.BrokenResourceError``. Must not be called while ``send_all`` runs.
        """
        self._encrypt(data)
        return self._push()

    async def send_all(self, data: bytes) -> None:
        """Encrypt and send, after any bytes left over. Raises ``trio.BrokenResourceError``."""
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
                part = cast(int, read(_RECORD, clear[size:]))  # with a buffer, it returns their number
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
        # Wait first: there is hardly ever something to read yet, and waiting is a checkpoint.
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(_READ_SIZE)
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError from error

    def _push(self) -> bool:
        """Send what the system takes at once. Returns whether that was all."""
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
