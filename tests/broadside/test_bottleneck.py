"""What holds a campaign up now: named from the nodes' own states, by any node."""

from __future__ import annotations

from typing import Any

import pytest

from broadside.api.campaign_report import CampaignReport
from broadside.api.forecast_text import percentiles, reach_lines
from broadside.api.outward_records import CampaignHerd
from broadside.api.ring_state import ChannelFlow, NodeState, RingNode, RingState
from broadside.newsroom.forecasts.live import bottlenecks, name_of, reach
from campaigns.channel_state import ChannelState
from campaigns.message import Message
from campaigns.tally import Tally
from storage.forecasts import RateRow, ReachRow


def flow(channel: str = "ios", **more: Any) -> ChannelFlow:
    return ChannelFlow(channel=channel, platform="apns", in_hand=8, rate=900.0, p50=0.08, **more)


def state(reason: str, node: str = "", channel: str = "ios") -> ChannelState:
    return ChannelState(channel=channel, reason=reason, sentence=f"because of {reason}", since=1, node=node)


def node(name: str, *flows: ChannelFlow, this: bool = False) -> RingNode:
    return RingNode(name=name, this=this, status="alive", state=NodeState(channels=list(flows)))


def report(**more: Any) -> CampaignReport:
    tally = Tally(audience=1_000, enqueued=1_000, delivered=400, remaining=600)
    plain: dict[str, Any] = {"state": "firing", "walked": True, "fired_at": 1, "channels": {"ios": tally}}
    return CampaignReport(id="a" * 13, message=Message(body="b"), created_at=1, **{**plain, **more})


WAITS: list[tuple[str, dict[str, float], bool, str]] = [
    ("window", {"window": 0.9, "cpu": 0.3}, True, ""),
    ("streams", {"streams": 0.7, "window": 0.2}, True, ""),
    ("cpu", {"cpu": 0.95, "streams": 1.0}, True, ""),
    ("cpu", {"cpu": 0.6, "core": 0.5, "streams": 1.0}, True, ""),
    ("rate", {"rate": 0.8, "cpu": 0.1}, True, ""),
    ("rate", {"rate": 0.8, "walk": 0.6}, False, ""),
    ("walk", {"walk": 0.8, "cpu": 0.9}, False, ""),
    ("answers", {"walk": 0.8}, True, ""),
    ("quota", {"walk": 0.8}, False, "quota"),
    ("rate", {}, True, "limiter"),
    ("provider", {"window": 1.0}, True, "unreachable"),
    ("provider", {"streams": 1.0}, True, "silent"),
    ("provider", {}, True, "answers"),
    ("node", {}, True, "settling"),
    ("walk", {}, False, ""),
]


@pytest.mark.parametrize(("limit", "waits", "walked", "reason"), WAITS)
def test_what_a_channel_waits_for_is_named(limit: str, waits: dict[str, float], walked: bool, reason: str) -> None:
    """Issue 25.6: the order of the questions matters."""
    named, _ = name_of(flow(waits=waits), state(reason) if reason else None, walked=walked)
    assert named == limit


def test_a_slow_provider_is_no_matter_of_streams_and_a_providers_quota_no_rate_of_ours() -> None:
    """Issue 25.6."""
    late = ChannelFlow(channel="ios", platform="apns", in_hand=8, p50=3.0, waits={"streams": 1.0})
    assert name_of(late, None, walked=True) == ("provider", "half of the answers take 3.0 s")
    silent = ChannelFlow(channel="ios", platform="apns", streams=900, waits={"streams": 1.0, "silence": 1.0})
    assert name_of(silent, None, walked=True)[0] == "provider", "not one answer"
    put_off = ChannelFlow(channel="ios", platform="apns", waits={"walk": 0.9})
    assert name_of(put_off, None, walked=True)[0] == "provider", "nothing is in hand, and the rest is tried again later"
    assert name_of(flow(waits={"rate": 1.0}, provider_rate=True, limit=600.0), None, walked=True)[0] == "quota"


