"""What a node learns of its channels, second by second, and keeps for the next forecast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from broadside.api.ring_state import ChannelFlow, NodeState, ProcessState, RingNode
from broadside.newsroom.forecasts.inputs import careful, outlook
from broadside.newsroom.forecasts.model import run
from broadside.node.flow_meter import Counted
from broadside.node.learning import NodeCounters, learn
from campaigns.channel_state import ChannelState
from campaigns.experience import (
    LARGEST,
    ChannelExperience,
    NodeExperience,
    read_experience,
    write_experience,
)
from campaigns.walk_figures import WalkFigures
from transports.traffic import CLASSES, time_class

NOTHING = frozenset[str]()


def answers(seconds: float, n: int) -> list[int]:
    counts = [0] * CLASSES
    counts[time_class(seconds)] = n
    return counts


def look(at: float, settled: int, **more: Any) -> NodeCounters:
    plain: dict[str, Any] = {"answers": answers(0.06, settled), "workers": 2, "connections": 4, "looks": int(20 * at)}
    walk = more.pop("walk", WalkFigures())
    machine, retried = more.pop("machine", 0.0), more.pop("retried", 0)
    return NodeCounters(at, {"ios": Counted(settled, **{**plain, **more})}, {"ios": retried}, machine, walk)


def test_what_a_push_costs_is_learnt_and_what_the_machine_does_besides_is_left_out() -> None:
    """Issue 25.2."""
    known = NodeExperience()
    for n in range(60):
        learn(known, look(n, 0, machine=0.3 * n), look(n + 1, 0, machine=0.3 * (n + 1)), 2, NOTHING)
    for n in range(10):
        learn(
            known,
            look(n, 10_000 * n, machine=1.3 * n, busy=0.5 * n),
            look(n + 1, 10_000 * (n + 1), machine=1.3 * (n + 1), busy=0.5 * (n + 1)),
            2,
            NOTHING,
        )
    assert known.background == pytest.approx(0.3, abs=0.01)
    assert known.cost == pytest.approx(1.0 / 10_000, rel=0.05)
    assert known.busy == pytest.approx(0.5 / 10_000, rel=0.05)
    assert known.saturated == 0
    learn(known, look(0, 0), look(1, 2_000, busy=1.9, waited=1.7), 2, NOTHING)
    assert known.saturated == 0, "somebody else has the cores"
    learn(known, look(0, 0), look(1, 12_000, busy=1.9, waited=0.5), 2, NOTHING)
    assert known.saturated == pytest.approx(12_000)
    cost = known.cost
    for n in range(10):
        learn(
            known, look(n, 1_000 * n, machine=2.0 * n), look(n + 1, 1_000 * (n + 1), machine=2.0 * (n + 1)), 2, NOTHING
        )
    assert known.cost < 4 * cost, "ten seconds of other work on the machine do not make a push seventeen times as dear"


def test_a_push_that_is_encrypted_counts_as_several_and_costs_stay_those_of_ordinary_ones() -> None:
    """Issue 27.1: a node that has sent to browsers foresees phones rightly, and the other way round."""
    phones, browsers = NodeExperience(), NodeExperience()
    learn(phones, look(0, 0), look(1, 10_000, machine=1.0, busy=1.9), 2, NOTHING, {"ios": 1.0})
    learn(browsers, look(0, 0), look(1, 2_000, machine=1.0, busy=1.9), 2, NOTHING, {"ios": 5.0})
    assert phones.cost == browsers.cost == pytest.approx(1e-4)
    assert phones.saturated == browsers.saturated == pytest.approx(10_000)


def test_answers_dead_tokens_and_a_provider_that_asks_for_less_are_learnt() -> None:
    """Issue 25.2: answer times, and what is left of a quota."""
    known = NodeExperience()
    learn(known, look(0, 0), look(1, 1_000, answers=answers(0.2, 900), retried=100), 2, frozenset({"ios"}))
    ios = known.channels["ios"]
    assert ios.pushes == 900
    assert ios.answers[time_class(0.2)] == 900
    assert ios.dead == pytest.approx(0.1)
    assert ios.retried == pytest.approx(0.1)
    assert ios.asked_less == pytest.approx(1_000)
    learn(known, look(1, 1_000), look(2, 9_000), 2, NOTHING)
    assert ios.asked_less == 0, "it takes more again"


def test_full_streams_show_how_fast_they_are_and_pages_how_fast_the_walk_is() -> None:
    """Issue 25.2."""
    known = NodeExperience(channels={"ios": ChannelExperience(streams=100.0)})
    for _ in range(20):
        full = look(1, 3_000, answers=answers(0.1, 3_000), by_streams=20.0, looks=20)
        learn(known, look(0, 0), full, 2, NOTHING)
    assert known.channels["ios"].fit == pytest.approx(3_000 / (4 * 100 / 0.1), rel=0.15)
    walk = WalkFigures(rows=10_000, skipped=0, seconds=0.1)
    learn(known, look(0, 0), look(1, 0, walk=walk), 2, NOTHING)
    assert known.row == pytest.approx(1e-5)
    narrow = WalkFigures(rows=110_000, skipped=99_000, seconds=0.31)
    learn(known, look(1, 0, walk=walk), look(2, 0, walk=narrow), 2, NOTHING)
    assert known.skipped == pytest.approx((0.21 - 1_000 * 1e-5) / 99_000)


def test_a_drill_teaches_nothing_about_the_machine_and_the_walk() -> None:
    """Its simulators use the same cores: they are neither the machine's background nor the cost of a push."""
    known, calm = NodeExperience(), NodeExperience()
    pages = [WalkFigures(rows=10_000 * n, seconds=0.5 * n) for n in range(12)]
    for n in range(10):
        before, after = (
            look(n, 0, machine=2.0 * n, walk=pages[n]),
            look(n + 1, 0, machine=2.0 * n + 2, walk=pages[n + 1]),
        )
        # its batches are on their way, are answered, and the last of them are settled
        learn(known, before._replace(drilling=n > 0), after._replace(drilling=n < 9, drilled=9 + (n == 9)), 2, NOTHING)
    assert known == NodeExperience(channels=known.channels)
    learn(known, look(10, 0, machine=20.0, walk=pages[10]), look(11, 0, machine=20.2, walk=pages[11]), 2, NOTHING)
    learn(calm, look(10, 0, machine=20.0, walk=pages[10]), look(11, 0, machine=20.2, walk=pages[11]), 2, NOTHING)
    assert (known.background, known.row) == (calm.background, calm.row) == (0.2, 50e-6)


