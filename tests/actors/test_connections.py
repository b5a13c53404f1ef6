"""How many connections a channel has: as many as its windows and streams make it need, and no more."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import trio
import trio.testing

from simulators.distant_network import DistantNetwork
from simulators.faults.latency import Latency
from tests.actors.channel_group import Group, MemoryTubes
from tests.actors.distant_provider import DistantProvider
from transports.http2.growth import AHEAD, BUSY, IDLE

BODY = 1_024
SLOW = 0.02
"""Seconds of the sink's turns: these tests last for minutes."""
WINDOW = DistantNetwork(round_trip=0.06, window=65_535)
STREAMS = DistantNetwork(round_trip=0.06, window=1 << 24, streams=100)


async def sent(transport: DistantProvider, batches: int, seconds: float) -> Group:
    group = Group(MemoryTubes(batches, 500), transport, hands=40)
    await group.run(seconds)
    return group


async def test_connections_are_opened_one_a_second_while_windows_or_streams_are_full(autojump_clock: Any) -> None:
    """24.2: a constant number of them, with a window of 65,535 octets, was a fraction of what the cores send."""
    for network in (WINDOW, STREAMS):
        transport = DistantProvider(network, BODY, connections=2, most=6, turn=SLOW)
        began = trio.current_time()
        await sent(transport, 60, 15)
        assert len(transport.opened) == 6
        grown = [at - began for at in transport.opened[1:]]
        assert all(later - earlier >= 0.99 for earlier, later in pairwise(grown))
        assert grown[-1] <= 8.0


async def test_a_provider_that_takes_all_that_comes_gets_no_more_connections(autojump_clock: Any) -> None:
    transport = DistantProvider(DistantNetwork(round_trip=0.06, window=1 << 24), BODY, connections=2, most=6, turn=SLOW)
    tubes = MemoryTubes(40, 100)
    group = Group(tubes, transport, hands=2)
    await group.run(10)
    assert len(transport.opened) == 2


async def test_late_answers_that_keep_the_batches_in_hand_bring_more_connections_too(autojump_clock: Any) -> None:
    """24.2: nothing waited, and no stream was missing, so a channel stayed at half of what its node sends."""
    late = DistantNetwork(window=1 << 24, answers=Latency(p50=60.0, p99=500.0), late=0.005)
    transport = DistantProvider(late, 250, connections=2, most=6, turn=SLOW)
    await Group(MemoryTubes(800, 500), transport, hands=10).run(15)
    assert len(transport.opened) == 6


async def test_a_worker_without_a_core_to_spare_opens_no_more(autojump_clock: Any) -> None:
    transport = DistantProvider(WINDOW, BODY, connections=2, most=6, turn=SLOW)
    transport.busy = 0.9
    await sent(transport, 60, 15)
    assert len(transport.opened) == 2


async def test_connections_that_carry_nothing_for_minutes_are_let_go_down_to_the_least(autojump_clock: Any) -> None:
    transport = DistantProvider(WINDOW, BODY, connections=2, most=4, turn=SLOW)
    group = Group(MemoryTubes(40, 500), transport, hands=40)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, IDLE + 60)
        await trio.sleep(20)
        assert transport.pool.load.connections == 4
        await trio.sleep(IDLE + 20)
        assert (transport.pool.load.connections, transport.pool.wanted) == (2, 2)


async def test_what_connections_wait_for_is_said(autojump_clock: Any) -> None:
    for network, full in ((WINDOW, (2, 0)), (STREAMS, (0, 2))):
        transport = DistantProvider(network, BODY, connections=2, turn=SLOW)
        group = Group(MemoryTubes(20, 500), transport, hands=40)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.run, 8)
            await trio.sleep(1.05)
            load = transport.pool.load
            assert (load.connections, load.by_window, load.by_streams) == (2, *full)
        assert transport.pool.load[2:] == (0, 0)


async def test_what_a_campaign_could_have_filled_is_opened_after_it(autojump_clock: Any) -> None:
    """24.2: one a second is slow; whoever had too few in the last campaign has enough in the next one."""
    transport = DistantProvider(WINDOW, BODY, connections=2, most=12, turn=SLOW)
    transport.busy = 0.2
    began = trio.current_time()
    group = Group(MemoryTubes(10, 500), transport, hands=40)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 60)
        await trio.sleep(4)
        assert sum(each.tallies.get("delivered", 0) for each in group.tubes.settled) > 4_900, "the campaign is over"
        few = len(transport.opened)
        assert few <= 5
        await trio.sleep(AHEAD)
        assert transport.pool.wanted == len(transport.opened) > few
        assert transport.pool.wanted >= 2 * BUSY / 0.2, "with 2 the thread was busy for a fifth of the time"
    grown = [at - began for at in transport.opened[1:]]
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(grown)), "not faster than else"


async def test_connections_are_opened_when_news_is_written_as_the_last_news_needed_them(autojump_clock: Any) -> None:
    transport = DistantProvider(WINDOW, BODY, connections=2, most=5, turn=SLOW)
    group = Group(MemoryTubes(60, 500), transport, hands=40)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, IDLE + AHEAD + 120)
        await trio.sleep(IDLE + AHEAD + 60)
        assert transport.pool.wanted == 2, "the last news is long ago"
        transport.pool.probe()
        await trio.sleep(5)
        assert transport.pool.load.connections == 5
