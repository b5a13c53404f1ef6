"""Late answers: who is delivered is settled, and the hands take the next batches meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from simulators.distant_network import DistantNetwork
from simulators.faults.latency import Latency
from storage.records import Settlement
from tests.actors.channel_group import Group, MemoryTubes, ScriptedTransport, delivered
from tests.actors.distant_provider import DistantProvider

LOG_NORMAL = Latency(p50=60.0, p99=500.0)


async def reached(tubes: MemoryTubes, enough: int) -> float:
    """The moment at which this number is delivered and settled."""
    while sum(each.tallies.get("delivered", 0) for each in tubes.settled) < enough:  # noqa: ASYNC110 - virtual time
        await trio.sleep(0.01)
    return trio.current_time()


@pytest.mark.parametrize("window", [65_535, 1 << 24])
async def test_late_answers_leave_nine_tenths_of_what_windows_and_streams_carry(
    autojump_clock: Any, window: int
) -> None:
    """24.1: a batch of 500 ended with its slowest answer, and every hand waited for one."""
    network = DistantNetwork(round_trip=0.06, window=window, answers=LOG_NORMAL, late=0.005, dead=0.01)
    transport = DistantProvider(network, 250, connections=2, turn=0.002)
    carried = 2 * network.carries(250)
    batches = int(3 * carried / 500)
    tubes = MemoryTubes(batches, 500)
    group = Group(tubes, transport, hands=14)
    rates = []
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            began = await reached(tubes, batches * 50)
            ended = await reached(tubes, batches * 400)
            rates.append(batches * 350 / (ended - began))

        nursery.start_soon(watch)
        await group.run(30)
    assert rates[0] >= 0.9 * carried


class CountedTubes(MemoryTubes):
    """Remembers when ``settle`` was called, and with how many settlements."""

    def __init__(self, batches: int, size: int) -> None:
        super().__init__(batches, size)
        self.calls: list[tuple[float, int]] = []

    async def settle(self, channel: str, settlements: list[Settlement]) -> list[bool]:
        self.calls.append((trio.current_time(), len(settlements)))
        return await super().settle(channel, settlements)


async def test_parts_and_what_they_leave_share_their_calls_to_the_queue(autojump_clock: Any) -> None:
    """24: two settlements a batch, each in a call of its own, cost as much again as the batch."""
    network = DistantNetwork(round_trip=0.06, window=1 << 24, answers=LOG_NORMAL, late=0.005, dead=0.01)
    tubes = CountedTubes(150, 500)
    group = Group(tubes, DistantProvider(network, 250, connections=4, turn=0.005), hands=28)
    await group.run(15)
    sizes = [size for _, size in tubes.calls]
    assert sum(sizes) > 300, "each batch has a part, and what it left"
    assert sum(sizes) / len(sizes) >= 3


async def test_a_batch_that_is_answered_whole_is_settled_at_once(autojump_clock: Any) -> None:
    tubes = CountedTubes(1, 500)
    transport = ScriptedTransport(delivered, seconds=0.05)
    began = trio.current_time()
    await Group(tubes, transport).run(2)
    assert tubes.calls == [(pytest.approx(tubes.takes[0] + 0.05), 1)]
    assert tubes.calls[0][0] - began < 0.1
