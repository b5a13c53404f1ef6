"""How far a campaign has come in the whole ring, and what holds it up now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from broadside.api.campaign_report import CampaignReport
from broadside.api.forecast_records import Bottleneck, Limit, Reach, ReachPart
from broadside.api.forecast_text import speed
from broadside.api.ring_state import ChannelFlow, RingNode, RingState
from broadside.newsroom.forecasts.inputs import STANDING
from broadside.newsroom.forecasts.words import provider_of, why
from campaigns.channel_state import ChannelState, worst
from campaigns.drill import is_drill_channel
from campaigns.reach import Counts, merged, seconds_until
from campaigns.tally import Tally
from storage.forecasts import RateRow, ReachRow

MOSTLY = 0.5
"""Share of the last seconds in which a channel must have waited for something, for that to hold it up."""
BUSY = 0.8
"""The same for the workers: above it they have no core to spare."""
PACED = 0.75
"""Share of the people a second that the newsroom's site bears, from which on they are what holds it up."""
WAITING = 0.35
"""Share of the time in which the workers wait for a core, from which on that is what holds them up: a Tarantool on the
same cores waits too, and the workers for it."""
LATE = 1.0
"""Seconds for half of the answers, from which on the provider is slow."""
STOPPED = ("pausing", "paused", "cancelling")


def reach(
    report: CampaignReport,
    rows: Sequence[ReachRow],
    rates: Sequence[RateRow],
    ring: RingState | None,
    states: Iterable[ChannelState],
) -> Reach:
    """``ring``: what runs in every node; None: nobody needs to know what holds it up."""
    every = merged(row.counts for row in rows)
    accepted = sum(every.values())
    waits = sum(tally.remaining for tally in report.channels.values())
    total = accepted + (0 if report.ended else waits)
    rate = sum(row.rate for row in rates) if report.state == "firing" else 0.0
    left = waits - report.held
    now = {(row.channel, row.node): row.rate for row in rates}
    return Reach(
        accepted=accepted,
        p50=_short(seconds_until(every, 0.5 * total)),
        p90=_short(seconds_until(every, 0.9 * total)),
        p99=_short(seconds_until(every, 0.99 * total)),
        rate=round(rate, 1),
        left=round(left / rate, 1) if rate and left > 0 else None,
        parts=[_part(row.channel, row.node, row.counts, now.get((row.channel, row.node), 0.0)) for row in rows],
        bottlenecks=[] if ring is None else bottlenecks(report, ring, states, rates),
    )


def _part(channel: str, node: str, counts: Counts, rate: float) -> ReachPart:
    accepted = sum(counts.values())
    p50, p90, p99 = (_short(seconds_until(counts, share * accepted)) for share in (0.5, 0.9, 0.99))
    return ReachPart(channel=channel, node=node, accepted=accepted, p50=p50, p90=p90, p99=p99, rate=round(rate, 1))


def _short(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds:.3g}")


def bottlenecks(
    report: CampaignReport, ring: RingState, states: Iterable[ChannelState], rates: Sequence[RateRow]
) -> list[Bottleneck]:
    """What keeps each channel with pushes left from being faster; what the campaign waits for longest comes first."""
    if report.state in STOPPED:
        sentence = "It is paused: nothing is sent." if report.state == "paused" else "It is being stopped."
        return [Bottleneck(limit="paused", sentence=sentence)]
    if report.state != "firing":
        return []
    channels = {name: tally for name, tally in report.channels.items() if tally.remaining}
    if channels and report.held and sum(tally.remaining for tally in channels.values()) <= report.held:
        return [Bottleneck(limit="quiet_hours", sentence=f"It waits for {why('quiet_hours')}.")]
    known = list(states)
    rate = sum(row.rate for row in rates)
    if report.herd is not None and rate >= PACED * report.herd.now:
        return [Bottleneck(limit="herd", sentence=f"It waits for {why('herd', detail=speed(report.herd.now))}.")]
    found = [
        (_longest(tally, name, rates), _bottleneck(name, tally, report, ring, [s for s in known if s.channel == name]))
        for name, tally in channels.items()
        # no node says what its channels of drills wait for: then nothing is known but why one stands still
        if not is_drill_channel(name) or any(state.channel == name for state in known)
    ]
    return [each for _, each in sorted(found, key=lambda item: -item[0])]


def _longest(tally: Tally, channel: str, rates: Sequence[RateRow]) -> float:
    """Seconds that a channel still takes."""
    return tally.remaining / max(1e-3, sum(row.rate for row in rates if row.channel == channel))


