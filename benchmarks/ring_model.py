"""A ring of nodes on a virtual clock: the real walker, with simulated resources whose costs were measured.

A core, a Tarantool's transaction thread and a worker each do one thing at a time, and every step takes its measured
cost. Apart from these, only the network takes time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from actors.messages import Page
from actors.walker import Walker
from broadside.newsroom.newsroom import PAGE_SIZE
from broadside.topology import HANDS_A_CONNECTION, LEAST_CONNECTIONS, PAGES_IN_HAND
from campaigns.baton import Baton
from campaigns.lane import Lane
from campaigns.message import Message
from storage.records import Claim, PagePart, PageRows, TakenBaton

CHANNELS = 2
LINGER = 0.04
"""Seconds for which a node collects what it reports, as the queue's outbox does."""


@dataclass(frozen=True)
class Costs:
    """µs of CPU a push."""

    walk: float
    """Of a worker, to read a page, split it and put it."""
    send: float
    """Of a worker, from the take to the settlement."""
    queue: float
    """Of the node's Tarantool."""
    read: float
    """Of the store's, or of a replica's, to read pages."""
    ledger: float
    """Of the store's alone: claims and reports, half each."""
    other: float = 0.0
    """Of everything else on the nodes' machines: a sink for each channel, and the node's own process."""


@dataclass(frozen=True)
class Ring:
    """What to simulate. ``beside``: the store runs on the first node's machine, and each replica on the next one's."""

    nodes: int
    workers: int = 2
    cores: int = 2
    replicas: int = 0
    """Read replicas of the store; nodes read pages from theirs."""
    round_trip: float = 0.0002
    """Seconds between two machines and back."""
    durable: float = 0.0015
    """Seconds until a claim is on a second machine's disk; 0 with one store."""
    beside: bool = False


@dataclass
class Result:
    """Seconds from Fire to the last report, and the share of that time for which each place was busy."""

    seconds: float
    store_busy: float
    worker_busy: float
    queue_busy: float
    pages_by_node: list[int] = field(default_factory=list)
    step_ms: float = 0.0
    """From one page of a segment to the next, on average."""


class Machine:
    """A machine's cores."""

    def __init__(self, cores: int) -> None:
        self.cores = trio.Semaphore(cores)


class Thread:
    """Does one thing at a time, on one of its machine's cores."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._free = trio.Semaphore(1)
        self.used = 0.0

    async def work(self, seconds: float) -> None:
        """Be busy for this long, once it is free."""
        async with self._free, self._machine.cores:
            await trio.sleep(seconds)
        self.used += seconds


class Cache:
    """The walker's campaign cache: one campaign, with pages of the usual size."""

    def __init__(self) -> None:
        self.policy = {"page_size": PAGE_SIZE}
        self.channels: frozenset[str] = frozenset()
        self.expires_at = math.inf
        self.lane = Lane.MIDDLE
        self.planned = False
        self.message = Message(title="t", body="b")

    async def get(self, id: int) -> Cache:
        """The campaign."""
        await trio.lowlevel.checkpoint()
        return self


class Store:
    """The pages of a base of consecutive ids, in segments. ``reading``: the thread that reads for this node."""

    def __init__(self, model: Model, reading: Thread) -> None:
        self._model = model
        self._reading = reading

    async def page_claim(self, node: str, epoch: int, baton: Baton, now: int) -> Claim:
        """As the store does for a baton that is not a repeat."""
        model, ring = self._model, self._model.ring
        await model.away()
        await model.store.work(model.costs.ledger / 2 * PAGE_SIZE / 1e6)
        await trio.sleep(ring.durable)
        end = model.ends[baton.segment]
        to = min(baton.after_id + PAGE_SIZE, end)
        following = Baton(baton.campaign, baton.segment, baton.seq + 1, to) if to < end else None
        model.pages[int(node)] += 1
        return Claim("claimed", baton.after_id, to, following)

    async def page_read(
        self, from_id: int, to_id: int, most: int, position: object = None, *chosen: object, **more: object
    ) -> PageRows:
        """How many phones there are on each channel; their data does not matter."""
        model = self._model
        await model.away()
        await self._reading.work(model.costs.read * (to_id - from_id) / 1e6)
        sizes = [len(range(channel, to_id - from_id, CHANNELS)) for channel in range(CHANNELS)]
        return PageRows([PagePart("", size, b"") for size in sizes], {})


