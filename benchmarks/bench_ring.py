"""Rings, measured and simulated: python -m benchmarks.bench_ring [--subscribers N] [--turns N] [--json].

A node with one worker, its queue, its twins and the store run on one core; then two such nodes on a core each, the
store beside the first and a read replica of it beside the second. A model with the costs of the first is compared with
both. The same model then predicts rings of 1 to 64 nodes, each node on two cores. Needs two cores and taskset.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trio

from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import MESSAGE, STATS_EVERY, phone, stages
from benchmarks.pipeline.usage import cpu
from benchmarks.progress import say
from benchmarks.ring.cluster import Cluster, Place
from benchmarks.ring_model import Costs, Ring, simulate
from broadside.api.campaign_report import FireRequest
from broadside.api.v1.table import CAMPAIGN
from broadside.newsroom.newsroom import PAGE_SIZE
from campaigns.batch import RECIPIENTS_A_BATCH
from storage.link import Endpoint, Link
from storage.store import Store

KINDS = {"workers": "broadside.worker", "queue": "embedded.lua", "twins": "simulators.twin"}
"""What a node runs → a piece of its command line."""
RINGS = [(1, 0), (2, 0), (4, 0), (8, 0), (8, 2), (16, 0), (16, 4), (32, 8), (64, 16)]
"""(nodes, read replicas) to simulate."""
SIMULATED = 10_000_000
LOOK_EVERY = 0.5
"""Seconds: each look costs the store and the node as much as some thousand pushes."""


def measure(nodes: int, subscribers: int) -> dict[str, Any]:
    """Fire once over whole nodes, each with an instance of the store, on a core of its own; the pushes go to their
    twins."""
    with tempfile.TemporaryDirectory(prefix="bs-ring-") as folder:
        cores = sorted(os.sched_getaffinity(0))[:nodes]
        places = [Place(prefix=("taskset", "-c", str(core))) for core in cores]
        cluster = Cluster(Path(folder), nodes=nodes, stores=nodes, workers=1, places=places)
        for node in cluster.nodes:
            node.script("latency_ms = 0\n")
        try:
            cluster.start()
            cluster.put(phone(n) for n in range(subscribers))
            read = trio.run(reading, cluster, subscribers)
            time.sleep(STATS_EVERY)
            pids = {kind: [pid for node in cluster.nodes for pid in node.children(KINDS[kind])] for kind in KINDS}
            pids |= {"store": [store.pid for store in cluster.stores], "node": [node.pid for node in cluster.nodes]}
            used = {kind: -sum(map(cpu, found)) for kind, found in pids.items()}
            before = _stages(cluster)
            with cluster.nodes[0].client() as client:
                report = client.fire(FireRequest(message=MESSAGE))
                while not report.ended:
                    time.sleep(LOOK_EVERY)
                    report = client.call(CAMPAIGN, id=report.id)
            for kind, found in pids.items():
                used[kind] += sum(map(cpu, found))
            time.sleep(STATS_EVERY)
            walked = _stages(cluster) - before
            pushes = sum((node.pushes() for node in cluster.nodes), Counter())
        finally:
            cluster.kill()
    assert report.fired_at is not None
    assert report.finished_at is not None
    walking = (walked["walk"] + walked["batch"]) / walked.total()
    each = {kind: seconds / subscribers * 1e6 for kind, seconds in used.items()}
    costs = Costs(
        walk=round(each["workers"] * walking, 2),
        send=round(each["workers"] * (1 - walking), 2),
        queue=round(each["queue"], 2),
        read=round(read, 2),
        ledger=round(each["store"] - read, 2),
        other=round(each["twins"] + each["node"], 2),
    )
    return {
        "nodes": nodes, "subscribers": subscribers,
        "seconds": (report.finished_at - report.fired_at) / 1000,
        "lost": subscribers - len(pushes), "duplicates": pushes.total() - len(pushes),
        "costs": costs, "node_us": round(each["node"], 2),
    }  # fmt: skip


async def reading(cluster: Cluster, subscribers: int) -> float:
    """µs of the store's CPU a row, for reading all pages and nothing else."""
    password = (cluster.folder / "store.password").read_text().strip()
    link = Link({"store": Endpoint(f"127.0.0.1:{cluster.master.port}", "broadside", password)})
    store = Store(link)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: link.run(task_status.started))
        await store.subscribers_count()  # until it is connected
        before, rows = cpu(cluster.master.pid), 0
        for first in range(0, subscribers, PAGE_SIZE):
            parts = (await store.page_read(first, first + PAGE_SIZE, RECIPIENTS_A_BATCH)).parts
            rows += sum(part.size for part in parts)
        used = cpu(cluster.master.pid) - before
        link.stop()
    assert rows == subscribers
    return used / subscribers * 1e6


