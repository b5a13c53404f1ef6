"""Nobody is woken at night: a channel's actors under drawn outages, pauses and clocks that are set; virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns.batch import Batch
from campaigns.campaign import Campaign
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from campaigns.windows import MARGIN, QuietRule, WindowClass, Windows
from tests.actors.channel_group import Group, MemoryTubes, delivered
from transports.contract import Exceptional, Outcomes

HOUR = 20_000
"""Days pass 180 times as fast here: a queue in memory is looked at every tenth of a second."""
DAY = ((8 * HOUR, 20 * HOUR), (32 * HOUR, 44 * HOUR))
"""Awake from 8 to 20 o'clock, on two days."""


class Clock:
    """Wall time: virtual time, moved by whoever sets it."""

    def __init__(self, hour: float) -> None:
        self.offset = round(hour * HOUR)

    def __call__(self) -> int:
        return round(trio.current_time() * 1000) + self.offset


class Provider:
    """Writes down what was begun when, and how it was shown; while ``down`` it refuses all."""

    outage = None

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.down = False
        self.begun: list[tuple[int, Presentation, int, float]] = []
        """(wall time, presentation, recipients, until when the provider may keep it)"""
        self.ended = trio.Event()

    async def run(self, ready: Any) -> None:
        ready()
        await self.ended.wait()

    def stop(self) -> None:
        self.ended.set()

    async def send(self, batch: Batch) -> Outcomes:
        self.begun.append((self.clock(), batch.presentation, len(batch.recipients), batch.kept_until))
        await trio.sleep(0.05)
        if self.down:
            busy = [Exceptional(i, Outcome.RETRY, "busy", 1.0) for i in range(len(batch.recipients))]
            return Outcomes(0, busy, put_off=len(busy))
        return delivered(batch)

    @property
    def people(self) -> int:
        return sum(count for _, _, count, _ in self.begun)


class Known:
    """The campaign cache: one campaign with a single window class."""

    def __init__(self, rule: QuietRule) -> None:
        windows = Windows(
            {"c": rule},
            {"Europe/Vienna": 1},
            {},
            (WindowClass(DAY[0][0], DAY[0][0], DAY),),
            False,
            "at night",
            DAY[1][1],
            "",
        )
        self.campaign = Campaign(
            9, 1, "firing", Message(title="t", body="b"), None, {"ttl_ms": 1}, 1, 1, None, False, windows=windows
        )

    async def get(self, id: int, texts: int = 0) -> Campaign:
        await trio.lowlevel.checkpoint()
        return self.campaign


def a_group(rule: QuietRule, clock: Clock, *, batches: int = 4, expires: float = 44) -> tuple[Group, Provider]:
    tubes = MemoryTubes(batches, come_back=True)
    for _, task in tubes.ready:
        task[7], task[9] = round(expires * HOUR), 1
    provider = Provider(clock)
    group = Group(tubes, provider, clock=clock)
    known: Any = Known(rule)
    group.consumer._cache = known
    return group, provider


def ends(group: Group) -> dict[str, int]:
    sums: dict[str, int] = {}
    for settlement in group.tubes.settled:
        for word, count in settlement.tallies.items():
            sums[word] = sums.get(word, 0) + count
    return sums


async def run(group: Group, hours: float) -> None:
    """Until everybody has an outcome, but no longer than these hours."""
    async with trio.open_nursery() as nursery:
        for actor in (group.settler, group.actor, group.consumer):
            nursery.start_soon(actor.run, lambda: None)
        with trio.move_on_after(hours * HOUR / 1000):
            while sum(count for word, count in ends(group).items() if word != "retried") < 12:  # noqa: ASYNC110
                await trio.sleep(1)
        for actor in (group.consumer, group.actor, group.settler):
            actor.stop()


async def test_what_is_taken_at_night_waits_for_the_morning(autojump_clock: trio.testing.MockClock) -> None:
    clock = Clock(21)
    group, provider = a_group(QuietRule.HOLD, clock)
    await run(group, 12)
    assert ends(group) == {"delivered": 12}
    assert min(at for at, *_ in provider.begun) >= DAY[1][0]
    assert all(shown is Presentation.AWAKE for _, shown, *_ in provider.begun)
    assert {until for *_, until in provider.begun} == {DAY[1][1]}, "the provider keeps nothing into the next night"


