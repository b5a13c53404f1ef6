"""As fast over real networks as on loopback? python -m benchmarks.bench_networks [--rows GLOB] [--subscribers N].

A whole node sends to a sink that is far away: the round trip, the connection's window and the time of the answers are
those of a real network, and 1 % of the phones are dead. Each row has two campaigns: *cold*, over connections that have
carried nothing, and *warm*, within a minute, once the connections that the first one needed are open. With --kill a
third one, *kill*: one worker is killed once half are settled. A row's name is ROUND TRIP/WINDOW/ANSWERS/BODY:
60ms/65535/lognormal/250.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.ending import end_at_sigterm
from benchmarks.networks.sink import DistantSink, distant_sink
from benchmarks.pipeline.rig import LOOK_EVERY, Rig, Row
from benchmarks.progress import say
from benchmarks.transport.sinks import nginx
from broadside.api.api_client import Client
from broadside.api.campaign_report import FireRequest
from broadside.api.subscriber import Subscriber
from broadside.config.config import CONNECTIONS
from broadside.machine_limits import cores
from campaigns.message import Message
from simulators.distant_network import DistantNetwork
from simulators.faults.latency import Latency
from transports.apns import payload

ROUND_TRIPS = {"0ms": 0.0, "20ms": 0.02, "60ms": 0.06}
WINDOWS = {"65535": 65_535, "16M": 1 << 24}
ANSWERS = {
    "constant": (Latency(constant=60.0), 0.0),
    "lognormal": (Latency(p50=60.0, p99=500.0), 0.005),
}
"""Name → the distribution, and the share that takes two seconds."""
BODIES = {"250": 250, "1K": 1_024}
DEAD = 0.01
GOAL = 0.9
"""Of what windows and streams would carry, or of the CPU's bound, whichever is less."""
NEARLY_ALL = 0.95
FLOW = 0.2, 0.8
"""Shares of the base between which a campaign is in full flow."""
GROWS = 45.0
"""Seconds that the warm campaign waits at most for connections."""
STILL = 4.0
"""Seconds without another connection after which there will be none."""
_COUNTED = 0.03
"""Seconds until the sink has written down what has reached it."""
WITHIN = 1.0
"""Seconds over which the rate is taken, to see when a cold campaign has reached the goal."""
CHANNEL = {"ios-news": ("apns", "com.example.news")}


@dataclass(kw_only=True)
class Found:
    """One campaign over one network."""

    network: str
    state: str
    """cold, warm or kill."""
    connections: int
    """That the node may open."""
    opened: int
    """That carried pushes."""
    seconds: float
    """Fire → last settlement."""
    pushes_per_second: float
    """Over the time until nearly all were settled: the last answers are late on every network."""
    flow: float
    """Pushes a second in full flow: without the first answers' way, and without the last ones."""
    carries: float
    """Pushes a second that windows and streams of all connections would carry."""
    cpu_bound: float
    """Pushes a second that all cores would make at this cost a push: the node's, Tarantool's and the sink's."""
    cpu_us_per_push: float
    """Workers and Tarantool."""
    sink_us_per_push: float
    rss_mb: float
    """The largest worker."""
    lost: int
    twice: int
    unsettled: int | None = None
    """Recipients that had been sent to and were not settled yet when a worker was killed; None: none was."""
    reached_after: float | None = None
    """Seconds from Fire until the goal was reached for a second; None: never."""
    stages: dict[str, float] = field(default_factory=dict)
    rate: list[tuple[float, int]] = field(default_factory=list)
    """(seconds after Fire, settled so far)."""

    @property
    def bound(self) -> float:
        """The lesser of both bounds."""
        return min(self.carries, self.cpu_bound)

    @property
    def ratio(self) -> float:
        """In full flow, of what was possible."""
        return self.flow / self.bound

    def plain(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "bound": round(self.bound), "ratio": round(self.ratio, 3)}


def phone(n: int) -> Subscriber:
    """The n-th subscriber."""
    return Subscriber(channel="ios-news", token=f"{n:064x}", locale="de", country="DE", app_version="5.1")


def message_of(octets: int) -> Message:
    """Return a message whose body on Apple's wire has this size."""
    title = "Flood warning"
    frame = len(payload.render(Message(title=title, body=".")).body) - 1
    return Message(title=title, body="x" * (octets - frame))


