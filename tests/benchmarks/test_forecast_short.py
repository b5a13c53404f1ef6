"""The short form of `./dev bench forecast` and `./dev bench bottleneck`: real nodes, real twins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.bench_bottleneck import COUNT, name
from benchmarks.bench_forecast import measure
from benchmarks.forecast import forced, situations
from broadside.api.campaign_report import FireRequest
from campaigns.message import Message

pytestmark = [pytest.mark.tarantool, pytest.mark.timeout(400)]
SEED = 1


def test_a_campaign_takes_as_long_as_was_foreseen() -> None:
    """Issue 25.2: at the config's rate, so that a busy machine changes nothing; also without experience."""
    drawn = situations.draw(SEED, 8)
    assert drawn.network is None, "twins"
    slow = replace(drawn, rate=400, subscribers=4_000, request=FireRequest(message=Message(title="t", body="b")))
    taught, foreseen = measure([slow])
    for row in (taught, foreseen):
        assert row.bottleneck == "rate"
        assert row.error < 0.25, row
    assert 3_900 <= foreseen.phones <= 4_000, "less the dead ones, which have left the base"


@pytest.mark.parametrize("number", [3, 5, 8])
def test_what_was_forced_is_named(number: int) -> None:
    """Issue 25.6: a rate, quiet hours, a pause."""
    named = name(number, forced.draw(SEED, number), SEED)
    assert named.right, named


def test_every_limit_is_forced_in_turn() -> None:
    """Issue 25.6: each at least twice among the thirty, and another seed draws other ones."""
    drawn = [forced.draw(SEED, number) for number in range(1, COUNT + 1)]
    limits = [each.limit for each in drawn]
    assert {limit: limits.count(limit) for limit in limits} == {
        "window": 3, "streams": 3, "rate": 3, "quota": 3, "quiet_hours": 3, "provider": 6, "paused": 3, "cpu": 3,
        "walk": 3,
    }  # fmt: skip
    assert [each.words for each in drawn] != [forced.draw(2, number).words for number in range(1, COUNT + 1)]


def test_the_twenty_campaigns_are_of_all_sorts() -> None:
    """Issue 25.2: latencies, windows, quotas, dead shares, audiences."""
    drawn = [situations.draw(SEED, number) for number in range(1, 21)]
    assert 5 <= sum(each.network is None for each in drawn) <= 15
    assert len({each.network.window for each in drawn if each.network}) == 3
    assert 2 <= sum(each.rate is not None for each in drawn) <= 12
    assert sum(each.network is not None and each.network.dead > 0 for each in drawn) >= 2
    assert len({len(each.request.message.body) for each in drawn}) == 4
