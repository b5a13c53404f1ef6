"""``/metrics``: the node's figures for Prometheus, gathered when they are asked for.

The node's parent process answers for its workers. Labels are names of the configuration, and ids of the newest
campaigns: never a token, never a text.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from broadside.api.alarm import Alarm
from broadside.api.campaign_report import CampaignLine
from broadside.newsroom.alarm_board import RECENT, AlarmBoard, Look
from broadside.newsroom.newsroom import Newsroom
from campaigns.channel_figures import BOUNDS, ChannelFigures
from campaigns.tally import ENDS
from storage.errors import StorageError
from transports.load import Load

NEWEST = 20
"""Campaigns that are shown by their id."""
WITHIN = 3.0
"""Seconds in which Tarantool must answer; else its figures are left out."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class WorkerFigures:
    """One worker, over all its incarnations."""

    serving: bool
    starts: int
    cpu: float
    """Seconds of processor time."""
    stages: dict[str, float]
    """The same by stage of a push."""
    rss: int
    """Peak resident memory, bytes; 0: it does not run."""
    tasks: int


@dataclass(frozen=True, kw_only=True)
class NodeFigures:
    """What the node's parent process knows without asking anybody."""

    name: str
    version: str
    ready: bool
    cpu: float
    rss: int
    tasks: int
    workers: dict[str, WorkerFigures]
    channels: dict[str, ChannelFigures]
    loads: dict[str, Load]
    """Channel → its connections over all workers."""


class Metrics:
    """Gathers and writes the figures."""

    def __init__(self, newsroom: Newsroom, board: AlarmBoard, node: Callable[[], NodeFigures]) -> None:
        self._newsroom = newsroom
        self._board = board
        self._node = node

    async def text(self) -> bytes:
        """The figures now, in Prometheus's text format. While Tarantool is away its own are left out."""
        began = time.perf_counter()
        seen = await self._board.look(RECENT)
        subscribers, campaigns = await self._counted() if seen.reached else ({}, [])
        node = self._node()
        families = [*_node(node), *_channels(node), *_seen(seen), *_subscribers(subscribers)]
        took = GaugeMetricFamily("broadside_scrape_seconds", "Seconds that it took to gather these figures.")
        took.add_metric([], time.perf_counter() - began)
        registry = CollectorRegistry()
        registry.register(
            _Gathered([*families, *_campaigns(campaigns), *_alarms(seen.alarms), *_broadcasts(self._newsroom), took])
        )
        return generate_latest(registry)

    async def _counted(self) -> tuple[dict[str, int], list[CampaignLine]]:
        """Subscribers by channel, and the newest campaigns."""
        with trio.move_on_after(WITHIN), contextlib.suppress(StorageError):
            return await self._newsroom.subscribers.count(), (await self._newsroom.campaigns(NEWEST)).items
        return {}, []