def networks(wanted: Sequence[str]) -> Iterator[tuple[str, DistantNetwork, int]]:
    """Yield (name, network, octets of a body) of the rows whose names match."""
    for names in product(ROUND_TRIPS, WINDOWS, ANSWERS, BODIES):
        name = "/".join(names)
        if any(fnmatch(name, glob) for glob in wanted):
            trip, window, answers, body = names
            latency, late = ANSWERS[answers]
            network = DistantNetwork(
                round_trip=ROUND_TRIPS[trip], window=WINDOWS[window], answers=latency, late=late, dead=DEAD
            )
            yield name, network, BODIES[body]


class Killer:
    """Kills one worker once half of a campaign's recipients are settled."""

    def __init__(self, client: Client, sink: DistantSink, subscribers: int) -> None:
        self.unsettled: int | None = None
        self._client = client
        self._sink = sink
        self._before = sink.counts().asked
        self._half = subscribers // 2

    def looked(self, settled: int) -> None:
        """``settled``: of the campaign, a moment ago."""
        if self.unsettled is not None or settled < self._half:
            return
        pid = next(worker.pid for worker in self._client.status().workers if worker.pid)
        os.kill(pid, signal.SIGKILL)
        time.sleep(_COUNTED)
        self.unsettled = self._sink.counts().asked - self._before - settled


