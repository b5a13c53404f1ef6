"""The sink that only counts, at the far end of a ``DistantNetwork``: round trip, window, slow answers and dead phones.

Everything that the network delays is delayed here, on the way back: an answer, the window's credit, a PING.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Final

import trio

from simulators.distant_network import DistantNetwork
from simulators.sink import ANSWER, SinkLink, serve_links

TICK: Final = 0.01
"""Seconds. What is due in one tick is sent in one write; a time is rounded to the nearest, so the mean stays."""
_ROUND_TRIPS = 2
"""Of a TCP and a TLS 1.3 handshake, before the client may send."""


class Answers:
    """All answers of a sink, in the order in which its requests arrive."""

    def __init__(self, network: DistantNetwork) -> None:
        self.asked = 0
        self.dead = 0
        self._draws: Iterator[tuple[int, bool]] = cycle([(round(wait / TICK), dead) for wait, dead in network.draws()])
        body = b'{"reason":"Unregistered","timestamp":%d}' % (time.time_ns() // 1_000_000 + 60_000)
        self._gone = b"\x00" + len(body).to_bytes(2, "big") + b"\x00\x01", body

    def put(self, due: dict[int, list[bytes]], now: int, first: int, streams: list[bytes]) -> None:
        """Put an answer to each of these streams into ``due``: tick → octets. ``first``: the next tick to be sent."""
        draws = self._draws
        front, block = ANSWER
        for stream in streams:
            wait, dead = next(draws)
            tick = now + wait if now + wait > first else first
            octets = due.get(tick)
            if octets is None:
                octets = due[tick] = []
            if dead:
                head, body = self._gone
                octets += (b"\x00\x00\x05\x01\x04", stream, b"\x08\x03410", head, stream, body)
                self.dead += 1
            else:
                octets += (front, stream, block)
        self.asked += len(streams)


class DistantLink(SinkLink):
    """One client's connection."""

    def __init__(self, stream: trio.abc.Stream, network: DistantNetwork, answers: Answers) -> None:
        super().__init__(stream, network.streams, 0.0, network.window, credit=0)
        self._answers = answers
        self._back = round(network.round_trip / TICK)
        self._due: dict[int, list[bytes]] = {self._tick(): [word for _, word in self._out]}
        self._sent = self._tick() - 1

    @staticmethod
    def _tick() -> int:
        return int(trio.current_time() / TICK + 1e-6)

    @staticmethod
    def _nearest() -> int:
        return round(trio.current_time() / TICK)

    async def write(self) -> None:
        """Send what is due, for ever."""
        due = self._due
        while True:
            while due:
                tick = self._tick()
                while self._sent < tick:
                    self._sent += 1
                    if octets := due.pop(self._sent, None):
                        await self.stream.send_all(b"".join(octets))
                await trio.sleep_until((tick + 1) * TICK)
            await self.wake.park()
            self._sent = self._tick() - 1

    def say(self, words: bytes) -> None:
        """Send frames that are no answers."""
        tick = max(self._nearest() + self._back, self._sent + 1)
        self._due.setdefault(tick, []).append(words)

    def answer(self, streams: list[bytes]) -> None:
        """Answer the requests of these streams."""
        self._answers.put(self._due, self._nearest(), self._sent + 1, streams)


async def serve_distant_sink(
    context: ssl.SSLContext,
    network: DistantNetwork,
    answers: Answers,
    *,
    port: int = 0,
    announce: Callable[[int], None] = lambda port: None,
    opened: Callable[[SinkLink], None] = lambda link: None,
) -> None:
    """Serve until cancelled. ``announce`` is called with the port, ``opened`` with each connection."""

    async def shake_hands() -> None:
        await trio.sleep(_ROUND_TRIPS * network.round_trip)

    def make(stream: trio.abc.Stream) -> SinkLink:
        link = DistantLink(stream, network, answers)
        opened(link)
        return link

    await serve_links(context, make, port=port, announce=announce, before=shake_hands)
