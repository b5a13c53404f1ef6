"""The figures of a node's processes, for metrics and status."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Sequence
from typing import Any

import trio

from broadside.console.metrics import NodeFigures, WorkerFigures
from broadside.machine_limits import peak_memory
from broadside.node.processes import WorkerState
from broadside.release import version
from campaigns.channel_figures import ChannelFigures
from transports.load import NO_LOAD, Load


def node_figures(name: str, workers: Sequence[WorkerState], served: Iterable[str], *, ready: bool) -> NodeFigures:
    """What was counted since the node's start. ``served``: its channels, also those of which nothing was counted."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    channels: dict[str, ChannelFigures] = {channel: ChannelFigures() for channel in served}
    loads: dict[str, Load] = {}
    each = {}
    for worker in workers:
        counters, stats = worker.counters(), worker.stats
        for channel, load in (stats.loads if stats and worker.pid is not None else {}).items():
            loads[channel] = loads.get(channel, NO_LOAD).plus(load)
        for channel, figures in counters.channels.items():
            channels.setdefault(channel, ChannelFigures()).add(figures)
        each[worker.name] = WorkerFigures(
            serving=worker.serving,
            starts=worker.starts,
            cpu=counters.cpu,
            stages=counters.stages,
            rss=stats.rss if stats else 0,
            tasks=stats.tasks if stats else 0,
        )
    return NodeFigures(
        name=name,
        version=version(),
        ready=ready,
        cpu=usage.ru_utime + usage.ru_stime,
        rss=peak_memory(),
        tasks=trio.lowlevel.current_statistics().tasks_living,
        workers=each,
        channels=channels,
        loads=loads,
    )


def process_status(workers: Sequence[WorkerState]) -> dict[str, Any]:
    """The node's own process and its workers, as ``NodeStatus`` has them."""
    return {
        "pid": os.getpid(),
        "rss": peak_memory(),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "workers": [
            {
                "name": worker.name,
                "pid": worker.pid,
                "serving": worker.serving,
                "rss": worker.stats.rss if worker.stats else None,
                "connections": {
                    name: load._asdict() for name, load in (worker.stats.loads if worker.stats else {}).items()
                },
                "cpu": worker.stats.cpu if worker.stats else None,
                "stages": worker.stats.stages if worker.stats else {},
                "tasks": worker.stats.tasks if worker.stats else None,
            }
            for worker in workers
        ],
    }
