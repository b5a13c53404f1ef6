"""What the model needs of each node: from its state now, from what it has learnt, and where both say nothing, careful
guesses. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from broadside.api.forecast_records import Limit
from broadside.api.ring_state import ChannelFlow, NodeState, RingNode
from broadside.newsroom.forecasts.model import NodeSpeed, Pipe
from campaigns.batch import RECIPIENTS_A_BATCH
from campaigns.channel_state import ChannelState
from campaigns.experience import ChannelExperience, NodeExperience
from transports.registry import weight_of
from transports.traffic import mean, quantile

COST = 40e-6
"""Seconds of a core for a push, where nothing was learnt: two or three times as long as the machines that we know."""
ROW = 10e-6
"""Seconds of a walker for a subscriber …"""
SKIPPED = 3e-6
"""… and for a row that is not in the audience."""
STREAMS = 100.0
ANSWER = 0.2
WINDOW = 65_535
ROUND_TRIP = 0.08
"""Seconds; 0 is no guess: a provider is far away."""
A_BATCH = float(RECIPIENTS_A_BATCH)
OCTETS = 600
"""Bytes of a push on a channel whose messages this node cannot render."""
OPENED = 2.0
"""Connections of a worker that are always up."""
BEGIN = 0.2
AGAIN = 1.2
"""Seconds until what the provider has put off is tried again."""
FAST = 0.01
"""Share of the answers that are the fastest: they take little more than the round trip."""

STANDING: Mapping[str, Limit] = {
    "question": "provider",
    "parked": "node",
    "breaker": "provider",
    "unreachable": "provider",
    "unserved": "node",
    "settling": "node",
    "silent": "provider",
}
"""Reason why a channel stands still → the limit that it is. For other reasons it goes on: the model says how fast."""


class NodeOutlook(NamedTuple):
    """One node: what it can do, for each channel of the campaign."""

    name: str
    workers: int
    speed: NodeSpeed
    pipes: dict[str, Pipe]
    stopped: dict[str, ChannelState]
    """Channel → why it sends nothing now."""


def outlook(
    node: RingNode,
    state: NodeState,
    learnt: NodeExperience,
    octets: Mapping[str, int],
    skipped: float,
) -> NodeOutlook:
    """``octets``: channel of the campaign → bytes of a push; ``skipped``: rows that the walk skips, to each phone."""
    flows = {flow.channel: flow for flow in state.channels}
    workers = max(1, len(state.processes) - 1)
    standing = {each.channel: each for each in node.standing}
    speed = NodeSpeed(
        walk=workers / ((learnt.row or ROW) + skipped * (learnt.skipped or SKIPPED)),
        cpu=_cpu(learnt, workers),
        begin=BEGIN,
    )
    return NodeOutlook(
        node.name,
        workers,
        speed,
        {
            name: _pipe(flows.get(name), learnt.channels.get(name), size, workers, speed.cpu)
            for name, size in octets.items()
        },
        {name: standing[name] for name in octets if name in standing and standing[name].reason in STANDING},
    )


def careful(learnt: Mapping[str, NodeExperience], channels: Collection[str], nodes: Sequence[str]) -> list[str]:
    """Say where nothing was learnt yet."""
    found = [learnt.get(node, NodeExperience()) for node in nodes]
    new = sorted(name for name in channels if not any(_known(each.channels.get(name)) for each in found))
    sentences = []
    if new:
        what = f"no experience yet with {' and '.join(new)}" if len(new) < 4 else "no experience yet with most channels"
        sentences.append(f"{what}: answers of {ANSWER:g} s and a round trip of {1000 * ROUND_TRIP:g} ms are assumed")
    if not any(each.cost for each in found):
        sentences.append(f"no experience yet with this machine: {1 / COST:,.0f} pushes a second of a core are assumed")
    return sentences


def _known(channel: ChannelExperience | None) -> bool:
    return channel is not None and channel.pushes > 0


def _cpu(learnt: NodeExperience, workers: int) -> float:
    if learnt.saturated:
        return learnt.saturated
    cores = learnt.cores or workers
    if not learnt.cost:
        return cores / COST
    spare = max(0.2, cores - learnt.background)
    return min(spare / learnt.cost, workers / learnt.busy if learnt.busy else math.inf)


def _pipe(flow: ChannelFlow | None, learnt: ChannelExperience | None, octets: int, workers: int, cpu: float) -> Pipe:
    known = learnt or ChannelExperience()
    most = float(flow.most if flow is not None and flow.most else OPENED * workers)
    up = min(most, float(max(flow.wanted, flow.connections) if flow is not None else 0) or OPENED * workers)
    answer = mean(known.answers) or ANSWER
    streams = known.streams or STREAMS
    trip = known.round_trip or (quantile(known.answers, FAST) if known.answers else None) or ROUND_TRIP
    by_streams = streams * known.fit / answer
    by_window = (known.window or WINDOW) / max(1, octets) / trip
    rate = flow.full_rate if flow is not None and flow.full_rate is not None else math.inf
    weight = weight_of(flow.platform) if flow is not None else 1.0
    fastest = min(most * min(by_streams, by_window), rate, cpu / weight)
    return Pipe(
        connections=up,
        most=most,
        by_streams=by_streams,
        by_window=by_window,
        rate=rate,
        rate_now=rate if flow is None or flow.limit is None else flow.limit,
        ramp=0.0 if flow is None else flow.ramp,
        head=0.0 if flow is None or flow.left is None else flow.left + min(rate, A_BATCH * workers),
        weight=weight,
        rate_word="quota" if flow is not None and flow.provider_rate else "rate",
        asked_less=known.asked_less or math.inf,
        tail=_tail(known, fastest * answer),
        answer=answer,
    )


def _tail(known: ChannelExperience, in_flight: float) -> float:
    """Seconds until the last of the pushes in flight is answered."""
    last = quantile(known.answers, 1 - 1 / (in_flight + 1)) if known.answers else None
    return max(last or 2 * ANSWER, AGAIN if known.retried > 1e-3 else 0.0)
