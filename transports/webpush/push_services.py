"""The push services that a channel's browsers belong to: a pool of connections for each, opened with its first push.

There are a few large ones, and a long tail (Microsoft has a host for each region). At most :data:`MOST` pools are open;
for another one the pool that was idle for the longest ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from transports.http2.pool import Pool
from transports.traffic import quantile

MOST = 64
"""Pools of a channel in one worker."""
PATIENCE = 5.0
"""Seconds for which a push service may be away, before pushes for it go back at once: others must not wait for it."""
HANGS = 1.0
"""Seconds without any answer to many pushes, after which a push service hangs: no more is begun there for now …"""
TIMES_USUAL = 2.0
"""… unless its answers usually take longer: so many times the median of those before."""
MANY = 8
"""A few pushes may all be slow."""
LOOK_EVERY = 0.25
"""Seconds between two looks for such services."""


class PushService:
    """One push service, and its connections."""

    def __init__(self, authority: str, pool: Pool) -> None:
        self.authority = authority
        self.pool = pool
        self.users = 0
        """ByService of batches that are with it."""
        self.used = self.opened = trio.current_time()
        self.closed_until = -math.inf
        """It has asked for a pause until then, on ``trio.current_time()``."""
        self.refuses: str | None = None
        """Why it takes no push of ours, in one sentence; None: nothing is known against it."""


class PushServices:
    """Opens and ends the pools."""

    def __init__(self, make: Callable[[str], Pool], most: int = MOST) -> None:
        """``make``: authority → its pool."""
        self._make = make
        self._most = most
        self._open: dict[str, PushService] = {}
        self._stopping = trio.Event()
        self._freed = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def pools(self) -> list[Pool]:
        """The pools that are open."""
        return [each.pool for each in self._open.values()]

    def away(self, service: PushService) -> bool:
        """Whether a service was not reachable, or has answered nothing, for a while, and another one is well."""
        return _is_sick(service) and any(
            each.pool.outage is None and not _is_sick(each) for each in self._open.values() if each is not service
        )

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the pools until stopped."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._look)
                ready()
                await self._stopping.wait()
        finally:
            self._stopping.set()
            self._nursery = None
            self._open.clear()

    async def _look(self) -> None:
        """Let no service that answers nothing keep what it has not begun: whole batches would wait with it."""
        while not self._stopping.is_set():
            for service in self._open.values():
                if self.away(service):
                    service.pool.withdraw(f"{service.authority} is away")
            with trio.move_on_after(LOOK_EVERY):
                await self._stopping.wait()

    def stop(self) -> None:
        """Begin nothing new; end :meth:`run` once everything in flight is settled."""
        self._stopping.set()
        self._freed.set()
        for service in self._open.values():
            service.pool.stop()

    async def enter(self, authority: str) -> PushService | None:
        """Return a push service for as long as :meth:`leave` is not called; None: nothing more is begun.

        Waits while as many as may be open are in use.
        """
        while not self._stopping.is_set() and self._nursery is not None:
            service = self._open.get(authority)
            if service is None and (len(self._open) < self._most or self._end_oldest()):
                service = self._open[authority] = PushService(authority, self._make(authority))
                self._nursery.start_soon(service.pool.run, _nothing)
            if service is not None:
                service.users += 1
                return service
            await self._freed.wait()
        return None

    def leave(self, service: PushService) -> None:
        """The counterpart of :meth:`enter`."""
        service.users -= 1
        service.used = trio.current_time()
        if not service.users:
            self._freed.set()
            self._freed = trio.Event()

    def _end_oldest(self) -> bool:
        idle = [each for each in self._open.values() if not each.users]
        if not idle:
            return False
        oldest = min(idle, key=lambda each: each.used)
        del self._open[oldest.authority]
        oldest.pool.stop()
        return True


def _is_sick(service: PushService) -> bool:
    pool = service.pool
    since = max(service.opened, pool.outage_since)  # a pool that has not begun knows no time
    lost = pool.outage is not None and trio.current_time() - since > PATIENCE
    if lost or pool.in_flight < MANY or (silence := pool.silence) <= HANGS:
        return lost
    return silence > TIMES_USUAL * (quantile(pool.traffic.answers, 0.5) or 0.0)


def _nothing() -> None:
    """A pool is ready when its first push is."""


def matches(authority: str, allowed: str) -> bool:
    """Whether ``allowed`` means this push service: its host, with a port if it has one, or ``*.`` and a domain."""
    return authority.endswith(allowed[1:]) if allowed.startswith("*.") else authority == allowed
