"""Tells the service manager that started this process (systemd, or another that speaks sd_notify) how it stands.

Source: the manuals sd_notify(3) and systemd.service(5).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping

import trio

EVERY = 5.0
"""Seconds between two messages while the node starts or stops: what it waits for may take as long as it needs …"""
LEAVE = 30
"""… as long as one arrives within so many seconds of the last one."""


PATIENCE = 0.2
"""Seconds for which a message waits while the manager reads nothing. The loop stands still meanwhile."""


class ServiceManager:
    """The way to the service manager; silent without one."""

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        """``address``: of its Unix socket, None without one; ``watchdog``: seconds without a message that it allows."""
        self._address = address
        self._watchdog = watchdog

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Read the environment, and take out what is meant for this process alone: its children must not speak."""
        address = environment.pop("NOTIFY_SOCKET", None)
        allowed = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        seconds = int(allowed) / 1e6 if meant and allowed.isdigit() and int(allowed) else None
        return cls(address, seconds)

    def tell(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``. One that is gone is not waited for."""
        if self._address is None:
            return
        # "@" stands for the zero octet of an abstract name
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.settimeout(PATIENCE)
            end.sendto("\n".join(lines).encode(), address)

    def ready(self, status: str) -> None:
        """The node serves."""
        self.tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The node drains: said at once, for that may be over before `watch` looks again."""
        self.tell("STOPPING=1", "WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={LEAVE * 1_000_000}", "STATUS=draining")

    async def watch(self, state: Callable[[], str]) -> None:
        """Say that the node is alive, until cancelled: as long as its loop turns and its supervisor has a state.

        While it starts (a store may load a large base) and while it drains, ask for more time instead.
        """
        if self._address is None:
            return
        every = EVERY if self._watchdog is None else min(EVERY, self._watchdog / 3)
        while True:
            match state():
                case "starting":
                    self.tell("WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={LEAVE * 1_000_000}", "STATUS=starting")
                case "running":
                    self.tell("WATCHDOG=1")
                case "stopping":
                    self.stopping()
            await trio.sleep(every)