class Tubes:
    """A node's batons, as its walkers and its neighbours see them."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._put, self._take = trio.open_memory_channel[Baton](math.inf)

    async def baton_put(self, batons: Sequence[Baton], lane: Lane = Lane.MIDDLE) -> None:
        """From this node itself."""
        await trio.lowlevel.checkpoint()
        for baton in batons:
            self._put.send_nowait(baton)

    async def baton_offer(self, batons: Sequence[Baton], lane: Lane = Lane.MIDDLE) -> None:
        """From another node."""
        await self._model.away()
        await self.baton_put(batons, lane)

    async def baton_take(self) -> TakenBaton:
        """Wait for a baton."""
        return TakenBaton(await self._take.receive(), 0, 0, 0)

    async def baton_ack(self, taken: TakenBaton) -> bool:
        """Its page is on the tubes."""
        await trio.lowlevel.checkpoint()
        return True

    async def baton_release(self, taken: TakenBaton) -> None:
        """Not in this model: nobody is fenced."""
        raise AssertionError

    async def baton_release_worker(self) -> int:
        """Nothing is left of an earlier incarnation."""
        await trio.lowlevel.checkpoint()
        return 0


class Node:
    """A node's workers, each with a real walker."""

    def __init__(self, model: Model, number: int, machine: Machine) -> None:
        self.model = model
        self.number = number
        self.queue = Thread(machine)
        self.sinks = [Thread(machine) for _ in range(CHANNELS)]
        self.workers = [Thread(machine) for _ in range(model.ring.workers)]
        self.tubes = Tubes(model)
        self._put, self._take = zip(*(trio.open_memory_channel[int](math.inf) for _ in range(CHANNELS)), strict=True)
        self._done, self._report = trio.open_memory_channel[int](math.inf)

    async def run(self) -> None:
        """All of it, until cancelled."""
        model, ring = self.model, self.model.ring
        reading = model.readers[self.number % len(model.readers)]
        peers = {str(n): model.nodes[(self.number + n) % ring.nodes].tubes for n in range(1, ring.nodes)}
        async with trio.open_nursery() as nursery:
            for worker in self.workers:
                into, pages = trio.open_memory_channel[Page](PAGES_IN_HAND)
                own: Any = self.tubes
                ports: dict[str, Any] = {
                    "node": str(self.number), "ring": peers, "store": Store(model, reading), "cache": Cache(),
                    "channels": (),
                }  # fmt: skip
                walker = Walker(tubes=own, pages=into, clock=lambda: 0, **ports)
                nursery.start_soon(walker.run, lambda: None)
                nursery.start_soon(self._batch, worker, pages)
                for channel in range(CHANNELS):
                    for _ in range(HANDS_A_CONNECTION * LEAST_CONNECTIONS):
                        nursery.start_soon(self._send, worker, channel)
            nursery.start_soon(self._tell)

    async def _batch(self, worker: Thread, pages: trio.MemoryReceiveChannel[Page]) -> None:
        costs = self.model.costs
        async for page in pages:
            rows = sum(part.size for part in page.parts)
            await worker.work(costs.walk * rows / 1e6)
            await self.queue.work(costs.queue / 2 * rows / 1e6)
            for channel, part in enumerate(page.parts):
                self._put[channel].send_nowait(part.size)

    async def _send(self, worker: Thread, channel: int) -> None:
        costs = self.model.costs
        while True:
            rows = await self._take[channel].receive()
            await self.queue.work(costs.queue / 2 * rows / 1e6)
            await worker.work(costs.send * rows / 1e6)
            if costs.other:
                await self.sinks[channel].work(costs.other * rows / 1e6)
            self._done.send_nowait(rows)

    async def _tell(self) -> None:
        model = self.model
        while True:
            rows = await self._report.receive()
            await trio.sleep(LINGER)
            lines = 1
            while lines < 100:
                try:
                    rows += self._report.receive_nowait()
                except trio.WouldBlock:
                    break
                lines += 1
            await model.away()
            await model.store.work(model.costs.ledger / 2 * rows / 1e6)
            model.settle(rows)


class Model:
    """One campaign over one ring."""

    def __init__(self, ring: Ring, costs: Costs, subscribers: int) -> None:
        self.ring = ring
        self.costs = costs
        machines = [Machine(ring.cores) for _ in range(ring.nodes)]
        stores = machines if ring.beside else [Machine(ring.cores) for _ in range(1 + ring.replicas)]
        self.store, *replicas = (Thread(stores[number]) for number in range(1 + ring.replicas))
        # the node beside the store reads from it, as in a real ring
        self.readers = [self.store, *replicas] if ring.beside else replicas or [self.store]
        self.nodes = [Node(self, number, machine) for number, machine in enumerate(machines)]
        self.pages = [0] * ring.nodes
        self._left = self._all = subscribers
        self._over = trio.Event()
        segments = max(2, ring.nodes * ring.workers)
        bounds = [subscribers * n // segments for n in range(segments + 1)]
        self.begins, self.ends = bounds[:-1], bounds[1:]

    async def away(self) -> None:
        """Wait for the way to another machine and back."""
        await trio.sleep(self.ring.round_trip)

    def settle(self, rows: int) -> None:
        """Count ``rows`` more pushes as ended."""
        self._left -= rows
        if not self._left:
            self._over.set()

    async def run(self) -> Result:
        """Fire, and wait until all pushes have ended."""
        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(node.run)
            began = trio.current_time()
            # as in a real Fire: all batons go to the node that was asked, and the next batons on from there
            await self.nodes[0].tubes.baton_put(
                [Baton(1, segment, 0, first) for segment, first in enumerate(self.begins)]
            )
            await self._over.wait()
            seconds = trio.current_time() - began
            nursery.cancel_scope.cancel()
        threads = [worker for node in self.nodes for worker in node.workers]
        return Result(
            seconds=seconds,
            store_busy=max(self.store.used, *(reader.used for reader in self.readers)) / seconds,
            worker_busy=sum(worker.used for worker in threads) / len(threads) / seconds,
            queue_busy=max(node.queue.used for node in self.nodes) / seconds,
            pages_by_node=self.pages,
            step_ms=seconds * len(self.ends) / sum(self.pages) * 1000,
        )


def simulate(ring: Ring, costs: Costs, subscribers: int) -> Result:
    """Run the model on a clock of its own, which jumps from event to event."""

    async def run() -> Result:
        return await Model(ring, costs, subscribers).run()

    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