def _stages(cluster: Cluster) -> Counter[str]:
    total: Counter[str] = Counter()
    for node in cluster.nodes:
        with node.client() as client:
            total.update(stages(client))
    return total


def compare(subscribers: int, turns: int) -> list[dict[str, Any]]:
    """Measure one node on one core and two on a core each, in turns. Each row is the turn with the median time; the
    model predicts it from the first row's costs."""
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for turn in range(turns):
        for nodes, rows in found.items():
            say(f"turn {turn + 1} of {turns}: {nodes} node{'s' * (nodes > 1)}, {subscribers:,} phones, a core each")
            rows.append(measure(nodes, subscribers))
    medians = [sorted(rows, key=lambda row: row["seconds"])[turns // 2] for rows in found.values()]
    for row in medians:
        ring = Ring(row["nodes"], 1, 1, row["nodes"] - 1, round_trip=0.0, durable=0.0, beside=True)
        row["predicted"] = round(simulate(ring, medians[0]["costs"], subscribers).seconds, 2)
        row["turns"] = sorted(round(each["seconds"], 2) for each in found[row["nodes"]])
    return medians


def rings(costs: Costs) -> list[dict[str, Any]]:
    """Simulate rings of many nodes, each node on two cores of its own."""
    rows = []
    for nodes, replicas in RINGS:
        say(f"{nodes} nodes on paper")
        result = simulate(Ring(nodes, replicas=replicas), costs, SIMULATED)
        rows.append({"nodes": nodes, "replicas": replicas, "rate": round(SIMULATED / result.seconds)} | asdict(result))
    return rows


def table(measured: list[dict[str, Any]], simulated: list[dict[str, Any]]) -> str:
    """The table, for a person."""
    lines = ["nodes  cores   seconds predicted  off   lost twice   µs a push: walk  send queue  read ledger other"]
    for row in measured:
        costs, off = row["costs"], row["predicted"] / row["seconds"] - 1
        lines.append(
            f"{row['nodes']:>5} {row['nodes']:>6} {row['seconds']:>9.2f} {row['predicted']:>9.2f} {off:>+5.0%}"
            f" {row['lost']:>5} {row['duplicates']:>5} {costs.walk:>17.2f} {costs.send:>5.2f} {costs.queue:>5.2f}"
            f" {costs.read:>5.2f} {costs.ledger:>6.2f} {costs.other:>5.2f}"
        )
    one, two = measured
    lines.append(f"two nodes do {one['seconds'] / two['seconds']:.2f} times what one does (goal: 1.8)")
    lines += ["", "on paper, two cores a node and the sinks elsewhere; busy: share of the time"]
    lines.append("nodes replicas pushes/s  10 M in   workers  queue  store   ms a page and segment")
    for row in simulated:
        lines.append(
            f"{row['nodes']:>5} {row['replicas']:>6} {row['rate']:>9,} {row['seconds']:>6.1f} s"
            f" {row['worker_busy']:>8.0%} {row['queue_busy']:>6.0%} {row['store_busy']:>6.0%} {row['step_ms']:>8.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, simulate and print."""
    end_at_sigterm()
    parser = argparse.ArgumentParser(prog="bench ring", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200_000, help="phones of the measured rings")
    parser.add_argument("--turns", type=int, default=3, help="of each ring; the medians are shown")
    parser.add_argument("--json", action="store_true", help="both tables for scripts")
    options = parser.parse_args()
    measured = compare(options.subscribers, options.turns)
    first = measured[0]
    costs = Costs(**asdict(first["costs"]) | {"other": first["node_us"]})
    simulated = rings(costs)
    if options.json:
        plain = [row | {"costs": asdict(row["costs"])} for row in measured]
        print(json.dumps({"measured": plain, "simulated": simulated}))
    else:
        print(table(measured, simulated))


if __name__ == "__main__":
    main()
