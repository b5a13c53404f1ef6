"""Busy connections are read in rounds; nobody else waits for one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
import trio

from campaigns.batch import Batch
from campaigns.lane import Lane
from campaigns.message import Message
from campaigns.recipient import Recipient
from simulators.distant_network import DistantNetwork
from simulators.faults.latency import Latency
from tests.actors.distant_provider import TURN, DistantProvider, MemoryWire
from transports.http2.rounds import CROWD, LONGEST, SHORT, SHORTEST, TICK, Rounds

ANSWER = 0.06
FAR = DistantNetwork(round_trip=0.06, window=1 << 24, answers=Latency(constant=60.0))
SCATTERED = DistantNetwork(round_trip=0.06, window=1 << 24, answers=Latency(p50=60.0, p99=500.0))
BUSY = SCATTERED.round_trip + 0.04
"""Seconds after which a third of the answers have come, one by one."""


def batch(size: int, lane: Lane = Lane.MIDDLE) -> Batch:
    recipients = [Recipient(n, "ab", "token", 1, "en") for n in range(size)]
    return Batch(1, Message(title="t", body="b"), 1, 10**15, recipients, lane=lane)


@contextlib.asynccontextmanager
async def provider(network: DistantNetwork, connections: int = 2) -> AsyncIterator[DistantProvider]:
    transport = DistantProvider(network, 250, connections=connections)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run, lambda: None)
        while transport.pool.connections < connections:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.01)
        yield transport
        nursery.cancel_scope.cancel()


class Record:
    """When the sink sent something to its client, and when the client read it."""

    def __init__(
        self, transport: DistantProvider, patch: pytest.MonkeyPatch, reading: Callable[[], None] = lambda: None
    ) -> None:
        """``reading``: called in each read of the client's, whatever it finds."""
        self.sent: list[float] = []
        self.read: list[float] = []
        sinks = {id(link.wire) for link in transport.links}
        send_now, receive_now = MemoryWire.send_now, MemoryWire.receive_now

        def send(wire: MemoryWire, data: bytes) -> bool:
            if data and id(wire) in sinks:
                self.sent.append(trio.current_time())
            return send_now(wire, data)

        def receive(wire: MemoryWire) -> bytes | None:
            data = receive_now(wire)
            if id(wire) not in sinks:
                if data:
                    self.read.append(trio.current_time())
                reading()
            return data

        patch.setattr(MemoryWire, "send_now", send)
        patch.setattr(MemoryWire, "receive_now", receive)


