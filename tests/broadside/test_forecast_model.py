"""The forecast's model: a fluid from the walk through the tubes to the providers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadside.newsroom.forecasts.model import START, NodeSpeed, Pipe, run
from broadside.newsroom.forecasts.own_site import OPENED, PICTURE, opens, picture_bytes
from tests.draws import drawn

FAST = NodeSpeed(walk=1e9, cpu=1e9, begin=0.2)
WIDE = Pipe(connections=4, most=4, by_streams=1e9, by_window=1e9, tail=0.1, answer=0.1)
TIGHT: list[tuple[str, NodeSpeed, Pipe]] = [
    ("walk", replace(FAST, walk=1_000.0), WIDE),
    ("cpu", replace(FAST, cpu=1_000.0), WIDE),
    ("herd", replace(FAST, herd=1_000.0), WIDE),
    ("window", FAST, replace(WIDE, by_window=250.0)),
    ("streams", FAST, replace(WIDE, by_streams=250.0)),
    ("rate", FAST, replace(WIDE, rate=1_000.0, rate_now=1_000.0)),
    ("quota", FAST, replace(WIDE, rate=1_000.0, rate_now=1_000.0, rate_word="quota")),
    ("quota", FAST, replace(WIDE, asked_less=1_000.0)),
]


@pytest.mark.parametrize(("limit", "speed", "pipe"), TIGHT, ids=[f"{n}-{case[0]}" for n, case in enumerate(TIGHT)])
@settings(max_examples=drawn(20))
@given(phones=st.integers(3_000, 200_000))
def test_what_is_the_tightest_sets_the_time_and_is_named(limit: str, speed: NodeSpeed, pipe: Pipe, phones: int) -> None:
    """Issue 25.2: each limit alone, of a thousand pushes a second."""
    course = run(speed, {"ios": pipe}, {"ios": phones})["ios"]
    assert course.bottleneck == limit
    assert course.ends == pytest.approx(phones / 1_000 + pipe.tail + speed.begin, rel=0.05, abs=0.2)
    assert course.sent == pytest.approx(phones, abs=1)


def test_a_ramp_and_connections_that_are_opened_one_a_second_are_reckoned_with() -> None:
    """Issue 25.2: a first campaign at a far provider is slow at first."""
    ramp = replace(WIDE, rate=1_000.0, rate_now=START * 1_000.0, ramp=60.0)
    course = run(FAST, {"fcm": ramp}, {"fcm": 20_000})["fcm"]
    exact = next(t / 100 for t in range(10_000) if _ramped(t / 100) >= 20_000)
    assert course.ends == pytest.approx(exact + 0.3, rel=0.03)
    few = replace(WIDE, connections=1, most=10, by_window=1_000.0)
    grown = run(FAST, {"ios": few}, {"ios": 30_000})["ios"]
    assert 30_000 / 10_000 < grown.ends < 30_000 / 1_000 / 2, "faster than one connection, slower than ten"


def test_what_a_rate_has_saved_up_goes_at_once() -> None:
    """Issue 25.2: and the last batch is not waited for."""
    rated = replace(WIDE, rate=1_000.0, rate_now=1_000.0)
    plain, saved = (run(FAST, {"ios": each}, {"ios": 9_000})["ios"] for each in (rated, replace(rated, head=2_000.0)))
    assert plain.ends - saved.ends == pytest.approx(2.0, abs=0.2)


def _ramped(seconds: float) -> float:
    rising = min(seconds, 60.0)
    return 1_000 * (START * rising + (1 - START) * rising**2 / 120) + 1_000 * max(0.0, seconds - 60.0)


pipes = st.builds(
    Pipe,
    connections=st.floats(1, 8),
    head=st.just(0.0),
    most=st.just(8.0),
    by_streams=st.floats(50, 20_000),
    by_window=st.floats(50, 20_000),
    rate=st.one_of(st.just(math.inf), st.floats(100, 1e5)),
    tail=st.floats(0, 2),
)
speeds = st.builds(NodeSpeed, walk=st.floats(1_000, 1e6), cpu=st.floats(1_000, 1e6), begin=st.just(0.2))


@settings(max_examples=drawn(100), deadline=None)
@given(speeds, st.lists(pipes, min_size=1, max_size=3), st.lists(st.floats(1, 300_000), min_size=3, max_size=3))
def test_everybody_is_sent_to_and_nothing_is_faster_than_its_limits(
    speed: NodeSpeed, found: list[Pipe], phones: list[float]
) -> None:
    """Issue 25.2."""
    named = {f"c{n}": pipe for n, pipe in enumerate(found)}
    now = {f"c{n}": phones[n] for n in range(len(found))}
    courses = run(speed, named, now)
    for name, course in courses.items():
        if course.ends == math.inf:
            continue
        pipe = named[name]
        assert course.sent == pytest.approx(now[name], abs=2)
        fastest = min(pipe.most * pipe.by_streams, pipe.most * pipe.by_window, pipe.rate, speed.cpu)
        assert course.ends >= now[name] / fastest * 0.97
        more = run(speed, named, {**now, name: now[name] * 2})[name]
        assert more.ends >= course.ends * 0.99, "more phones never take less"


def test_the_newsrooms_servers_bear_what_the_phones_do() -> None:
    """Issue 25.2: opens a second and bytes of the picture a second."""
    slow: list[tuple[float, float, float]] = [(float(n), 1.0, 1_000.0) for n in range(600)]
    assert opens(slow) == pytest.approx(1_000 * OPENED, rel=0.05), "as many open it as get it, in the long run"
    assert picture_bytes(slow) == pytest.approx(1_000 * PICTURE)
    fast = [(0.0, 1.0, 600_000.0)]
    assert opens(slow) * 3 < opens(fast) < 600_000 * OPENED / 2, "they spread over a minute"
    assert opens([]) == picture_bytes([]) == 0


@pytest.mark.parametrize("phones", [{}, {"ios": 0.0}])
def test_a_campaign_to_nobody_takes_no_time(phones: dict[str, Any]) -> None:
    """Issue 25.2."""
    courses = run(FAST, dict.fromkeys(phones, WIDE), phones)
    assert all(course.ends == 0 and not course.curve for course in courses.values())


def test_a_channel_whose_pushes_cost_more_is_slower_by_that_where_the_processor_is_the_limit() -> None:
    """Issue 27.1: Web Push is bound by the processor."""
    speed, heavy = replace(FAST, cpu=10_000.0), replace(WIDE, weight=5.0)
    alone = run(speed, {"web": heavy}, {"web": 20_000})["web"]
    assert alone.bottleneck == "cpu"
    assert alone.ends == pytest.approx(10.0 + heavy.tail + speed.begin, rel=0.05)
    both = run(speed, {"web": heavy, "ios": WIDE}, {"web": 20_000, "ios": 20_000})
    assert max(each.ends for each in both.values()) == pytest.approx(12.0 + heavy.tail + speed.begin, rel=0.05)
    # the newsroom's site counts people, not work
    herd = run(replace(FAST, herd=10_000.0), {"web": heavy}, {"web": 20_000})["web"]
    assert (herd.bottleneck, herd.ends) == ("herd", pytest.approx(2.0 + heavy.tail + FAST.begin, rel=0.05))
