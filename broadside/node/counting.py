"""A channel's counters on this node: what its workers have reported, summed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actors.channel_activity import ChannelActivity
from broadside.node.flow_meter import Counted
from broadside.node.processes import WorkerState
from campaigns.channel_figures import ChannelFigures
from transports.traffic import CLASSES

RETRIED = "retried"
"""Attempts that led to another: no push is settled by them."""


def activities(workers: Sequence[WorkerState], names: Iterable[str]) -> dict[str, list[ChannelActivity]]:
    """Channel → what it does in each worker."""
    live = [worker.stats.activity for worker in workers if worker.stats is not None]
    return {name: [of[name] for of in live if name in of] for name in names}


def counted(workers: Sequence[WorkerState], parts: dict[str, list[ChannelActivity]]) -> dict[str, Counted]:
    """Channel → its counters. ``parts``: as :func:`activities` returns them."""
    counters = [worker.counters().channels for worker in workers]
    live = [worker.stats for worker in workers if worker.stats is not None]
    busy = sum(stats.busy for stats in live), sum(stats.waited for stats in live)
    return {
        name: _counted([of[name] for of in counters if name in of], found, busy, len(live))
        for name, found in parts.items()
    }


def _counted(
    figures: Sequence[ChannelFigures], parts: Sequence[ChannelActivity], busy: tuple[float, float], workers: int
) -> Counted:
    answers, looks, connections, by_window, by_streams = [0] * CLASSES, 0, 0, 0.0, 0.0
    for part in parts:
        if (traffic := part.traffic) is not None:
            answers = [mine + theirs for mine, theirs in zip(answers, traffic.answers, strict=True)]
            looks += traffic.looks
            connections += min(traffic.wanted, traffic.connections)  # without the one that is kept for the upper lane
            by_window += traffic.by_window
            by_streams += traffic.by_streams
    return Counted(
        sum(count for each in figures for word, count in each.outcomes.items() if word != RETRIED),
        answers,
        starved=sum(part.starved for part in parts),
        rated=sum(part.rated for part in parts),
        busy=busy[0],
        waited=busy[1],
        looks=looks,
        by_window=by_window,
        by_streams=by_streams,
        workers=workers,
        connections=connections,
    )