async def test_on_a_connection_that_is_not_busy_each_answer_is_read_as_it_comes(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider(SCATTERED, connections=1) as transport:
        record = Record(transport, monkeypatch)
        assert (await transport.send(batch(CROWD - 1))).delivered == CROWD - 1
        assert len(record.sent) > 10
        assert record.read == record.sent


async def test_a_lone_push_takes_as_long_as_the_network(autojump_clock: Any) -> None:
    async with provider(FAR) as transport:
        began = trio.current_time()
        assert (await transport.send(batch(1))).delivered == 1
        assert trio.current_time() - began <= FAR.round_trip + ANSWER + 2 * TURN


async def test_a_push_is_sent_at_once_while_its_connections_are_busy(autojump_clock: Any) -> None:
    """Rounds read; they hold nothing back that a connection could take."""
    async with provider(SCATTERED) as transport, trio.open_nursery() as nursery:
        nursery.start_soon(transport.send, batch(400))
        await trio.sleep(BUSY)
        assert transport.answers.asked == 400
        nursery.start_soon(transport.send, batch(1, Lane.UPPER))
        await trio.sleep(2 * TURN)
        assert transport.answers.asked == 401


@pytest.mark.parametrize(("cost", "rest"), [(0.0001, SHORT), (0.001, 0.004), (0.005, LONGEST)])
async def test_reading_busy_connections_takes_a_fifth_of_the_time_however_little_comes(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, cost: float, rest: float
) -> None:
    """24: a turn of the event loop for four pushes cost as much as one for four hundred."""
    async with provider(SCATTERED, connections=1) as transport:
        record = Record(transport, monkeypatch, lambda: autojump_clock.jump(cost))
        with trio.move_on_after(BUSY + 0.1):
            await transport.send(batch(500))
    assert len(record.sent) > 20
    assert len(record.read) > 8
    rests = [later - earlier - cost for earlier, later in pairwise(record.read[2:])]
    assert min(rests) >= rest - 1e-6
    for sent in record.sent[2:-5]:
        waited = min(read for read in record.read if read >= sent) - sent
        assert waited <= rest + cost + 1e-6, "nothing waits for longer"


class Noted:
    """A busy connection that notes its turns, and when it was read."""

    busy = True

    def __init__(self, number: int, notes: list[tuple[str, int]], *, starved: bool) -> None:
        self.number, self.notes, self.starved = number, notes, starved
        self.read: list[float] = []

    def read_now(self) -> bool:
        self.notes.append(("read", self.number))
        self.read.append(trio.current_time())
        return True

    def write_now(self) -> None:
        self.notes.append(("write", self.number))


@pytest.mark.parametrize(
    ("work", "then"),
    [
        (0.0, SHORTEST),
        (SHORTEST / 2 + 0.9 * TICK, SHORTEST),  # epoll waits whole milliseconds: with idle cores it is as late as this
        (0.0045, SHORTEST + 0.004 - TICK),
        (0.1, LONGEST),
    ],
)
async def test_while_a_window_is_empty_a_rest_is_longer_only_after_one_that_ended_late(
    autojump_clock: Any, work: float, then: float
) -> None:
    """24: a rest that went by what a round took kept windows of 65,535 octets empty for an eighth of the time."""
    member, rounds = Noted(1, [], starved=True), Rounds(lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        nursery.start_soon(rounds.serve, member)
        await trio.sleep(1.5 * SHORTEST)
        autojump_clock.jump(work)  # somebody else has the thread in the middle of the second rest
        await trio.sleep(2 * LONGEST)
        nursery.cancel_scope.cancel()
    first, second, third, fourth = (later - earlier for earlier, later in pairwise([0.0, *member.read[:4]]))
    assert (first, fourth) == (pytest.approx(SHORTEST), pytest.approx(SHORTEST))
    assert second == pytest.approx(max(SHORTEST, SHORTEST / 2 + work))
    assert third == pytest.approx(then)


async def test_the_last_connection_may_go_during_a_rest(autojump_clock: Any) -> None:
    """24: the pool crashed when its only busy connection broke while its rounds rested (./dev system, seed 27)."""
    rounds, first, second = Rounds(lambda: None), Noted(1, [], starved=False), Noted(2, [], starved=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        with trio.move_on_after(SHORT / 2):
            await rounds.serve(first)
        await trio.sleep(SHORT)
        with trio.move_on_after(1.5 * SHORT):
            await rounds.serve(second)
        nursery.cancel_scope.cancel()
    assert (len(first.read), len(second.read)) == (0, 1)


@pytest.mark.parametrize("starved", [True, False])
async def test_while_a_window_is_empty_each_connection_is_written_to_before_the_next_one_is_read(
    autojump_clock: Any, starved: bool
) -> None:
    many, notes = 9, list[tuple[str, int]]()
    rounds = Rounds(lambda: notes.append(("progress", 0)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        for number in range(many):
            nursery.start_soon(rounds.serve, Noted(number, notes, starved=starved and number == 0))
        await trio.sleep(1.5 * (SHORTEST if starved else SHORT))
        nursery.cancel_scope.cancel()
    assert sorted(number for what, number in notes if what == "read") == list(range(many))
    assert [what for what, _ in notes].count("progress") == (many if starved else 1)
    most = 1 if starved else many
    for number in range(many):
        between = notes[notes.index(("read", number)) : notes.index(("write", number))]
        assert sum(what == "read" for what, _ in between) <= most


@pytest.mark.parametrize(("network", "busy"), [(FAR, False), (SCATTERED, True)])
async def test_a_connection_that_brings_plenty_in_one_read_leaves_the_rounds(
    autojump_clock: Any, network: DistantNetwork, busy: bool
) -> None:
    """Over loopback rests between its rounds cost a sixth of the rate."""
    async with provider(network, connections=1) as transport, trio.open_nursery() as nursery:
        (connection,) = transport.pool._connections
        nursery.start_soon(transport.send, batch(500))
        await trio.sleep(0.02)
        nursery.start_soon(transport.send, batch(450))  # these are on their way when the first answers are read
        while connection.client.accepted == 0:  # noqa: ASYNC110 - virtual time
            await trio.sleep(TURN / 4)
        assert connection.client.in_flight >= CROWD
        assert connection.busy is busy


async def test_a_connection_that_ends_in_a_round_ends_its_requests_and_no_others(autojump_clock: Any) -> None:
    async with provider(SCATTERED) as transport, trio.open_nursery() as nursery:
        outcomes = []

        async def send() -> None:
            outcomes.append(await transport.send(batch(400)))

        nursery.start_soon(send)
        await trio.sleep(BUSY)
        transport.links.pop().close()
        with trio.fail_after(5):
            while not outcomes:  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.01)
        unknown = [entry.reason for entry in outcomes[0].exceptions]
        assert unknown == ["no answer"] * len(unknown)
        assert 100 < len(unknown) < 200
        assert outcomes[0].delivered == 400 - len(unknown)
        assert (await transport.send(batch(400))).delivered == 400
