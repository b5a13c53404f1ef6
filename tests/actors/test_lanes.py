"""The upper lane passes whatever else a channel has in hand, with a rate and without; and the others go on after it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from actors.hands import Hands
from actors.limiter import Limiter
from campaigns.batch import Batch
from campaigns.lane import Lane
from campaigns.recipient import Recipient, pack_recipients
from tests.actors.channel_group import FAR, Group, MemoryTubes, ScriptedTransport, delivered

SIZE = 500
SECOND = 1.0


def task(id: int, lane: Lane, size: int = SIZE) -> tuple[int, Any]:
    packed = pack_recipients([Recipient(id * SIZE + i, "aa", "token", 1, "en") for i in range(size)])
    return id, [1, 9, 1, 0, 0, id + 1, 1, FAR, lane.value, 0, 0, 0, 0, size, packed]


class Slow(ScriptedTransport):
    """Says when a push of each batch began."""

    def __init__(self, seconds: float) -> None:
        super().__init__(delivered, seconds)
        self.began: list[tuple[float, Lane]] = []

    async def send(self, batch: Batch) -> Any:
        self.began.append((trio.current_time(), batch.lane))
        return await super().send(batch)

    def first(self, lane: Lane) -> float:
        return next(at for at, each in self.began if each is lane)


@pytest.mark.parametrize("seconds", [0.2, 19.0])
@pytest.mark.parametrize("rate", [None, 1000.0, 100.0])
async def test_the_first_batch_of_the_upper_lane_begins_within_a_second(
    rate: float | None, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    """21.3: though a digest fills every hand and has used up the rate."""
    tubes = MemoryTubes(0)
    tubes.ready = [task(id, Lane.LOWER) for id in range(400)]
    transport = Slow(seconds)
    group = Group(tubes, transport, limiter=None if rate is None else Limiter(rate, 500.0))
    fired = trio.current_time() + 15.0

    async def fire() -> None:
        await trio.sleep(15.0)
        tubes.ready += [task(10_000 + n, Lane.UPPER) for n in range(4)]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fire)
        await group.run(20)
    assert transport.first(Lane.UPPER) - fired <= SECOND


async def test_the_upper_lane_gets_every_hand_that_is_free_and_then_the_others_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """21.3: a digest waits while breaking news has something to send, and not for ever."""
    tubes = MemoryTubes(0)
    tubes.ready = [task(id, Lane.LOWER, 3) for id in range(100)] + [task(1000 + n, Lane.UPPER, 3) for n in range(80)]
    transport = Slow(1.0)
    await Group(tubes, transport, hands=5).run(200)
    assert len(tubes.settled) == 180
    assert max(at for at, lane in transport.began if lane is Lane.UPPER) < transport.first(Lane.MIDDLE)
    assert transport.most_at_once <= 6


async def test_other_news_has_as_many_hands_as_before(autojump_clock: trio.testing.MockClock) -> None:
    """21.3: the hand of the upper lane is one more, and takes none away while it waits."""
    tubes, transport = MemoryTubes(400), ScriptedTransport(delivered, 1.0)
    await Group(tubes, transport, hands=5).run(21)
    assert transport.most_at_once == 5
    assert len(tubes.settled) >= 5 * 18, "five a second, but for what a take and a settlement cost"


async def test_an_idle_channel_polls_once_and_a_busy_one_keeps_a_second_poll(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """21.3: a queue answers thousands of idle channels: the hand of the upper lane costs them no poll of their own."""
    polls: list[tuple[bool, float]] = []

    class Polled(MemoryTubes):
        async def batch_take(self, channel: str, most: int, *, upper: bool = False) -> list[tuple[int, int, Any]]:
            polls.append((upper, trio.current_time()))
            return await super().batch_take(channel, most, upper=upper)

    await Group(Polled(0), ScriptedTransport(delivered)).run(100)
    assert len([upper for upper, _ in polls if upper]) <= 1
    polls.clear()
    began = trio.current_time()
    await Group(Polled(100), ScriptedTransport(delivered, 19.0)).run(15)
    waiting = [at - began for upper, at in polls if upper]
    assert waiting[0] < 1, "all hands are full: a poll of the upper lane is under way all the time"
    assert len(waiting) >= 7


@given(st.integers(1, 5), st.lists(st.sampled_from(["usual", "upper", "release", "wait"]), min_size=5, max_size=40))
def test_the_last_free_hand_takes_only_from_the_upper_lane(usual: int, steps: list[str]) -> None:
    """21.3: whatever the order in which batches are taken and settled."""

    async def run() -> None:
        hands, in_hand, waiting = Hands(lambda: usual), 0, {"usual": 0, "upper": 0}

        async def take(lane: str) -> None:
            nonlocal in_hand
            waiting[lane] += 1
            if lane == "upper":
                await hands.last()
                hands.occupy_last()
            else:
                await hands.acquire()
            waiting[lane] -= 1
            in_hand += 1

        async with trio.open_nursery() as nursery:
            for step in steps:
                if step in waiting:
                    if not waiting[step]:
                        nursery.start_soon(take, step)
                elif step == "release" and in_hand:
                    in_hand -= 1
                    hands.release()
                await trio.testing.wait_all_tasks_blocked()
                assert in_hand <= hands.count == usual + 1
                if waiting["usual"]:
                    assert in_hand >= usual, "there is room for any lane"
                if waiting["upper"]:
                    assert in_hand == usual + 1
            nursery.cancel_scope.cancel()

    trio.run(run)


class SlowLimiter:
    """The limiter's law, in small steps of time: what each lane owes, and what all of them owe."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self.saved, self.upper_owes, self.now = rate, burst, burst, 0.0, 0.0

    def pass_to(self, now: float) -> None:
        steps = 100
        for _ in range(steps):
            gained = self.rate * (now - self.now) / steps
            self.saved = min(self.burst, self.saved + gained)
            self.upper_owes = max(0.0, self.upper_owes - gained)
        self.now = now

    def draw(self, n: int, upper: bool) -> float:
        self.saved -= n
        self.upper_owes += n if upper else 0
        owes = max(0.0, -self.saved)
        return min(owes, self.upper_owes) / self.rate if upper else owes / self.rate


