"""Connects to a host that a stranger has named: only to a public address, and only to one that was looked at.

A name may lead into our own network (server-side request forgery), and lead elsewhere at each look-up.
"""

from __future__ import annotations

import ipaddress
import socket

import trio

TRY = 3.0
"""Seconds for one address while there are others."""


def is_public(address: str) -> bool:
    """Whether an address is neither private, loopback, link-local, multicast, reserved nor unspecified."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and (inner := found.ipv4_mapped or found.sixtofour) is not None:
        found = inner
    return found.is_global and not found.is_multicast


async def open_public(host: str, port: int) -> trio.SocketStream:
    """Look ``host`` up once, and connect to one of its addresses. Raises ``OSError``, also if one is not public."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not is_public(address):
            raise OSError(f"{address} is no public address: nothing is sent there")
    fault: OSError = OSError("no address")
    for place, address in enumerate(addresses):
        with trio.move_on_after(TRY if place < len(addresses) - 1 else float("inf")):
            try:
                return await trio.open_tcp_stream(address, port)
            except OSError as error:
                fault = error
    raise fault
