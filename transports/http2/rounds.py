"""Serves busy connections together, a few hundred times a second, and not one by one as their packets come.

Over a real network answers come one at a time, and with each of them a little of the window. Whoever reads at each
packet pays a turn of the event loop, a read, a decryption and a write for a few pushes. What waits in the kernel for a
few milliseconds is read in one go. docs/adr/0035-busy-connections-are-read-in-rounds.md says what it costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

REST = 4
"""Times as long as a round took it rests afterwards: rounds take a fifth of the time, however little comes."""
SHORT, LONGEST = 0.002, 0.01
"""Seconds of such a rest, at least and at most."""
SHORTEST = 0.001
"""Seconds of a rest while a window is empty: each moment costs that window's rate. If the last rest ended more than
``TICK`` too late, it is longer by what that was more, for then there is no core to spare for more rounds. Connections
are read and written to one by one then, so that none of them waits for what another one has brought."""
TICK = 0.001
"""Seconds in which epoll counts: any rest may end so much too late, while cores are idle."""
CROWD = 32
"""Requests in flight on one connection from which on it is busy. With fewer, each answer is read as it comes."""
PLENTY = 128
"""Requests that one read has settled: a connection that brings so many at once, as over loopback, needs no rounds."""


class Member(Protocol):
    """A connection as the rounds see it. Its methods never raise."""

    @property
    def busy(self) -> bool:
        """Whether it stays in the rounds; False: it is not busy any more, or it has ended."""

    @property
    def starved(self) -> bool:
        """Whether its window is empty."""

    def read_now(self) -> bool:
        """Take what has arrived. False: there was nothing."""

    def write_now(self) -> None:
        """Send what is due."""


class Rounds:
    """The rounds of one pool. ``progress`` is called between reads and writes."""

    def __init__(self, progress: Callable[[], None]) -> None:
        self._progress = progress
        self._members: dict[Member, trio.Event] = {}
        self._joined = trio.Event()

    async def serve(self, member: Member) -> None:
        """Serve it until it is not busy any more."""
        self._members[member] = left = trio.Event()
        self._joined.set()
        try:
            await left.wait()
        finally:
            self._members.pop(member, None)

    async def run(self) -> None:
        """Make rounds until cancelled."""
        while True:
            await self._joined.wait()
            self._joined = trio.Event()
            late = took = 0.0
            while self._members:
                starved = any(member.starved for member in self._members)
                rest = SHORTEST + late if starved else max(SHORT, REST * took)
                due = trio.current_time() + min(rest, LONGEST)
                await trio.sleep_until(due)
                began = trio.current_time()
                late = max(0.0, began - due - TICK)
                groups = [[member] for member in self._members] if starved else [list(self._members)]
                for group in groups:
                    self._turn(group)
                took = trio.current_time() - began

    def _turn(self, members: list[Member]) -> None:
        """Read all of these, and then write to all of them."""
        found = [member.read_now() for member in members]
        if any(found):
            self._progress()
        for member in members:
            member.write_now()
            if not member.busy and (left := self._members.pop(member, None)) is not None:
                left.set()
