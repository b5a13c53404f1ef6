"""The sink that only counts, at the far end of a ``DistantNetwork``: round trip, window, slow answers and dead phones.

Everything that the network delays is delayed here, on the way back: an answer, the window's credit, a PING.

It shares the cores with what is measured, so it looks at all its connections in one turn, 200 times a second: a turn
reads what has arrived, and sends what is due. What is due between two turns goes with the one or the other by lot, so
that the mean of the times stays. Between turns it only notes which connections have something to read: a client that
answers at once what a turn has sent would else seem to be half a turn slower than it is.
"""

from __future__ import annotations

import contextlib
import math
import random
import socket
import ssl
import struct
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import cycle
from typing import Final, Protocol

import trio

from simulators.distant_network import DistantNetwork
from simulators.polled_tls import PolledTls
from simulators.sink import ANSWER, HEAD, PREFACE, RequestCounter, settings

TURN: Final = 0.005
"""Seconds from one turn to the next."""
LOOKS: Final = 5
"""How often in a turn it notes who has something to read."""
_ROUND_TRIPS = 2
"""Of a TCP and a TLS 1.3 handshake, before the client may send."""
_PATIENCE = 10.0
"""Seconds for a handshake."""
_WHOLE_BLOCK, _LAST_BODY = (1, 4), (0, 1)
"""Type and flags: HEADERS with END_HEADERS, and DATA with END_STREAM (RFC 9113 §6.1, §6.2)."""


class Polled(Protocol):
    """The sink's end of a connection; :class:`PolledTls` is one."""

    def waiting(self) -> bool:
        """Whether there is something to read, or the client has gone."""

    def receive_now(self) -> bytes | None:
        """Return what has arrived; None: nothing; empty: the client has gone."""

    def send_now(self, data: bytes) -> object:
        """Send without waiting. Raises ``OSError``."""

    def close(self) -> None:
        """Close."""


