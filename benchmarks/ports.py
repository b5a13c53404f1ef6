"""Ports for the servers of a bench."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_FIRST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now, and that no client's connection takes before a server binds them.

    The kernel gives clients ports of a range of its own (Linux: from 32,768 on), so these are below it.
    """
    below = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    drawn = random.SystemRandom()
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            port = drawn.randrange(_FIRST, below)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    return found
