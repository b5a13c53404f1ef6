"""A door: one listener of the API, who may come in, and how many."""

from __future__ import annotations

import math
import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address

import structlog
import trio
from starlette.types import ASGIApp

log = structlog.get_logger(__name__)

RATE = 100.0
"""Connections a second, and in one burst, from clients that do not send the key: each costs CPU."""


@dataclass(eq=False)
class Door:
    """One listener, and the limits for its clients."""

    listener: trio.SocketListener
    trusted: bool = False
    """Whether only the data folder's owner can connect: no client is slowed down, and all count as having the key."""
    tls: ssl.SSLContext | None = None
    """To serve by TLS."""
    app: ASGIApp | None = None
    """Its own application; None: the server's."""
    hosts: Collection[IPv4Network | IPv6Network] = ()
    """Where clients may connect from, besides this machine; none: from everywhere."""
    connections: int = 100
    """Connections at once. A further one replaces the connection that has waited longest for a request."""
    _credit: float = field(default=0.0, init=False)
    _at: float = field(default=-math.inf, init=False)

    async def accept(self) -> trio.SocketStream | None:
        """Return the next connection; None if it could not be accepted."""
        if not self.trusted:
            now = trio.current_time()
            self._credit = min(RATE, self._credit + (now - self._at) * RATE)
            self._at = now
            if self._credit < 1:
                await trio.sleep((1 - self._credit) / RATE)
            self._credit -= 1
        try:
            return await self.listener.accept()
        except OSError as error:
            log.warning("a connection cannot be accepted", why=str(error))
            await trio.sleep(0.1)
            return None

    def admits(self, stream: trio.SocketStream) -> bool:
        """Whether a client may connect from where it is."""
        if not self.hosts:
            return True
        address = ip_address(stream.socket.getpeername()[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or any(address in network for network in self.hosts)

    def known(self) -> None:
        """Refund a connection's cost in the rate limit: its client has sent the key."""
        self._credit += 1