async def test_what_may_not_wait_until_the_morning_has_expired(autojump_clock: trio.testing.MockClock) -> None:
    group, provider = a_group(QuietRule.HOLD, Clock(21), expires=31)
    await run(group, 1)
    assert ends(group) == {"expired": 12}
    assert provider.begun == []


async def test_silent_is_shown_asleep_at_night_and_awake_by_day(autojump_clock: trio.testing.MockClock) -> None:
    group, provider = a_group(QuietRule.SILENT, Clock(21))
    await run(group, 1)
    assert ends(group) == {"delivered": 12}
    assert {(shown, until) for _, shown, _, until in provider.begun} == {(Presentation.ASLEEP, 44 * HOUR)}
    group, provider = a_group(QuietRule.SILENT, Clock(9))
    await run(group, 1)
    assert {(shown, until) for _, shown, _, until in provider.begun} == {(Presentation.AWAKE, 20 * HOUR)}


async def test_drop_leaves_out_who_is_in_bed(autojump_clock: trio.testing.MockClock) -> None:
    group, provider = a_group(QuietRule.DROP, Clock(21))
    await run(group, 1)
    assert ends(group) == {"dropped": 12}
    assert {reason for settlement in group.tubes.settled for reason in settlement.reasons} == {"quiet hours"}
    assert provider.begun == []


@pytest.mark.parametrize("rule", [QuietRule.HOLD, QuietRule.DROP])
async def test_an_outage_that_lasts_into_the_night_wakes_nobody(
    rule: QuietRule, autojump_clock: trio.testing.MockClock
) -> None:
    clock = Clock(19.5)
    group, provider = a_group(rule, clock)
    provider.down = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, group, 14)
        await trio.sleep(2 * HOUR / 1000)
        provider.down = False
    assert not [at for at, *_ in provider.begun if DAY[0][1] - MARGIN <= at < DAY[1][0]]
    after = ends(group)
    after.pop("retried")
    assert after == ({"delivered": 12} if rule is QuietRule.HOLD else {"dropped": 12})


CLOCKS = st.lists(st.tuples(st.floats(1, 300), st.floats(-20, 20)), max_size=4)
OUTAGES = st.lists(st.tuples(st.floats(1, 300), st.floats(1, 300)), max_size=3)


@given(st.sampled_from([QuietRule.HOLD, QuietRule.SILENT, QuietRule.DROP]), st.floats(0, 43), CLOCKS, OUTAGES)
@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_happens_nothing_awake_is_begun_at_night(
    rule: QuietRule, hour: float, sets: list[tuple[float, float]], outages: list[tuple[float, float]]
) -> None:
    """Drawn outages, and clocks that are set by up to a day. Everybody ends, once."""

    async def scene() -> None:
        clock = Clock(hour)
        group, provider = a_group(rule, clock)

        async def set_clock() -> None:
            for wait, hours in sets:
                await trio.sleep(wait)
                clock.offset += round(hours * HOUR)

        async def fail() -> None:
            for wait, length in outages:
                await trio.sleep(wait)
                provider.down = True
                await trio.sleep(length)
                provider.down = False

        async with trio.open_nursery() as nursery:
            nursery.start_soon(set_clock)
            nursery.start_soon(fail)
            await run(group, 100)
        awake = [(at, until) for at, shown, _, until in provider.begun if shown is Presentation.AWAKE]
        for at, until in awake:
            closes = [end for begin, end in DAY if begin <= at < end - MARGIN]
            assert closes, f"begun at {at / HOUR:.2f} o'clock"
            assert until <= closes[0], "the provider would deliver it at night"
        asleep = [at for at, shown, *_ in provider.begun if shown is Presentation.ASLEEP]
        assert not asleep or rule is QuietRule.SILENT
        sums = ends(group)
        sums.pop("retried", None)
        assert sum(sums.values()) == 12

    trio.run(scene, clock=trio.testing.MockClock(autojump_threshold=0))