class _Gathered(Collector):
    """Metric families that are complete already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._families


def _node(node: NodeFigures) -> Iterator[Metric]:
    info = InfoMetricFamily("broadside_node", "This node.")
    info.add_metric([], {"node": node.name, "version": node.version})
    yield info
    ready = GaugeMetricFamily("broadside_ready", "1: the node can fire.")
    ready.add_metric([], float(node.ready))
    yield ready
    cpu = CounterMetricFamily("broadside_cpu_seconds", "Processor time by process.", labels=["process"])
    memory = GaugeMetricFamily("broadside_peak_memory_bytes", "Peak resident memory by process.", labels=["process"])
    tasks = GaugeMetricFamily("broadside_tasks", "Living Trio tasks by process.", labels=["process"])
    serving = GaugeMetricFamily("broadside_worker_serving", "1: the worker's actors are up.", labels=["process"])
    starts = CounterMetricFamily("broadside_worker_starts", "Starts of a worker's process.", labels=["process"])
    stages = CounterMetricFamily(
        "broadside_stage_cpu_seconds", "Processor time of all workers by stage of a push.", labels=["stage"]
    )
    by_stage: dict[str, float] = {}
    cpu.add_metric(["node"], node.cpu)
    memory.add_metric(["node"], node.rss)
    tasks.add_metric(["node"], node.tasks)
    for name, worker in node.workers.items():
        cpu.add_metric([name], worker.cpu)
        memory.add_metric([name], worker.rss)
        tasks.add_metric([name], worker.tasks)
        serving.add_metric([name], float(worker.serving))
        starts.add_metric([name], worker.starts)
        for stage, seconds in worker.stages.items():
            by_stage[stage] = by_stage.get(stage, 0.0) + seconds
    for stage, seconds in sorted(by_stage.items()):
        stages.add_metric([stage], seconds)
    yield from (cpu, memory, tasks, serving, starts, stages)


def _channels(node: NodeFigures) -> Iterator[Metric]:
    pushes = CounterMetricFamily(
        "broadside_pushes",
        "Pushes that this node has settled, by outcome; retried: attempts that led to another one.",
        labels=["channel", "outcome"],
    )
    took = HistogramMetricFamily(
        "broadside_batch_seconds", "Seconds from a batch's first push to its last answer.", labels=["channel"]
    )
    for name, figures in sorted(node.channels.items()):
        for outcome, count in sorted(figures.outcomes.items()):
            pushes.add_metric([name, outcome], count)
        buckets, total = [], 0
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], figures.took, strict=True):
            total += count
            buckets.append((bound, total))
        took.add_metric([name], buckets, figures.seconds)
    connections = GaugeMetricFamily("broadside_connections", "Connections to the provider.", labels=["channel"])
    most = GaugeMetricFamily("broadside_connections_most", "Connections that may be opened.", labels=["channel"])
    full = GaugeMetricFamily(
        "broadside_connections_full",
        "Connections with pushes to send that wait for the provider's window, or for answers (streams).",
        labels=["channel", "bound"],
    )
    for name, load in sorted(node.loads.items()):
        connections.add_metric([name], load.connections)
        most.add_metric([name], load.most)
        full.add_metric([name, "window"], load.by_window)
        full.add_metric([name, "streams"], load.by_streams)
    yield from (pushes, took, connections, most, full)


def _seen(seen: Look) -> Iterator[Metric]:
    reached = GaugeMetricFamily("broadside_tarantool_reached", "1: the store and this node's queue answer.")
    reached.add_metric([], float(seen.reached))
    yield reached
    tubes = GaugeMetricFamily("broadside_tube_tasks", "Tasks by tube and state.", labels=["tube", "state"])
    for name, tasks in sorted((seen.tubes.tubes if seen.tubes else {}).items()):
        for state in ("ready", "taken", "delayed", "buried"):
            tubes.add_metric([name, state], tasks.get(state, 0))
    parked = GaugeMetricFamily("broadside_parked_batches", "Batches parked for paused campaigns.")
    outbox = GaugeMetricFamily("broadside_outbox_reports", "Reports that are not in the store yet.")
    if seen.tubes:
        parked.add_metric([], seen.tubes.parked)
        outbox.add_metric([], seen.tubes.outbox)
    age = GaugeMetricFamily("broadside_outbox_age_seconds", "For how long the oldest of them has waited.")
    if seen.reached:
        age.add_metric([], seen.outbox_age)
    used = GaugeMetricFamily("broadside_memory_used_bytes", "Tarantool's memory in use.", labels=["server"])
    size = GaugeMetricFamily("broadside_memory_size_bytes", "Tarantool's memory for data.", labels=["server"])
    for name, memory in sorted(seen.memory.items()):
        used.add_metric([name], memory.used)
        size.add_metric([name], memory.size)
    heard = GaugeMetricFamily(
        "broadside_node_seen_seconds", "Seconds since the last heartbeat of each node of the ring.", labels=["peer"]
    )
    pages = GaugeMetricFamily(
        "broadside_node_unsettled_pages", "Pages of each node of the ring that are not settled.", labels=["peer"]
    )
    for peer in seen.peers:
        if peer.status == "current":
            heard.add_metric([peer.name], peer.seconds_ago)
            pages.add_metric([peer.name], peer.unsettled_pages)
    yield from (tubes, parked, outbox, age, used, size, heard, pages)


def _subscribers(subscribers: dict[str, int]) -> Iterator[Metric]:
    base = GaugeMetricFamily("broadside_subscribers", "Subscribers by channel.", labels=["channel"])
    for name, count in sorted(subscribers.items()):
        base.add_metric([name], count)
    yield base


def _campaigns(campaigns: list[CampaignLine]) -> Iterator[Metric]:
    ends = GaugeMetricFamily(
        "broadside_campaign_recipients",
        f"Recipients of the newest {NEWEST} campaigns by outcome, and those that remain.",
        labels=["campaign", "channel", "outcome"],
    )
    rate = GaugeMetricFamily(
        "broadside_campaign_rate", "Pushes settled a second, while something could be sent.", labels=["campaign"]
    )
    under_way = GaugeMetricFamily("broadside_campaigns", f"The newest {NEWEST} campaigns by state.", labels=["state"])
    states: dict[str, int] = {}
    for report in campaigns:
        states[report.state] = states.get(report.state, 0) + 1
        rate.add_metric([report.id], report.rate)
        for channel, tally in report.channels.items():
            for word in (*ENDS, "remaining"):
                if count := getattr(tally, word):
                    ends.add_metric([report.id, channel, word], count)
    for state, count in sorted(states.items()):
        under_way.add_metric([state], count)
    yield from (ends, rate, under_way)


def _alarms(alarms: list[Alarm]) -> Iterator[Metric]:
    wrong = GaugeMetricFamily(
        "broadside_alarm",
        "1 for each thing that is wrong; docs/runbooks has a page for each name.",
        labels=["name", "severity", "about", "peer"],
    )
    for labels in {(each.name.value, each.severity.value, each.about, each.node) for each in alarms}:
        wrong.add_metric(list(labels), 1.0)
    yield wrong


def _broadcasts(newsroom: Newsroom) -> Iterator[Metric]:
    there = GaugeMetricFamily(
        "broadside_broadcast_channels",
        "Broadcast channels at the provider, by app and host; counted once an hour.",
        labels=["place"],
    )
    most = GaugeMetricFamily("broadside_broadcast_channels_most", "How many the provider keeps.", labels=["place"])
    for place, found in sorted(newsroom.stories.places.items()):
        there.add_metric([place], found.channels)
        most.add_metric([place], found.limit)
    yield from (there, most)
