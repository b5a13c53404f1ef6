"""A channel's real pool and the sink that only counts, with a network between them, in virtual time."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from campaigns.batch import Batch
from campaigns.outcome import Death, Outcome
from simulators.distant_network import DistantNetwork
from simulators.distant_sink import Answers, DistantLink, take_turns
from transports.contract import Outcomes
from transports.decision import Decision
from transports.dispatch import Dispatch
from transports.http2 import pool as pools
from transports.http2.connection import Origin, Timing
from transports.http2.messages import Answer, Template
from transports.http2.pool import Pool

TURN = 0.001
"""Seconds of the sink's turns, where each packet counts."""


class MemoryWire:
    """One end of a connection in memory, as a connection's stream (``Wire``) and as the sink's (``Polled``)."""

    protocol = "h2"

    def __init__(self) -> None:
        self.other: MemoryWire
        self._arrived = b""
        self._ended = False
        self._news = trio.Event()

    async def receive_some(self) -> bytes:
        while (data := self.receive_now()) is None:
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        return data

    def waiting(self) -> bool:
        return bool(self._arrived) or self._ended

    def receive_now(self) -> bytes | None:
        data, self._arrived = self._arrived, b""
        if data or self._ended:
            return data
        self._news = trio.Event()
        return None

    def send_now(self, data: bytes) -> bool:
        self.other._arrived += data
        self.other._news.set()
        return True

    async def send_all(self, data: bytes) -> None:
        self.send_now(data)
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self.other._ended = True
        self.other._news.set()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


def wires() -> tuple[MemoryWire, MemoryWire]:
    """Both ends of a connection."""
    ours, theirs = MemoryWire(), MemoryWire()
    ours.other, theirs.other = theirs, ours
    return ours, theirs


class DistantProvider:
    """A transport to a sink behind ``network``."""

    outage = quota = None

    def __init__(
        self, network: DistantNetwork, body: int, connections: int, most: int | None = None, turn: float = TURN
    ) -> None:
        """``turn``: seconds of the sink's turns."""
        self.network = network
        self.answers = Answers(network, turn)
        self.opened: list[float] = []
        """When each connection was opened."""
        self.links: list[DistantLink] = []
        """The sink's ends of its connections."""
        self.busy = 0.0
        """The share of its time in which the worker's thread is busy."""
        self.pool = Pool(
            Origin("sink", 443),
            context=ssl.create_default_context(),
            connections=connections,
            most=most,
            busy=lambda: self.busy * trio.current_time(),
            timing=Timing(),
        )
        self._body = b"x" * body
        self._template = Template(b"sink", b"/3/device/", (), b"apns-id", b"0" * 20)

    async def run(self, ready: Callable[[], None]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            async with trio.open_nursery() as nursery:

                async def dial(*_: Any, **__: Any) -> MemoryWire:
                    await trio.sleep(2 * self.network.round_trip)
                    ours, theirs = wires()
                    self.links.append(DistantLink(theirs, self.network, self.answers))
                    self.opened.append(trio.current_time())
                    return ours

                patch.setattr(pools, "dial", dial)
                nursery.start_soon(take_turns, self.links, self.answers)
                await self.pool.run(ready)
                nursery.cancel_scope.cancel()

    def stop(self) -> None:
        self.pool.stop()

    async def send(self, batch: Batch) -> Outcomes:
        rows = [(index, b"ab" * 32, b"0" * 16, self._body, ()) for index in range(len(batch.recipients))]
        return await Dispatch(batch, rows, lambda: self._template, _decide, lambda *_: False, lambda: 1000).run(
            self.pool
        )


def _decide(answer: Answer, attempt: int) -> Decision:
    return Decision(Outcome.DEAD, "Unregistered", death=Death.CERTAIN)