class Answers:
    """All answers of a sink, in the order in which its requests arrive."""

    def __init__(self, network: DistantNetwork, turn: float = TURN) -> None:
        """``turn``: seconds from one turn to the next."""
        self.asked = 0
        self.dead = 0
        self.turn = turn
        rng = random.Random("turns")  # noqa: S311
        body = b'{"reason":"Unregistered","timestamp":%d}' % (time.time_ns() // 1_000_000 + 60_000)
        gone = b"\x08\x03410\x00" + len(body).to_bytes(2, "big") + b"\x00\x01", body
        self._draws = cycle([(max(1, self.turns(wait, rng)), gone if dead else None) for wait, dead in network.draws()])

    def now(self) -> int:
        """The number of the latest turn."""
        return int(trio.current_time() / self.turn + 1e-6)

    def turns(self, seconds: float, rng: random.Random, age: float = 0.5) -> int:
        """Turns after the one that reads a request. ``age``: turns that have passed by then since it came."""
        return math.floor(seconds / self.turn - age + rng.random())

    def put(self, due: dict[int, list[bytes]], now: int, streams: list[bytes]) -> None:
        """Put an answer to each of these streams into ``due``: turn → octets."""
        front, block = ANSWER
        for stream, (wait, gone) in zip(streams, self._draws, strict=False):
            if gone is None:
                due[now + wait] += (front, stream, block)
            else:
                head, body = gone
                due[now + wait] += (b"\x00\x00\x05\x01\x04", stream, head, stream, body)
                self.dead += 1
        self.asked += len(streams)


class DistantLink(RequestCounter):
    """One client's connection, driven by the sink's turns."""

    def __init__(self, wire: Polled, network: DistantNetwork, answers: Answers) -> None:
        super().__init__(credit=0)
        self.wire = wire
        self._answers = answers
        self._rng = random.Random("link")  # noqa: S311
        self._round_trip = network.round_trip
        self._greeting = b""
        self._now = answers.now()
        self._came: float | None = None
        self._age = 0.5  # turns since what was read has come: nobody has looked
        self._due: defaultdict[int, list[bytes]] = defaultdict(list)
        self._due[self._now + 1].append(settings(network.streams, network.window))

    def look(self) -> None:
        """Note whether something has come."""
        if self._came is None and self.wire.waiting():
            self._came = trio.current_time()

    def turn(self, now: int) -> bool:
        """Send what is due, and read. ``now``: the number of this turn. False: the client has gone."""
        due = self._due
        try:
            while self._now < now:
                self._now += 1
                if octets := due.pop(self._now, None):
                    self.wire.send_now(b"".join(octets))
            self.wire.send_now(b"")
        except OSError:
            return False
        data = self.wire.receive_now()
        if self._came is not None:
            age = (trio.current_time() - self._came) / self._answers.turn + 0.5 / LOOKS
            self._age = min(1.5, age)  # of a turn that is late
            self._came = None
        if data and len(self._greeting) < len(PREFACE):
            self._greeting += data
            data = self._greeting[len(PREFACE) :]
        if data:
            self.feed(data)
            with contextlib.suppress(OSError):  # the next turn says so
                self.wire.send_now(b"".join(due.pop(now, ())))
        return data != b"" or len(self._greeting) <= len(PREFACE)

    def close(self) -> None:
        """Close."""
        self.wire.close()

    def say(self, words: bytes) -> None:
        """Send frames that are no answers."""
        wait = self._answers.turns(self._round_trip, self._rng, self._age)
        self._due[self._now + max(0, wait)].append(words)

    def answer(self, streams: list[bytes]) -> None:
        """Answer the requests of these streams."""
        self._answers.put(self._due, self._now + self._answers.turns(0.0, self._rng, self._age - 0.5), streams)

    def feed(self, data: bytes | bytearray) -> None:
        """Take requests that are alike at once, and the rest one by one."""
        data = bytes(self._buffer + data)
        self._buffer = b""
        streams, position, octets = alike(data)
        if streams:
            self.count += len(streams)
            self._taken += octets
            self.answer(streams)
        super().feed(data[position:])


def alike(data: bytes) -> tuple[list[bytes], int, int]:
    """Read the requests at the beginning that are as long as the first: a header block and a body, each in one frame.

    Returns their streams, where they end, and the octets of their bodies.
    """
    head = HEAD.size
    if len(data) < 2 * head:
        return [], 0, 0
    high, block, kind, flags, _ = HEAD.unpack_from(data)
    start = head + block
    if high or (kind, flags) != _WHOLE_BLOCK or len(data) < start + head:
        return [], 0, 0
    high, body, kind, flags, _ = HEAD.unpack_from(data, start)
    if high or (kind, flags) != _LAST_BODY:
        return [], 0, 0
    size = start + head + body
    request = struct.Struct(f"5s4s{block}x5s{4 + body}x")
    both = data[:5], data[start : start + 5]
    streams = []
    for block_head, stream, body_head in request.iter_unpack(memoryview(data)[: len(data) // size * size]):
        if (block_head, body_head) != both:
            break
        streams.append(stream)
    return streams, len(streams) * size, len(streams) * body


async def serve_distant_sink(
    context: ssl.SSLContext,
    network: DistantNetwork,
    answers: Answers,
    *,
    port: int = 0,
    opened: Callable[[DistantLink], None] = lambda link: None,
) -> None:
    """Serve until cancelled. ``opened`` is called with each connection."""
    links: list[DistantLink] = []

    async def shake_hands(tcp: trio.SocketStream) -> None:
        await trio.sleep(_ROUND_TRIPS * network.round_trip)
        wire = PolledTls(socket.socket(fileno=tcp.socket.detach()), context)
        shaken = False
        try:
            with trio.move_on_after(_PATIENCE), contextlib.suppress(OSError):  # a client that only looked, and went
                await wire.shake_hands()
                shaken = True
        finally:
            if not shaken:
                wire.close()
        if shaken:
            link = DistantLink(wire, network, answers)
            links.append(link)
            opened(link)

    try:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, shake_hands, listeners)
            await take_turns(links, answers)
    finally:
        for link in links:
            link.close()


async def take_turns(links: list[DistantLink], answers: Answers) -> None:
    """Drive all links until cancelled, and remove those whose client has gone."""
    while True:
        now = answers.now() + 1
        for part in range(LOOKS - 1, -1, -1):
            await trio.sleep_until((now - part / LOOKS) * answers.turn)
            for link in links:
                link.look()
        for link in list(links):
            if not link.turn(now):
                link.close()
                links.remove(link)
