"""The watch over refused tokens: what pauses a channel, what does not, and what may be deleted."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from transports.contract import Exceptional, Outcome, Outcomes
from transports.refusals import LEAST, Refusals


def judged(good: int, dead: int, outcome: Outcome = Outcome.DEAD, reason: str = "BadDeviceToken") -> Outcomes:
    return Outcomes(good, [Exceptional(i, outcome, reason) for i in range(dead)])


async def test_one_bad_batch_of_five_hundred_is_held_whole(autojump_clock: trio.testing.MockClock) -> None:
    outcomes = await Refusals().weigh(1, judged(380, 120))
    assert outcomes.stop is not None
    assert "120 of 500 tokens refused (BadDeviceToken)" in outcomes.stop
    assert {e.outcome for e in outcomes.exceptions} == {Outcome.HELD}
    assert [e.index for e in outcomes.exceptions] == list(range(120))
    assert outcomes.delivered == 380


async def test_rejected_tokens_count_as_well(autojump_clock: trio.testing.MockClock) -> None:
    outcomes = await Refusals().weigh(1, judged(0, 500, Outcome.REJECTED, "DeviceTokenNotForTopic"))
    assert outcomes.stop is not None


async def test_retries_and_the_unanswered_do_not_count(autojump_clock: trio.testing.MockClock) -> None:
    entries = [Exceptional(i, Outcome.RETRY if i % 2 else Outcome.UNKNOWN, "busy") for i in range(600)]
    outcomes = await Refusals().weigh(1, Outcomes(0, entries))
    assert outcomes.stop is None


async def test_a_small_campaign_deletes_its_dead_after_a_moment(autojump_clock: trio.testing.MockClock) -> None:
    before = trio.current_time()
    outcomes = await Refusals().weigh(1, judged(3, 1))
    assert outcomes.stop is None
    assert outcomes.exceptions[0].outcome is Outcome.DEAD
    assert trio.current_time() - before <= 1.0


async def test_small_bad_batches_wait_for_each_other_and_are_held_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    refusals = Refusals()
    got: list[Outcomes] = []

    async def weigh(after: float) -> None:
        await trio.sleep(after)
        got.append(await refusals.weigh(1, judged(10, 110)))

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(weigh, n * 0.15)
    assert all(outcomes.stop for outcomes in got)
    assert trio.current_time() < 1.0


async def test_a_bad_page_after_a_good_half_million_is_held(autojump_clock: trio.testing.MockClock) -> None:
    refusals = Refusals()
    for _ in range(1000):
        assert (await refusals.weigh(1, judged(490, 10))).stop is None
    assert (await refusals.weigh(1, judged(0, 500))).stop is not None


async def test_once_paused_even_a_small_bad_batch_is_held_and_a_good_one_ends_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    refusals = Refusals()
    await refusals.weigh(1, judged(0, 500))
    assert (await refusals.weigh(1, judged(0, 3))).stop is not None
    assert (await refusals.weigh(1, judged(495, 5))).stop is None
    assert (await refusals.weigh(1, judged(0, 1))).stop is None


async def test_another_campaign_is_judged_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    refusals = Refusals()
    for _ in range(4):
        await refusals.weigh(1, judged(500, 0))
    assert (await refusals.weigh(2, judged(200, 300))).stop is not None


async def test_a_limit_of_one_never_pauses(autojump_clock: trio.testing.MockClock) -> None:
    assert (await Refusals(1.0).weigh(1, judged(0, 5_000))).stop is None


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=30))
def test_nobody_is_lost_and_below_the_limit_nothing_is_held(batches: list[tuple[int, int]]) -> None:
    async def run() -> None:
        refusals = Refusals()
        for good, dead in batches:
            outcomes = await refusals.weigh(1, judged(good, dead))
            assert outcomes.delivered == good
            assert sorted(e.index for e in outcomes.exceptions) == list(range(dead))
            if dead <= 0.2 * (good + dead):
                assert all(e.outcome is Outcome.DEAD for e in outcomes.exceptions)
            elif good + dead >= LEAST:
                assert all(e.outcome is Outcome.HELD for e in outcomes.exceptions)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
