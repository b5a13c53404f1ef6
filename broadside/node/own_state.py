"""The node's own state, for the page of any node: its trees, channels and tubes. Written with each heartbeat."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from actors.channel_activity import ChannelActivity
from broadside.api.node_status import TubeStatus
from broadside.api.ring_state import ActorState, ChannelFlow, NodeState, ProcessState, write_state
from broadside.machine_limits import peak_memory
from broadside.node.counting import activities, counted
from broadside.node.flow_meter import Flow, FlowMeter
from broadside.node.processes import WorkerState
from broadside.node.quotas import Allowance
from broadside.release import version
from campaigns.clock import wall_clock
from storage.errors import StorageError
from supervision import Snapshot
from transports.load import Load

EVERY = 0.9
"""Seconds between two texts: heartbeats come each second, and more often while a campaign is being paused."""
PATIENCE = 0.5
"""Seconds that a heartbeat waits for the tubes' numbers."""
_BREAKER = ("open", "half-open")
"""The worst first."""


class OwnState:
    """Describes one node.

    ``platforms``: channel → platform; ``quotas``: channel → its allowance; ``tree``: the node's supervision
    tree with its workers' trees in it; ``ready``: whether it can fire; ``count``: counts its tubes.
    """

    def __init__(
        self,
        *,
        workers: Sequence[WorkerState],
        platforms: Mapping[str, str],
        quotas: Callable[[], Mapping[str, Allowance]],
        tree: Callable[[], Snapshot],
        ready: Callable[[], bool],
        count: Callable[[], Awaitable[TubeStatus]],
    ) -> None:
        self._workers = workers
        self._platforms = platforms
        self._quotas = quotas
        self._tree = tree
        self._ready = ready
        self._count = count
        self._meter = FlowMeter()
        self._started_at = wall_clock()
        self._written = -math.inf

    def serve(self, platforms: Mapping[str, str]) -> None:
        """Describe these channels from now on."""
        self._platforms = platforms

    async def text(self, counting: bool) -> str:
        """What the store keeps for other nodes; empty: the last text is not a second old. ``counting``: with tubes."""
        now = trio.current_time()
        if now - self._written < EVERY:
            return ""
        self._written = now
        return write_state(await self.state(counting))

    async def state(self, counting: bool = True) -> NodeState:
        """The node's state now. Without its tubes if they are not asked for, or cannot be counted at once."""
        queue = None
        if counting:
            with trio.move_on_after(PATIENCE):
                try:
                    queue = await self._count()
                except StorageError:
                    queue = None
        return NodeState(
            version=version(),
            started_at=self._started_at,
            ready=self._ready(),
            processes=[ProcessState(name="node", pid=os.getpid(), rss=peak_memory()), *map(_process, self._workers)],
            tree=actor_state(self._tree()),
            channels=self._channels(),
            queue=queue,
        )

    def _channels(self) -> list[ChannelFlow]:
        parts = activities(self._workers, self._platforms)
        self._meter.sample(trio.current_time(), counted(self._workers, parts))
        quotas = self._quotas()
        loads = [worker.stats.loads for worker in self._workers if worker.stats is not None]
        return [
            _flow(
                (name, platform),
                quotas.get(name, Allowance(None, "")),
                parts[name],
                self._meter.flow(name),
                [of[name] for of in loads if name in of],
                len(self._workers),
            )
            for name, platform in self._platforms.items()
        ]


def _flow(
    channel: tuple[str, str],
    quota: Allowance,
    parts: Sequence[ChannelActivity],
    flow: Flow,
    loads: Sequence[Load],
    workers: int,
) -> ChannelFlow:
    """A channel on this node: its name and its platform. ``parts``, ``loads``: of each worker."""
    pace = quota.pace
    traffics = [part.traffic for part in parts if part.traffic is not None]
    limited = [part for part in parts if part.limit is not None]
    return ChannelFlow(
        channel=channel[0],
        platform=channel[1],
        breaker=next((word for word in _BREAKER if any(part.breaker == word for part in parts)), "closed"),
        in_hand=sum(part.in_hand for part in parts),
        rate=flow.rate,
        limit=round(sum(part.limit or 0.0 for part in limited), 1) if limited else None,
        left=float(round(sum(part.left or 0.0 for part in limited))) if limited else None,
        quota=quota.text,
        connections=sum(each.connections for each in traffics),
        wanted=sum(each.wanted for each in traffics),
        streams=sum(each.streams for each in traffics),
        streams_allowed=sum(each.streams_allowed for each in traffics),
        window=min((each.window for each in traffics if each.connections), default=0),
        p50=flow.p50,
        p99=flow.p99,
        most=sum(load.most for load in loads),
        granted=max((each.granted for each in traffics), default=0),
        round_trip=round(min((each.round_trip for each in traffics if each.round_trip), default=0.0), 4),
        full_rate=None if pace is None else round(pace.rate * workers, 1),
        ramp=0.0 if pace is None else pace.ramp,
        provider_rate=quota.provider,
        waits=flow.waits,
    )


def actor_state(shot: Snapshot) -> ActorState:
    """A supervision tree as the API shows it."""
    since, crashed_at = shot.get("since"), shot.get("crashed_at")
    return ActorState(
        id=shot.get("id", ""),
        state=shot.get("state", ""),
        incarnation=shot.get("incarnation", 1),
        since=None if since is None else round(1000 * since),
        restarts=shot.get("restarts", 0),
        crash=shot.get("crash", ""),
        crashed_at=None if crashed_at is None else round(1000 * crashed_at),
        children=[actor_state(child) for child in shot.get("children", ())],
    )


def _process(worker: WorkerState) -> ProcessState:
    rss = worker.stats.rss if worker.stats else 0
    return ProcessState(name=worker.name, pid=worker.pid, serving=worker.serving, starts=worker.starts, rss=rss)
