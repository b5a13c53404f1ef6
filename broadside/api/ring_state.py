"""The API's records of the ring's nodes: what runs in each, as the node itself wrote it last."""

from __future__ import annotations

import msgspec

from broadside.api.node_status import MemoryUse, TubeStatus
from campaigns.channel_state import ChannelState

LARGEST_STATE = 64 * 1024
"""Bytes of a node's state. The store keeps one for each node, and takes none that is larger."""


class ActorState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An actor in a supervision tree. What is left out is as it should be: it runs, for the first time."""

    id: str
    state: str = "running"
    """``running``, ``starting``, ``restarting``, ``parked`` (it crashes too often, and is tried again every minute),
    ``stopping`` or ``stopped``."""
    incarnation: int = 1
    """How often it was started."""
    since: int | None = None
    """Ms UTC since when it runs."""
    restarts: int = 0
    """A supervisor's: restarts of its children that count against its intensity."""
    crash: str = ""
    """Its last crash in words; empty: it has not crashed since its supervisor started."""
    crashed_at: int | None = None
    """Ms UTC."""
    children: list[ActorState] = []
    folded: int = 0
    """Actors below it that are not listed, because the record would be too large."""

    @property
    def sound(self) -> bool:
        """Whether it and all actors below it run, and have never crashed."""
        return self.state == "running" and not self.crash and all(child.sound for child in self.children)

    @property
    def below(self) -> int:
        """How many actors are below it."""
        return self.folded + sum(1 + child.below for child in self.children)


class ChannelFlow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A channel on one node: the sum of the node's workers."""

    channel: str
    platform: str
    breaker: str = "closed"
    """``closed``; ``open``: the provider refuses the whole channel, and nothing is sent; ``half-open``: one batch is
    sent to see whether it still does."""
    in_hand: int = 0
    """Batches that are being sent."""
    rate: float = 0.0
    """Pushes settled a second, over the last ten seconds."""
    limit: float | None = None
    """Pushes a second that this node may send now; null: no limit."""
    left: float | None = None
    """Pushes of it that may go at once."""
    quota: str = ""
    """The provider's quota, or the channel's own rate, in words."""
    connections: int = 0
    """Connections that take pushes."""
    wanted: int = 0
    """Connections that are to be kept up at present. More may be open, until those that are not needed end."""
    streams: int = 0
    """Pushes that await the provider's answer."""
    streams_allowed: int = 0
    """Pushes that may await it at once."""
    window: int = 0
    """Bytes that the connection with the least room takes before the provider must read on."""
    p50: float | None = None
    """Seconds within which half of the accepted pushes of the last ten seconds were answered; null: there were none."""
    p99: float | None = None
    """The same for 99 of 100."""
    most: int = 0
    """Connections that may be opened."""
    granted: int = 0
    """Bytes of the window that the provider grants a connection; 0: not known yet."""
    round_trip: float = 0.0
    """Seconds to the provider and back; 0: not known."""
    full_rate: float | None = None
    """Pushes a second that this node may send once its rate has risen; null: no limit."""
    ramp: float = 0.0
    """Seconds over which the rate rises."""
    provider_rate: bool = False
    """Whether the rate is the provider's quota, and not the channel's own ``rate``."""
    waits: dict[str, float] = {}
    """What it waited for in the last three seconds, and for which share of them: ``walk`` (its tube was empty while
    hands were free), ``rate``, ``window``, ``streams``; ``cpu``: the share in which the workers ran, or waited for a
    core, ``core``: in which they waited; and ``silence``: 1 if no push was answered in them."""


class ProcessState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process of a node."""

    name: str
    pid: int | None = None
    serving: bool = True
    starts: int = 1
    """How often it was started."""
    rss: int = 0
    """Bytes of memory, at their most."""


class NodeState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What runs in a node. It holds no token, no text of a message and no secret."""

    version: str = ""
    started_at: int | None = None
    ready: bool = False
    """Whether it can fire."""
    processes: list[ProcessState] = []
    """The node itself and its workers."""
    tree: ActorState | None = None
    """Its supervision tree; a worker's own tree is below the worker."""
    channels: list[ChannelFlow] = []
    queue: TubeStatus | None = None
    """Its tubes; null: they are not counted, because nobody has looked at the ring in the last seconds."""


class RingNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node of the ring."""

    name: str
    this: bool = False
    """Whether it is the node that answers."""
    status: str
    """``alive``; ``away``: no heartbeat for 15 s; ``fenced``: forgotten, but its lease may still be valid;
    ``forgotten``."""
    epoch: int = 0
    seen_at: int | None = None
    """Time of its last heartbeat, ms UTC."""
    leased: bool = False
    """Whether its queue may have a lease, so that it may be sending."""
    unsettled_pages: int = 0
    state: NodeState | None = None
    """What it wrote last; null: nothing that this node can read."""
    told_at: int | None = None
    """When it wrote that, ms UTC."""
    standing: list[ChannelState] = []
    """Why channels send nothing on this node, or less than they could."""


class RingState(msgspec.Struct, frozen=True, kw_only=True):
    """The whole ring."""

    store: str = ""
    """Why the store cannot be asked: then only the node that answers is listed. Empty: it was asked."""
    nodes: list[RingNode]
    memory: dict[str, MemoryUse] = {}
    """``store``. A node's queue is in its ``state``."""

    def steady(self) -> RingState:
        """The same without what changes with the time alone."""
        replace = msgspec.structs.replace
        nodes = [replace(each, seen_at=None, told_at=None) if each.status == "alive" else each for each in self.nodes]
        return replace(self, nodes=nodes, memory={})


_DECODER = msgspec.json.Decoder(NodeState)


def write_state(state: NodeState) -> str:
    """A node's state as the store keeps it: at most `LARGEST_STATE` bytes.

    Of a larger one sound parts of the tree are folded first; then all lists are cut.
    """
    text = msgspec.json.encode(state)
    if len(text) > LARGEST_STATE and state.tree is not None:
        state = msgspec.structs.replace(state, tree=_folded(state.tree))
        text = msgspec.json.encode(state)
    most = 256
    while len(text) > LARGEST_STATE:
        most //= 2
        text = msgspec.json.encode(_cut(state, most))
    return text.decode()


def read_state(text: str) -> NodeState | None:
    """Read it; None: another version wrote it otherwise."""
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _folded(actor: ActorState) -> ActorState:
    """Leave out what is below each supervisor where all is sound."""
    children = [
        msgspec.structs.replace(child, children=[], folded=child.below) if child.sound else _folded(child)
        for child in actor.children
    ]
    return msgspec.structs.replace(actor, children=children)


def _cut(state: NodeState, most: int) -> NodeState:
    queue = state.queue
    if queue is not None:
        queue = msgspec.structs.replace(queue, tubes=dict(list(queue.tubes.items())[:most]))
    return msgspec.structs.replace(
        state,
        tree=None if state.tree is None else _pruned(state.tree, most),
        channels=state.channels[:most],
        processes=state.processes[:most],
        queue=queue,
    )


def _pruned(actor: ActorState, most: int) -> ActorState:
    """Keep at most ``most`` actors below each supervisor, those with a fault first, in their order."""
    worst = sorted(actor.children, key=lambda child: child.sound)[:most]
    kept = [_pruned(child, most) for child in actor.children if any(child is each for each in worst)]
    folded = actor.below - sum(1 + child.below for child in kept)
    return msgspec.structs.replace(actor, children=kept, folded=folded)