def test_of_a_drill_nothing_is_said_that_nobody_knows() -> None:
    """Its channels are in no node's state: they are not unserved."""
    tally = Tally(audience=1_000, enqueued=1_000, delivered=400, remaining=600)
    drill, ring = report(channels={"drill-ios": tally}), RingState(nodes=[node("n1", flow(), this=True)])
    assert bottlenecks(drill, ring, [], []) == []
    (found,) = bottlenecks(drill, ring, [state("parked", channel="drill-ios")], [])
    assert found.sentence == "because of parked"


@pytest.mark.parametrize("paused", ["pausing", "paused", "cancelling"])
def test_a_person_comes_before_all_machines(paused: str) -> None:
    """Issue 25.6."""
    ring = RingState(nodes=[node("n1", flow(waits={"window": 1.0}))])
    (found,) = bottlenecks(report(state=paused), ring, [state("unreachable")], [])
    assert found.limit == "paused"


def test_who_sleeps_and_who_must_not_come_too_fast_are_named() -> None:
    """Issue 25.6: nothing of the providers holds these up."""
    ring = RingState(nodes=[node("n1", flow(waits={"walk": 1.0}))])
    (found,) = bottlenecks(report(held=600), ring, [], [])
    assert found.limit == "quiet_hours"
    herd = CampaignHerd(rate=500.0, ramp=0.0, now=400.0, governed=True, text="")
    (found,) = bottlenecks(report(herd=herd), ring, [], [RateRow("ios", "n1", 390.0)])
    assert found.limit == "herd"


def test_one_sick_node_of_two_does_not_stop_the_channel() -> None:
    """Issue 25.6, for the whole ring: where another node sends, what it waits for counts."""
    well = node("n1", flow(waits={"window": 1.0}, granted=65_535, wanted=4, most=32), this=True)
    ring = RingState(nodes=[well, node("n2", ChannelFlow(channel="ios", platform="apns"))])
    (found,) = bottlenecks(report(), ring, [state("unreachable", "n2")], [])
    assert (found.limit, found.node) == ("window", "n1")
    assert "65,535 bytes on each of 4 of at most 32 connections" in found.sentence
    (found,) = bottlenecks(report(), ring, [state("unreachable", "n2"), state("unreachable", "")], [])
    assert found.limit == "provider"
    (found,) = bottlenecks(report(), RingState(nodes=[node("n1", flow("android"))]), [], [])
    assert found.limit == "node"


def test_the_channel_that_still_takes_longest_comes_first() -> None:
    """Issue 25.6."""
    tally = Tally(audience=9_000, enqueued=9_000, remaining=9_000)
    two = report(channels={"ios": tally, "android": Tally(remaining=9_000)})
    both = node("n1", flow(waits={"window": 1.0}), flow("android", waits={"rate": 1.0}))
    rates = [RateRow("ios", "n1", 3_000.0), RateRow("android", "n1", 300.0)]
    found = bottlenecks(two, RingState(nodes=[both]), [], rates)
    assert [(each.channel, each.limit) for each in found] == [("android", "rate"), ("ios", "window")]


def test_reach_is_that_of_all_nodes_and_says_when_the_rest_is_done() -> None:
    """Issue 25.6: percentiles of all that it goes to; who is asleep is not waited for."""
    rows = [ReachRow("ios", "n1", {20: 300}), ReachRow("ios", "n2", {30: 100})]
    rates = [RateRow("ios", "n1", 150.0), RateRow("ios", "n2", 50.0)]
    found = reach(report(held=200), rows, rates, None, [])
    assert (found.accepted, found.rate, found.left) == (400, 200.0, 2.0)
    assert (found.p50, found.p90) == (None, None), "four of ten are reached"
    done = reach(report(state="done", channels={"ios": Tally(delivered=400)}), rows, rates, None, [])
    assert done.left is None
    assert done.p50 is not None
    assert done.p99 is not None
    assert 0.2 < done.p50 < 0.4 < done.p99 < 2.0
    assert {(part.node, part.accepted) for part in done.parts} == {("n1", 300), ("n2", 100)}
    assert percentiles(done).startswith("half after 0.3")
    lines = reach_lines(report(reach=done))
    assert len(lines) == 3
