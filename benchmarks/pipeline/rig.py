"""A whole node under measurement: its folder, its base, its sink, and one campaign after another."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from benchmarks.pipeline.usage import Usage
from benchmarks.ring.cluster import Process
from benchmarks.transport.sinks import Files, counting_sink, nginx
from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.subscriber import MAX_SUBSCRIBERS, Subscriber
from broadside.api.v1 import table
from broadside.config.config import CONNECTIONS
from broadside.datafolder import DataFolder
from campaigns.message import Message
from simulators.ledger import read_ledger

CHANNELS = {"ios-news": ("apns", "com.example.news"), "android-news": ("fcm", "news-1a2b3")}
SINKS = ("counting", "nginx", "twins")
STREAMS = 1_000
MESSAGE = Message(title="Flood warning", body="Leave the valley now. " + "x" * 90, url="https://example.com/f")
PLAIN = FireRequest(message=MESSAGE)
WRITERS = 3
"""Requests under way while the base is filled, so that the node and its Tarantool both have work."""
LOOK_EVERY = 0.1
"""Seconds between two reads of the campaign's report, for the plot of its rate."""
STATS_EVERY = 1.2
"""Seconds after which every worker has reported the costs of its stages again."""


@dataclass
class Row:
    """One campaign."""

    subscribers: int
    """Those of the base at Fire."""
    sink: str
    seconds: float = 0.0
    """Fire → last settlement in the ledger, by the node's clock."""
    pushes_per_second: float = 0.0
    cpu_us_per_push: float = 0.0
    """Workers and Tarantool."""
    lost: int = 0
    dead: int = 0
    duplicates: int = 0
    rss_mb: float = 0.0
    """The largest worker."""
    first_ms: int | None = None
    """Fire → first push accepted, if the sink records it."""
    processes: dict[str, float] = field(default_factory=dict)
    """Kind of process → seconds of CPU."""
    stages: dict[str, float] = field(default_factory=dict)
    """Stage → µs of CPU a push; all processes but the sink."""
    rate: list[tuple[float, int]] = field(default_factory=list)
    """(seconds after Fire, settled so far)."""
    h2load_us: float | None = None
    """µs of CPU a push of h2load, directly after the campaign to the same sink; None: it was not run."""

    def plain(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def phone(n: int) -> Subscriber:
    """The n-th subscriber: half have tokens of 64 characters (APNs), half of 163 (FCM)."""
    token = f"{n:064x}" if n % 2 == 0 else f"{n:022d}:APA91b{n:0134x}"
    return Subscriber(
        channel="ios-news" if n % 2 == 0 else "android-news",
        token=token,
        locale="de" if n % 3 else "fr",
        country="DE",
        app_version="5.1",
    )


class Rig:
    """A node whose base grows; it is restarted for another sink."""

    def __init__(
        self,
        folder: Path,
        workers: int | None,
        connections: int = CONNECTIONS,
        phone: Callable[[int], Subscriber] = phone,
        channels: Mapping[str, tuple[str, str]] = MappingProxyType(CHANNELS),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``workers``, ``connections``: as in the config, None: its default; ``phone``: makes the n-th subscriber;
        ``channels``: name → platform and app; ``environment``: variables that the node's processes get besides this
        process's own."""
        self._folder = folder
        self._phone = phone
        self._channels = channels
        self._workers = workers
        self._environment = environment
        self.rate: int | None = None
        """Pushes a second of each channel; None: as many as the sink takes."""
        self.http = 'bind = "127.0.0.1:0"'
        """The lines of ``[http]``."""
        self.newsroom = ""
        """The lines of ``[newsroom]``."""
        self.connections = connections
        self._filled = 0
        self.data = DataFolder(folder / "var")

    @contextlib.contextmanager
    def sink(self, kind: str, streams: int = STREAMS, latency_ms: int = 0) -> Iterator[tuple[Files, int] | None]:
        """Run the sink; twins are the node's own. ``streams`` and ``latency_ms``: the counting sink's stream limit, and
        its time to answer."""
        if kind == "twins":
            yield None
            return
        with nginx(self._folder, core=None) as (files, ports):
            if kind != "counting":
                yield files, ports[STREAMS, kind]
            else:
                with counting_sink(self._folder, streams, latency_ms, core=None) as port:
                    yield files, port

    @contextlib.contextmanager
    def node(self, sink: tuple[Files, int] | None) -> Iterator[Client]:
        """Run the node."""
        config = self._folder / "broadside.toml"
        config.write_text(self._toml(sink))
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        command = [
            "env",
            *variables,
            sys.executable,
            "-m",
            "broadside.cli",
            "node",
            "--config",
            str(config),
            "--no-demo",
        ]
        process = Process("node", self._folder / "node", command)
        process.output.unlink(missing_ok=True)
        process.start()
        try:
            process.until(lambda: b"serving;" in process.output.read_bytes(), "service", 120)
            with Client.of(self.data) as client:
                time.sleep(1.0)  # until its connections are up
                yield client
        finally:
            process.stop()

    def _toml(self, sink: tuple[Files, int] | None) -> str:
        text = '[node]\nname = "bench"\n'
        if self._workers is not None:
            text += f"workers = {self._workers}\n"
        text += f"\n[http]\n{self.http}\n\n[newsroom]\n{self.newsroom}\n\n[guards]\nrepeat = 0\n"
        text += "\n[supervision]\nspare = false\n"  # its imports would disturb the first measurement
        for name, (platform, app) in self._channels.items():
            text += f'\n[channels.{name}]\nplatform = "{platform}"\napp = "{app}"\nconnections = {self.connections}\n'
            if self.rate is not None:
                text += f"rate = {self.rate}\n"
            if sink is None:
                text += "twin = true\n"
            else:
                files, port = sink
                text += f'origin = "https://localhost:{port}"\nca = "{files.ca}"\n[channels.{name}.credentials]\n'
                text += (
                    f'key = "{files.apns_key}"\nkey_id = "ABCDE12345"\nteam_id = "TEAM123456"\n'
                    if platform == "apns"
                    else f'service_account = "{files.service_account}"\n'
                )
        return text

    @property
    def subscribers(self) -> int:
        """Of the base."""
        return self._filled

    def fill(self, client: Client, subscribers: int) -> None:
        """Grow the base to this many subscribers."""

        def put(start: int) -> None:
            rows = [self._phone(n) for n in range(start, min(start + MAX_SUBSCRIBERS, subscribers))]
            client.upsert(msgspec.json.Encoder().encode_lines(rows))

        with ThreadPoolExecutor(WRITERS) as pool:
            for _ in pool.map(put, range(self._filled, subscribers, MAX_SUBSCRIBERS)):
                pass  # raises what a writer has raised
        self._filled = subscribers

    def campaign(
        self,
        client: Client,
        kind: str,
        request: FireRequest = PLAIN,
        reached: Callable[[], None] | None = None,
        looked: Callable[[int], None] = lambda settled: None,
    ) -> Row:
        """Fire and wait for the end. ``reached``: called once all have been reached that could be at once; the CPU from
        then until the next settlement is that of waiting, and does not count. ``looked``: called at each look at the
        report, with how many are settled.
        """
        row = Row(self._filled, kind)
        if kind == "twins":
            for ledger in self.data.twins.glob("*.ledger"):
                os.truncate(ledger, 0)
        root = os.getpid()
        before, usage = stages(client), Usage(root)
        waiting: dict[str, float] = {}
        waited: dict[str, float] = {}
        standing: int | None = None
        started = time.perf_counter()
        report = client.fire(request)
        while not report.ended:
            time.sleep(LOOK_EVERY)
            report = client.call(table.CAMPAIGN, id=report.id)
            settled = _settled(report)
            row.rate.append((time.perf_counter() - started, settled))
            looked(settled)
            if reached is not None and report.reached:
                reached()
                reached, waiting, standing = None, usage.seconds(), settled
            if settled == standing:
                waited = usage.seconds()
        used = {kind: s - waited.get(kind, 0.0) + waiting.get(kind, 0.0) for kind, s in usage.seconds().items()}
        time.sleep(STATS_EVERY)
        self._judge(row, report, used, {stage: s - before.get(stage, 0.0) for stage, s in stages(client).items()})
        row.rss_mb = usage.peaks().get("workers", 0.0)
        return row

    def _judge(self, row: Row, report: CampaignReport, used: dict[str, float], stages: dict[str, float]) -> None:
        assert report.fired_at is not None
        assert report.finished_at is not None
        row.seconds = (report.finished_at - report.fired_at) / 1_000
        row.subscribers = sum(tally.audience for tally in report.channels.values())
        delivered = sum(tally.delivered for tally in report.channels.values())
        row.dead = sum(tally.dead for tally in report.channels.values())
        row.pushes_per_second = round(row.subscribers / row.seconds, 1)
        row.lost = row.subscribers - delivered - row.dead
        row.duplicates = sum(tally.retried for tally in report.channels.values())
        row.processes = {kind: round(seconds, 3) for kind, seconds in used.items()}
        each = 1e6 / row.subscribers
        row.cpu_us_per_push = round((used["workers"] + used["tarantool"]) * each, 2)
        row.stages = {stage: round(seconds * each, 2) for stage, seconds in stages.items()}
        row.stages["loop"] = round((used["workers"] - sum(stages.values())) * each, 2)
        row.stages |= {kind: round(used.get(kind, 0.0) * each, 2) for kind in ("tarantool", "node")}
        if row.sink == "twins":
            times: list[int] = []
            accepted: Counter[tuple[str | None, str]] = Counter()
            for ledger in self.data.twins.glob("*.ledger"):
                for entry in read_ledger(ledger):
                    times.append(entry.time)
                    accepted[entry.collapse, entry.token] += 1
            row.first_ms = min(times, default=report.fired_at) - report.fired_at
            row.lost = row.subscribers - len(accepted)
            row.duplicates = accepted.total() - len(accepted)


def _settled(report: CampaignReport) -> int:
    return sum(tally.settled for tally in report.channels.values())


def stages(client: Client) -> dict[str, float]:
    """Stage → seconds of CPU of all workers so far."""
    total: Counter[str] = Counter()
    for worker in client.status().workers:
        total.update(worker.stages)
    return dict(total)
