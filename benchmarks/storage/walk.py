"""The measured paths: a base filled, walked into the tubes by the real actors, taken and settled."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from actors.batcher import Batcher
from actors.campaign_cache import CampaignCache
from actors.membership import Membership
from actors.messages import Page
from actors.reporter import Reporter
from actors.walker import Walker
from benchmarks.storage.instance import Instance
from broadside.newsroom.newsroom import PAGE_SIZE
from campaigns.clock import wall_clock
from campaigns.message import Message
from campaigns.recipient import unpack_recipients
from storage.link import Link
from storage.records import Settlement
from storage.store import Store
from storage.tubes import Tubes

CHANNELS = ["ios-news", "android-news"]
NODE = "bench"
WALKERS = 2
SEGMENTS = 4
TAKERS = 4
_campaigns = itertools.count(1)


@dataclass(frozen=True)
class Cost:
    """The cost of one stretch."""

    rows: int
    seconds: float
    python: float
    """Seconds of this process's CPU."""
    tarantool: float
    """Seconds of the instance's CPU."""

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds

    @property
    def python_us(self) -> float:
        """µs of Python a row."""
        return self.python / self.rows * 1e6

    @property
    def tarantool_us(self) -> float:
        """µs of Tarantool a row."""
        return self.tarantool / self.rows * 1e6


class Stopwatch:
    """Measures a stretch, in both processes."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._start = time.perf_counter(), time.process_time(), instance.cpu

    def cost(self, rows: int) -> Cost:
        """The cost since the start."""
        seconds, python, tarantool = self._start
        return Cost(rows, time.perf_counter() - seconds, time.process_time() - python, self._instance.cpu - tarantool)


async def fill(link: Link, subscribers: int, first: int = 0) -> None:
    """Write ``subscribers`` phones; tokens of 64 (ios) and 163 (android) characters."""
    store = Store(link)
    now = wall_clock()
    starts = iter(range(first, first + subscribers, 1000))

    def row(n: int) -> tuple[object, ...]:
        ios = n % 2 == 0
        token = f"{n:064x}" if ios else f"{n:022d}:APA91b{n:0134x}"
        channel = CHANNELS[0] if ios else CHANNELS[1]
        return (channel, token, "token", now, "de" if n % 3 else "fr", "Europe/Berlin", "DE", "5.1", "", None, [], {})

    async def write() -> None:
        for start in starts:
            await store.subscribers_put([row(n) for n in range(start, min(start + 1000, first + subscribers))])

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(write)


@contextmanager
def pinged(instance: Instance, times: dict[str, float]) -> Iterator[None]:
    """Let another process make small calls meanwhile; ``times`` gets p50, p99 and the worst, in ms."""
    endpoint = instance.embedded.endpoint
    command = [sys.executable, "-m", "benchmarks.storage.ping", endpoint.uri, endpoint.user]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(endpoint.password + "\n")
        process.stdin.flush()
        process.stdout.readline()
        yield
        process.stdin.close()
        times.update(json.loads(process.stdout.readline()))


async def join(link: Link, nursery: trio.Nursery) -> None:
    """Keep this node's lease, and copy its outbox, for as long as the nursery lives."""
    store, tubes = Store(link), Tubes(link, NODE)
    membership = Membership(
        node=NODE, channels=CHANNELS, tubes=tubes, store=store, clock=wall_clock, sending=lambda since: frozenset()
    )
    await nursery.start(lambda task_status: membership.run(task_status.started))
    reporter = Reporter(node=NODE, tubes=tubes, store=store, clock=wall_clock)
    await nursery.start(lambda task_status: reporter.run(task_status.started))


async def walk(link: Link, instance: Instance, subscribers: int) -> Cost:
    """Fire, and walk the whole base into the tubes with the real walkers and batcher."""
    store, tubes = Store(link), Tubes(link, f"{NODE}/worker-1/walker")
    cache = CampaignCache(store)
    pages_in, pages_out = trio.open_memory_channel[Page](2)
    campaign = wall_clock() * 1000 + next(_campaigns)
    policy = {"page_size": PAGE_SIZE, "ttl_ms": 3_600_000}
    await store.campaign_create(campaign, Message(title="t", body="b"), None, policy, wall_clock())
    batcher = Batcher(tubes=tubes, pages=pages_out, intake=pages_in, channels=frozenset(CHANNELS), clock=wall_clock)
    walkers = [
        Walker(
            node=NODE,
            tubes=tubes,
            ring={"peer": tubes},
            channels=CHANNELS,
            store=store,
            cache=cache,
            pages=pages_in.clone(),
            clock=wall_clock,
        )
        for _ in range(WALKERS)
    ]
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: batcher.run(task_status.started))
        for walker in walkers:
            await nursery.start(lambda task_status, walker=walker: walker.run(task_status.started))
        watch = Stopwatch(instance)
        batons = await store.campaign_fire(campaign, SEGMENTS, wall_clock())
        assert batons
        await tubes.baton_put(batons)
        enqueued = 0
        while enqueued < subscribers:
            await trio.sleep(0.02)
            found = await store.campaign_get(campaign)
            assert found is not None
            enqueued = sum(tally.get("enqueued", 0) for tally in found.tallies.values())
        cost = watch.cost(subscribers)
        for walker in walkers:
            walker.stop()
        batcher.stop()
    return cost


async def drain(link: Link, instance: Instance, subscribers: int) -> tuple[Cost, int]:
    """Take every batch, decode it, settle it as delivered; returns the cost and the number of batches."""
    tubes = Tubes(link, f"{NODE}/worker-1")
    left = subscribers
    tasks = 0

    async def take(channel: str) -> None:
        nonlocal left, tasks
        while left > 0:
            taken = await tubes.batch_take(channel, 4)
            settlements = []
            for id, number, data in taken:
                recipients = unpack_recipients(data[-1])
                n, ended = len(recipients), [recipient.id for recipient in recipients]
                settlements.append(Settlement(id, number, {"delivered": n}, {}, [], ended, []))
                left -= n
                tasks += 1
            if settlements:
                assert all(await tubes.settle(channel, settlements))
                if left <= 0:
                    drained.set()  # takers that still poll an empty tube are not waited for

    drained = trio.Event()
    watch = Stopwatch(instance)
    async with trio.open_nursery() as nursery:
        for n in range(TAKERS):
            nursery.start_soon(take, CHANNELS[n % len(CHANNELS)])
        await drained.wait()
        cost = watch.cost(subscribers)
        nursery.cancel_scope.cancel()
    return cost, tasks