def test_old_experience_fades() -> None:
    """Issue 25.2: a provider that has become slow is known after a campaign."""
    known = ChannelExperience()
    for seconds in [0.05] * 10 + [0.8] * 10:
        known.answered(answers(seconds, 100_000))
    assert known.answers[time_class(0.8)] > 50 * known.answers[time_class(0.05)]
    assert known.pushes <= 200_000


def test_what_is_kept_is_bounded_and_read_again() -> None:
    """Issue 25.2: by channel and node, bounded."""
    each = ChannelExperience(pushes=9.0, answers=[1234.5] * CLASSES)
    many = {f"channel-{n}": replace_pushes(each, n) for n in range(1_000)}
    text = write_experience(NodeExperience(channels=many, cost=1e-5))
    assert len(text) <= LARGEST
    found = read_experience(text)
    assert found is not None
    assert found.cost == 1e-5
    assert "channel-999" in found.channels, "those with the most pushes stay"
    assert read_experience("{") is None
    assert read_experience('{"cost": 1, "novelty": 7}') == NodeExperience(cost=1.0)


def replace_pushes(each: ChannelExperience, n: int) -> ChannelExperience:
    return msgspec.structs.replace(each, pushes=float(n))


def test_where_nothing_was_learnt_the_guesses_are_careful_and_said_to_be_guesses() -> None:
    """Issue 25.2: a first campaign."""
    flow = ChannelFlow(channel="ios", platform="apns", most=32, wanted=4)
    state = NodeState(channels=[flow], processes=[ProcessState(name="node"), ProcessState(name="worker-1")])
    node = RingNode(name="n1", status="alive", state=state)
    new = outlook(node, state, NodeExperience(), {"ios": 250}, 0.0)
    seen = ChannelExperience(pushes=9_000.0, answers=[float(n) for n in answers(0.05, 9_000)], streams=1_000.0,
                             window=1 << 24, round_trip=0.02)  # fmt: skip
    known = outlook(node, state, NodeExperience(channels={"ios": seen}, cost=1e-5, cores=8), {"ios": 250}, 0.0)
    assert new.pipes["ios"].by_streams < known.pipes["ios"].by_streams
    assert new.pipes["ios"].by_window < known.pipes["ios"].by_window
    assert new.speed.cpu < known.speed.cpu
    assert len(careful({}, ["ios"], ["n1"])) == 2
    assert careful({"n1": NodeExperience(channels={"ios": seen}, cost=1e-5)}, ["ios"], ["n1"]) == []
    stopped = ChannelState(channel="ios", reason="unreachable", sentence="no route", since=1)
    away = msgspec.structs.replace(node, standing=[stopped])
    assert outlook(away, state, NodeExperience(), {"ios": 250}, 0.0).stopped == {"ios": stopped}
    assert replace(new.speed, cpu=known.speed.cpu) == known.speed


def test_a_browsers_pushes_weigh_what_their_encryption_costs() -> None:
    """Issue 27.1: the bound is named before the first campaign to browsers, too."""
    flow = ChannelFlow(channel="web", platform="webpush", most=32, wanted=4)
    state = NodeState(channels=[flow], processes=[ProcessState(name="node"), ProcessState(name="worker-1")])
    node = RingNode(name="n1", status="alive", state=state)
    found = outlook(node, state, NodeExperience(), {"web": 450}, 0.0)
    assert found.pipes["web"].weight == 6.0
    course = run(found.speed, {"web": replace(found.pipes["web"], by_streams=1e9, by_window=1e9)}, {"web": 100_000})
    assert course["web"].bottleneck == "cpu"