def measure(
    wanted: Sequence[str], subscribers: int, workers: int | None, connections: int, kill: bool = False
) -> Iterator[Found]:
    """Yield the campaigns for each network, the cold one first."""
    for name, network, octets in networks(wanted):
        with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
            rig = Rig(Path(folder), workers, connections, phone, CHANNEL)
            with (
                nginx(Path(folder), core=None) as (files, _),
                distant_sink(Path(folder), network) as sink,
                rig.node((files, sink.port)) as client,
            ):
                rig.fill(client, subscribers)
                most = max(1, connections // (workers or cores())) * (workers or cores())
                request = FireRequest(message=message_of(octets))
                for state in ("cold", "warm", "kill") if kill else ("cold", "warm"):
                    if state != "cold":
                        _until_grown(client)
                    found = _campaign(rig, client, sink, request, network.carries(octets) * most, most, name, state)
                    say(line(found))
                    yield found


def _campaign(
    rig: Rig, client: Client, sink: DistantSink, request: FireRequest, carries: float, most: int, name: str, state: str
) -> Found:
    before = sink.counts()
    killer = Killer(client, sink, rig.subscribers) if state == "kill" else None
    row = rig.campaign(client, "network", request, looked=killer.looked if killer else lambda settled: None)
    after = sink.counts()
    each = 1e6 / row.subscribers
    found = Found(
        network=name,
        state=state,
        connections=most,
        opened=after.connections,
        seconds=row.seconds,
        pushes_per_second=round(NEARLY_ALL * row.subscribers / _when(row, NEARLY_ALL)),
        flow=round((FLOW[1] - FLOW[0]) * row.subscribers / (_when(row, FLOW[1]) - _when(row, FLOW[0]))),
        carries=round(carries),
        # nobody knows what a killed worker has used
        cpu_bound=round(carries if killer else cores() / sum(row.processes.values()) * row.subscribers),
        cpu_us_per_push=0.0 if killer else row.cpu_us_per_push,
        sink_us_per_push=round(row.processes.get("sink", 0.0) * each, 2),
        rss_mb=row.rss_mb,
        lost=row.lost,
        twice=after.accepted - before.accepted - (row.subscribers - row.dead - row.lost),
        unsettled=killer.unsettled if killer else None,
        stages=row.stages,
        rate=[(round(seconds, 2), settled) for seconds, settled in row.rate],
    )
    found.reached_after = _reached(row, GOAL * found.bound)
    return found


def _when(row: Row, share: float) -> float:
    """Seconds from Fire until this share of the base was settled."""
    enough = share * row.subscribers
    before = (0.0, 0)
    for seconds, settled in row.rate:
        if settled >= enough:
            since, less = before
            return since + (seconds - since) * (enough - less) / (settled - less)
        before = (seconds, settled)
    return row.seconds


def _until_grown(client: Client) -> None:
    """Wait until the node opens no more connections."""
    began = changed = time.monotonic()
    seen = 0
    while time.monotonic() - began < GROWS and time.monotonic() - changed < STILL:
        time.sleep(0.5)
        now = sum(each.connections for worker in client.status().workers for each in worker.connections.values())
        if now != seen:
            seen, changed = now, time.monotonic()


def _reached(row: Row, goal: float) -> float | None:
    """Seconds until pushes were settled at the rate ``goal`` for a second."""
    span = round(WITHIN / LOOK_EVERY)
    for (since, less), (now, more) in zip(row.rate, row.rate[span:], strict=False):
        if more - less >= goal * (now - since):
            return round(since, 1)
    return None


def table(rows: list[Found]) -> Iterator[str]:
    """The lines of the table, for a person."""
    heads = (
        f"{'seconds':>7} {'pushes/s':>9} {'in flow':>9} {'carries':>9} {'CPU bound':>9} {'ratio':>6} {'conns':>7}",
        f"{'CPU µs':>7} {'sink':>6} {'RSS MB':>7} {'lost':>5} {'twice':>6}  reached after",
    )
    yield f"{'round trip/window/answers/body':32} {' '.join(heads)}"
    yield from map(line, rows)


def line(row: Found) -> str:
    """One row of the table."""
    name = f"{row.network} {row.state}"
    reached = "never" if row.reached_after is None else f"{row.reached_after:.1f} s"
    killed = "" if row.unsettled is None else f"; {row.unsettled:,} unsettled at the kill"
    return (
        f"{name:32} {row.seconds:>7.1f} {row.pushes_per_second:>9,.0f} {row.flow:>9,.0f} {row.carries:>9,.0f}"
        f" {row.cpu_bound:>9,.0f} {row.ratio:>6.2f} {row.opened:>3}/{row.connections:<3}"
        f" {row.cpu_us_per_push:>7.2f} {row.sink_us_per_push:>6.2f} {row.rss_mb:>7.1f} {row.lost:>5}"
        f" {row.twice:>6}  {reached}{killed}"
    )


def judge(rows: list[Found]) -> Iterator[tuple[bool, str]]:
    """(met, sentence) for each goal."""
    for row in rows:
        if row.unsettled is not None:
            yield row.twice <= row.unsettled, f"{row.network}: a kill repeats <= {row.unsettled:,}: {row.twice:,}"
        if row.state == "warm":
            yield row.ratio >= GOAL, f"{row.network}, warm: >= {GOAL} of what is possible: {row.ratio:.2f}"
            if row.network == "60ms/65535/lognormal/250":
                rate = row.flow
                yield rate >= 100_000, f"{row.network}, warm: >= 100,000 pushes/s: {rate:,.0f}"
    worst = max(row.rss_mb for row in rows)
    yield worst <= 150, f"a worker's memory <= 150 MB: {worst:.0f} MB"
    lost, twice = sum(row.lost for row in rows), sum(row.twice for row in rows if row.unsettled is None)
    yield lost == 0, f"lost 0: {lost}"
    yield twice == 0, f"sent twice 0: {twice}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench networks", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=60_000, help="size of the base (the goals: 200,000)")
    parser.add_argument("--rows", action="append", help="names of rows, * for any text (may be repeated)")
    parser.add_argument("--workers", type=int, help="as in the config; default: one per core")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="as in the config")
    parser.add_argument("--kill", action="store_true", help="a third campaign each, in which a worker is killed")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    rows = list(measure(options.rows or ["*"], options.subscribers, options.workers, options.connections, options.kill))
    if not rows:
        names = ", ".join(name for name, _, _ in networks(["*"]))
        parser.error(f"--rows: no row matches; the rows are {names}")
    if options.json:
        print(json.dumps([row.plain() for row in rows], ensure_ascii=False))
        return
    print("\n".join(table(rows)))
    print(f"\n{cores()} cores for all of it, the sink too. CPU µs: workers and Tarantool.\n")
    for met, sentence in judge(rows):
        print(f"{'met   ' if met else 'MISSED'} {sentence}")


if __name__ == "__main__":
    main()