CALLS = st.lists(st.tuples(st.integers(0, 1000), st.booleans(), st.floats(0, 3)), min_size=1, max_size=60)


@given(st.floats(1, 1e5), st.floats(1, 1e4), CALLS)
def test_a_limiter_waits_for_what_an_obvious_model_says(
    rate: float, burst: float, calls: list[tuple[int, bool, float]]
) -> None:
    """21.3: the upper lane waits for its own debt, the others for the debt of all."""
    limiter, model, now = Limiter(rate, burst), SlowLimiter(rate, burst), 0.0
    limiter.delay(0, now)
    for n, upper, pause in calls:
        now += pause
        model.pass_to(now)
        assert limiter.delay(n, now, upper=upper) == pytest.approx(model.draw(n, upper), rel=1e-6, abs=1e-6)


@given(
    st.floats(1, 1e4), st.floats(1, 1e4), st.just(0.0) | st.floats(0.5, 60), st.floats(1, 500),
    st.lists(st.tuples(st.booleans(), st.floats(0, 2)), min_size=1, max_size=80),
)  # fmt: skip
def test_both_lanes_together_keep_the_rate_but_for_one_batch_of_each(
    rate: float, burst: float, ramp: float, n: float, calls: list[tuple[bool, float]]
) -> None:
    """21.3: each lane takes as the consumer does: it waits until it owes nothing, then draws a batch."""
    limiter, now, sent = Limiter(rate, burst, ramp=ramp), 0.0, []
    for upper, pause in calls:
        now += pause
        if limiter.delay(0, now, upper=upper) <= 0:
            limiter.delay(n, now, upper=upper)
            sent.append((now, n))
    for first, (begin, _) in enumerate(sent):
        total = 0.0
        for at, size in sent[first:]:
            total += size
            assert total <= (burst + 2 * n + rate * (at - begin)) * (1 + 1e-6) + 1e-3


@given(st.floats(1, 1e4), st.floats(1, 1e3), st.lists(st.floats(1, 500), min_size=1, max_size=30))
def test_a_lower_lane_goes_on_as_soon_as_the_upper_one_has_paid(rate: float, burst: float, sizes: list[float]) -> None:
    """21.3: no starvation for ever: the debt that the upper lane leaves is bounded by two batches."""
    limiter, now = Limiter(rate, burst), 0.0
    limiter.delay(burst + max(sizes), now)  # a digest has used up what there was
    for n in sizes:
        now += limiter.delay(0, now, upper=True)
        limiter.delay(n, now, upper=True)
    assert limiter.delay(0, now) <= (2 * max(sizes) / rate) * (1 + 1e-6) + 1e-6
    assert math.isfinite(now)


def test_a_limiter_goes_on_at_another_rate_with_what_it_owes_and_what_it_has_risen_to() -> None:
    limiter = Limiter(100.0, 100.0, ramp=10.0)
    assert limiter.delay(100, 0.0) == 0.0
    limiter.change(1000.0, 500.0, ramp=10.0)
    assert limiter.standing(0.0) == (pytest.approx(50.0), 0.0), "nothing is given for free"
    for second in range(1, 40):
        limiter.delay(10_000, float(second))
    assert limiter.standing(40.0)[0] == 1000.0
    owed = limiter.delay(0, 40.0)
    limiter.change(2000.0, 500.0, ramp=10.0)
    assert limiter.standing(40.0)[0] == 2000.0, "a ramp that is over does not begin anew"
    assert limiter.delay(0, 40.0) == pytest.approx(owed / 2)
    with pytest.raises(ValueError, match="must be above 0"):
        limiter.change(0.0, 1.0)
