"""The API's records about a node: whether it can fire, and what runs in it."""

from __future__ import annotations

from typing import Any

import msgspec

from broadside.api.alarm import Alarm
from campaigns.channel_state import ChannelState


class Health(msgspec.Struct, frozen=True):
    """The API answers."""

    ok: bool


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the node can fire."""

    ready: bool
    alarms: list[Alarm] = []
    """What is wrong, the worst first."""


class Connections(msgspec.Struct, frozen=True):
    """A worker's connections to one channel's provider."""

    connections: int
    most: int
    """That it may open: its share of the channel's ``connections``."""
    by_window: int
    """Those that wait, with requests, for the provider to take what was sent (its flow-control window)."""
    by_streams: int
    """Those that wait, with requests, for answers: the provider allows no more without one."""


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process."""

    name: str
    pid: int | None
    serving: bool
    rss: int | None
    """Bytes of memory."""
    cpu: float | None
    """Seconds of CPU."""
    stages: dict[str, float]
    """Stage of its work → seconds of CPU."""
    tasks: int | None
    """Trio tasks alive."""
    connections: dict[str, Connections] = {}
    """Channel → its connections, and what they wait for."""


class TwinStatus(msgspec.Struct, frozen=True):
    """A twin that stands for a provider."""

    origin: str
    ledger: str
    """The file with all that it accepted."""


class MemoryUse(msgspec.Struct, frozen=True):
    """How full a Tarantool's memory is, in bytes."""

    used: int
    size: int


class TubeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The node's tubes."""

    tubes: dict[str, dict[str, int]]
    """Tube → state → tasks in that state."""
    unsettled: int = 0
    """Recipients of batches that workers have taken and not settled: if all workers died now, at most so many would be
    sent to again."""
    parked: int
    """Batches parked for paused campaigns."""
    outbox: int
    """Reports that are not in the store yet."""
    marks: int
    """Pages that were put on tubes, of campaigns under way."""
    memory: dict[str, Any]
    """Memory of the queue's Tarantool."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What runs in a node."""

    node: str
    """Its name."""
    pid: int = 0
    ready: bool = False
    """Whether it can fire."""
    rss: int = 0
    """Bytes of the parent's memory, at their most."""
    tasks: int = 0
    """Trio tasks alive in the parent."""
    workers: list[WorkerStatus] = []
    paused: dict[str, str] = {}
    """Channel → why it sends nothing, or less than it could, on this node."""
    quotas: dict[str, str] = {}
    """Channel → its provider's quota in words."""
    twins: dict[str, TwinStatus] = {}
    """Platform → the twin that the node runs for it."""
    tree: dict[str, Any] = {}
    """The supervision tree."""
    queue: TubeStatus | None
    """None: Tarantool is away."""
    memory: dict[str, MemoryUse]
    """``store``, and ``queue`` if that is a Tarantool of its own; empty: Tarantool is away."""
    alarms: list[Alarm]
    """What is wrong, the worst first."""
    channels: list[ChannelState]
    """Why channels send nothing, or less than they could."""
