"""A channel's real pool and the sink that only counts, with a network between them, in virtual time."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from campaigns.batch import Batch
from campaigns.outcome import Death, Outcome
from simulators.distant_network import DistantNetwork
from simulators.distant_sink import Answers, DistantLink
from transports.contract import Outcomes
from transports.decision import Decision
from transports.dispatch import Dispatch
from transports.http2 import pool as pools
from transports.http2.connection import Origin, Timing
from transports.http2.messages import Answer, Template
from transports.http2.pool import Pool


class MemoryWire:
    """The client's end of a connection in memory."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._rest = b""

    async def receive_some(self) -> bytes:
        return bytes(await self._stream.receive_some(65_536))

    def send_now(self, data: bytes) -> bool:
        self._rest += data
        return False

    async def send_all(self, data: bytes) -> None:
        data, self._rest = self._rest + data, b""
        if data:
            await self._stream.send_all(data)

    async def aclose(self) -> None:
        await self._stream.aclose()


class DistantProvider:
    """A transport to a sink behind ``network``."""

    outage = quota = None

    def __init__(self, network: DistantNetwork, body: int, connections: int, most: int | None = None) -> None:
        self.network = network
        self.answers = Answers(network)
        self.opened: list[float] = []
        """When each connection was opened."""
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

                async def dial(*_: Any) -> MemoryWire:
                    await trio.sleep(2 * self.network.round_trip)
                    ours, theirs = trio.testing.memory_stream_pair()
                    link = DistantLink(theirs, self.network, self.answers)
                    self.opened.append(trio.current_time())
                    nursery.start_soon(self._serve, link)
                    return MemoryWire(ours)

                patch.setattr(pools, "dial", dial)
                await self.pool.run(ready)
                nursery.cancel_scope.cancel()

    async def _serve(self, link: DistantLink) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await link.run()

    def stop(self) -> None:
        self.pool.stop()

    async def send(self, batch: Batch) -> Outcomes:
        rows = [(index, b"ab" * 32, b"0" * 16, self._body, ()) for index in range(len(batch.recipients))]
        return await Dispatch(batch, rows, lambda: self._template, _decide, lambda *_: False, lambda: 1000).run(
            self.pool
        )


def _decide(answer: Answer, attempt: int) -> Decision:
    return Decision(Outcome.DEAD, "Unregistered", death=Death.CERTAIN)