def _bottleneck(
    channel: str, tally: Tally, report: CampaignReport, ring: RingState, states: Sequence[ChannelState]
) -> Bottleneck:
    flows = [(node, flow) for node in ring.nodes if node.status == "alive" for flow in _flows(node, channel)]
    standing = worst(states).get(channel)
    everywhere = len({state.node for state in states}) >= len(flows)  # of several nodes the others may send
    if standing is not None and standing.reason in STANDING and everywhere:
        limit = STANDING[standing.reason]
        return Bottleneck(limit=limit, sentence=standing.sentence, channel=channel, node=standing.node)
    if not flows:
        return Bottleneck(limit="node", sentence=f"no node of the ring serves {channel} now", channel=channel)
    # the node that is slowest: that has most in hand for its rate
    node, flow = max(flows, key=lambda pair: pair[1].in_hand / max(1.0, pair[1].rate))
    mine = next((state for state in states if state.node == ("" if node.this else node.name)), None)
    limit, detail = name_of(flow, mine, walked=report.walked)
    provider = provider_of(flow.platform)
    return Bottleneck(limit=limit, sentence=_sentence(limit, provider, detail), channel=channel, node=node.name)


def _flows(node: RingNode, channel: str) -> list[ChannelFlow]:
    return [] if node.state is None else [flow for flow in node.state.channels if flow.channel == channel]


def name_of(flow: ChannelFlow, state: ChannelState | None, *, walked: bool) -> tuple[Limit, str]:
    """What a channel waits for on a node, and figures. ``state``: why it stands still there, if it does.

    The order matters: who waits for a quota has nothing in hand, and so no full window; a worker without a core to
    spare leaves its streams full; and where hands are free for most of the time, nothing of that slows it down.
    """
    waits = flow.waits
    if state is not None and state.reason in STANDING:
        return STANDING[state.reason], state.sentence
    if state is not None and state.reason == "quota":
        return "quota", state.sentence
    if waits.get("rate", 0.0) >= MOSTLY or (state is not None and state.reason == "limiter"):
        return "quota" if flow.provider_rate else "rate", speed(flow.limit or flow.full_rate or flow.rate)
    if waits.get("walk", 0.0) >= MOSTLY and not walked:
        return "walk", f"its tube was empty for {waits['walk']:.0%} of the last seconds"
    full: Mapping[str, Limit] = {"window": "window", "streams": "streams"}
    tightest = max(full, key=lambda word: waits.get(word, 0.0))
    if waits.get("silence") and flow.streams and waits.get("core", 0.0) < WAITING:
        return "provider", "no push was answered in the last seconds"
    starved = waits.get("cpu", 0.0) >= BUSY or waits.get("core", 0.0) >= WAITING
    if flow.p50 is not None and flow.p50 >= LATE and not starved:
        return "provider", f"half of the answers take {flow.p50:.1f} s"
    if starved:
        return "cpu", f"they waited for one for {waits.get('core', 0.0):.0%} of the last seconds"
    if waits.get(tightest, 0.0) >= MOSTLY:
        return full[tightest], _figures(full[tightest], flow)
    if state is not None and state.reason == "answers":
        return "provider", state.sentence
    if not walked:
        return "walk", ""
    if not flow.in_hand and waits.get("walk", 0.0) >= MOSTLY:
        return "provider", "what is left was put off, and is tried again later"
    ranked: dict[Limit, float] = {"cpu": waits.get("cpu", 0.0), full[tightest]: waits.get(tightest, 0.0)}
    most = max(ranked, key=lambda word: ranked[word])
    return (most, _figures(most, flow)) if flow.in_hand and ranked[most] >= MOSTLY / 2 else ("answers", "")


def _figures(limit: Limit, flow: ChannelFlow) -> str:
    of = f"{flow.wanted} of at most {flow.most} connections"
    if limit == "window":
        trip = f", {1000 * flow.round_trip:.0f} ms there and back" if flow.round_trip else ""
        return f"{flow.granted:,} bytes on each of {of}{trip}"
    if limit == "streams":
        allowed = round(flow.streams_allowed * flow.wanted / max(1, flow.connections))
        return f"{allowed:,} on {of}" + (f", {1000 * flow.p50:.0f} ms an answer" if flow.p50 else "")
    return ""


def _sentence(limit: Limit, provider: str, detail: str) -> str:
    if limit == "provider" and detail:
        return f"It waits for {provider}: {detail}."
    return f"It waits for {why(limit, provider, detail)}."
