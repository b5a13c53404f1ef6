"""What a store costs that elects its leader: python -m benchmarks.bench_failover [--subscribers N] [--turns N].

A node, its twins and a store of three instances run on this machine, once with `failover: manual` and once with `raft`,
in turns. One plain campaign goes to all phones. Beside it a client writes one known phone after the other, and notes
how long each answer took: a node waits as long for a claim of a page, or a report of settlements. It needs Tarantool
2.11 or later (`TARANTOOL=/path`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import MESSAGE, phone
from benchmarks.pipeline.usage import cpu
from benchmarks.progress import say
from benchmarks.ring.cluster import Cluster, StoreServer
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.v1.table import CAMPAIGN
from simulators.ledger import read_ledger
from storage.link import Endpoint, Link
from storage.store import Store
from storage.tarantool_program import ELECTS, tarantool, version

WAYS = ("manual", "raft")
STORES = 3
QUIET_WRITES = 300
"""Writes before the campaign, while the store does nothing else."""
WRITE_EVERY = 0.01
LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """One campaign. Times of writes are in ms, CPU in µs a push."""

    failover: str
    seconds: float
    pushes_per_second: float
    last_ms: int
    """Last push accepted by a twin → the campaign is done: its settlement, and the report of it."""
    lost: int
    duplicates: int
    quiet_p50: float
    quiet_p99: float
    busy_p50: float
    busy_p99: float
    workers: float
    node: float
    queue: float
    leader: float
    replicas: float
    """Both together."""


class Writer:
    """Writes the first phone, which is known, again and again."""

    def __init__(self, store: Store) -> None:
        one = phone(0)
        self._store = store
        self._row = [one.channel, one.token, one.kind, 1000, "de", "UTC", "DE", "5.1", "", None, [], {}]
        self.took: list[float] = []

    async def write(self, count: int | None = None) -> None:
        """Write ``count`` times, or until it is cancelled."""
        while count is None or len(self.took) < count:
            began = time.perf_counter()
            await self._store.subscribers_put([self._row])
            self.took.append((time.perf_counter() - began) * 1000)
            await trio.sleep(WRITE_EVERY)

    def told(self) -> tuple[float, float]:
        """Median and 99th percentile of what was written since the last call, ms."""
        cut = statistics.quantiles(self.took, n=100)
        self.took = []
        return round(cut[49], 2), round(cut[98], 2)


@asynccontextmanager
async def linked(cluster: Cluster) -> AsyncIterator[Store]:
    first, *rest = (f"127.0.0.1:{store.port}" for store in cluster.stores)
    password = (cluster.folder / "store.password").read_text().strip()
    link = Link({"store": Endpoint(first, "broadside", password, tuple(rest), "store.writable")})
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: link.run(task_status.started))
        yield Store(link)
        link.stop()


def leader(cluster: Cluster) -> StoreServer:
    """The instance that takes writes."""
    return next(store for store in cluster.stores if not store.ask("status")["read_only"])


def fire(cluster: Cluster) -> CampaignReport:
    """Fire, and wait for the end."""
    with cluster.nodes[0].client() as client:
        report = client.fire(FireRequest(message=MESSAGE))
        while not report.ended:
            time.sleep(LOOK_EVERY)
            report = client.call(CAMPAIGN, id=report.id)
        return report


async def campaign(cluster: Cluster, failover: str, subscribers: int) -> Row:
    """Measure one campaign."""
    leads, node = leader(cluster), cluster.nodes[0]
    pids = {
        "workers": node.children("broadside.worker"), "node": [node.pid], "queue": node.children("embedded.lua"),
        "leader": [leads.pid], "replicas": [store.pid for store in cluster.stores if store is not leads],
    }  # fmt: skip
    async with linked(cluster) as store:
        writer = Writer(store)
        await writer.write(QUIET_WRITES)
        quiet = writer.told()
        used = {kind: -sum(map(cpu, found)) for kind, found in pids.items()}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write)
            report = await trio.to_thread.run_sync(fire, cluster)
            nursery.cancel_scope.cancel()
        busy = writer.told()
    each = {kind: round((used[kind] + sum(map(cpu, found))) / subscribers * 1e6, 2) for kind, found in pids.items()}
    assert leader(cluster) is leads, "the leader changed meanwhile"
    assert report.fired_at is not None
    assert report.finished_at is not None
    last = max(entry.time for file in node.data.twins.glob("*.ledger") for entry in read_ledger(file))
    pushes = node.pushes()
    seconds = (report.finished_at - report.fired_at) / 1000
    return Row(
        failover, seconds, round(subscribers / seconds), report.finished_at - last, subscribers - len(pushes),
        pushes.total() - len(pushes), *quiet, *busy, **each,
    )  # fmt: skip


def measure(failover: str, subscribers: int) -> Row:
    """Start everything, and measure one campaign."""
    with tempfile.TemporaryDirectory(prefix="bs-failover-") as folder:
        cluster = Cluster(Path(folder) / "ring", nodes=1, stores=STORES, failover=failover)
        cluster.nodes[0].script("latency_ms = 0\n")
        try:
            cluster.start()
            cluster.put(phone(n) for n in range(subscribers))
            return trio.run(campaign, cluster, failover, subscribers)
        finally:
            cluster.kill()


def compare(subscribers: int, turns: int) -> Iterator[Row]:
    """Each way ``turns`` times; of each the campaign of median length."""
    found: dict[str, list[Row]] = {way: [] for way in WAYS}
    for turn in range(turns):
        for way in WAYS:
            say(f"turn {turn + 1} of {turns}: failover {way}, {subscribers:,} phones")
            found[way].append(measure(way, subscribers))
    for rows in found.values():
        yield sorted(rows, key=lambda row: row.seconds)[turns // 2]


def table(rows: list[Row]) -> str:
    """The table, for a person."""
    lines = ["failover  seconds pushes/s  lost twice  last ms   write ms: quiet p50   p99  busy p50    p99"]
    lines += [
        f"{row.failover:<8} {row.seconds:>8.2f} {row.pushes_per_second:>8,.0f} {row.lost:>5} {row.duplicates:>5}"
        f" {row.last_ms:>8} {row.quiet_p50:>21.2f} {row.quiet_p99:>5.2f} {row.busy_p50:>9.2f} {row.busy_p99:>6.2f}"
        for row in rows
    ]
    lines += ["", "CPU µs a push  workers  node  queue  leader  both replicas  all"]
    for row in rows:
        each = (row.workers, row.node, row.queue, row.leader, row.replicas)
        numbers = "{:>8.2f} {:>5.2f} {:>6.2f} {:>7.2f} {:>14.2f}".format(*each)
        lines.append(f"{row.failover:<14} {numbers} {sum(each):>5.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench failover", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200_000, help="phones")
    parser.add_argument("--turns", type=int, default=3, help="of each way; the one of median length is shown")
    parser.add_argument("--json", action="store_true", help="the table for scripts")
    options = parser.parse_args()
    runs = version(tarantool() or "tarantool")
    if runs.series < ELECTS:
        sys.exit(f"bench: {runs.text} cannot elect a leader: name a later one (TARANTOOL=/path)")
    end_at_sigterm()
    rows = list(compare(options.subscribers, options.turns))
    if options.json:
        print(json.dumps({"tarantool": runs.text, "measured": [asdict(row) for row in rows]}))
    else:
        print(runs.text)
        print(table(rows))


if __name__ == "__main__":
    main()
