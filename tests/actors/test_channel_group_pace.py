"""How fast a channel may go: rates, pauses, and what a provider asks for; on a virtual clock."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from actors.consumer import TASKS_A_TAKE
from actors.limiter import Limiter
from campaigns.batch import Batch
from campaigns.outcome import Death, Outcome
from tests.actors.channel_group import Group, MemoryTubes, ScriptedTransport, delivered
from transports.contract import Exceptional, Outcomes


async def test_a_stop_answer_pauses_the_channel_and_a_probe_reopens_it(autojump_clock: trio.testing.MockClock) -> None:
    well = False

    def answer(batch: Batch) -> Outcomes:
        if well:
            return delivered(batch)
        held = [Exceptional(i, Outcome.POSTPONED, "InvalidProviderToken") for i in range(len(batch.recipients))]
        return Outcomes(0, held, stop="Apple refuses the key: put the right one under credentials")

    tubes, transport = MemoryTubes(30), ScriptedTransport(answer)
    group = Group(tubes, transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 200)
        await trio.sleep(20)
        assert len(transport.sent) <= 6 + TASKS_A_TAKE
        assert group.breaker.reason is not None
        before = len(transport.sent)
        await trio.sleep(40)
        assert len(transport.sent) - before <= 2, "one probe a cool-down"
        well = True
    assert group.breaker.reason is None
    assert len(tubes.settled) == 30


def refused(batch: Batch, these: range, death: Death = Death.DOUBTFUL) -> Outcomes:
    """``these`` of a batch's recipients are refused."""
    bad = [
        Exceptional(i, Outcome.REJECTED, "BadDeviceToken", death=death)
        for i, recipient in enumerate(batch.recipients)
        if recipient.id in these
    ]
    return Outcomes(len(batch.recipients) - len(bad), bad)


def settled_as(tubes: MemoryTubes, word: str) -> int:
    return sum(settlement.tallies.get(word, 0) for settlement in tubes.settled)


async def test_a_wrong_key_stops_the_channel_with_a_question_and_nobody_is_settled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A1: also where the channel has only 400 phones."""
    wrong = True

    def answer(batch: Batch) -> Outcomes:
        return refused(batch, range(400)) if wrong else delivered(batch)

    tubes, transport = MemoryTubes(4, size=100, come_back=True), ScriptedTransport(answer)
    group = Group(tubes, transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 300)
        await trio.sleep(50)
        assert group.breaker.reason is not None
        assert "BadDeviceToken" in group.breaker.reason
        assert group.doubts[-1].reasons == {"BadDeviceToken": 400}
        sent = len(transport.sent)
        assert sent <= 4 * 3, "what was refused before is no probe"
        await trio.sleep(50)
        assert len(transport.sent) == sent
        assert settled_as(tubes, "rejected") == settled_as(tubes, "dead") == 0
        assert not any(settlement.dead for settlement in tubes.settled)
        wrong = False
        group.word = "denied"
        group.refusals.hear({9: "denied"})
        await trio.sleep(10)
        assert group.breaker.reason is None
    assert settled_as(tubes, "delivered") == 400


async def test_what_a_person_calls_dead_is_settled_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """A2"""
    tubes = MemoryTubes(4, size=100, come_back=True)
    group = Group(tubes, ScriptedTransport(lambda batch: refused(batch, range(400))))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 100)
        await trio.sleep(20)
        assert group.breaker.reason is not None
        group.word = "confirmed"
        group.refusals.hear({9: "confirmed"})
        await trio.sleep(10)
        assert settled_as(tubes, "rejected") == 400
        assert group.breaker.reason is None


@pytest.mark.parametrize("rate", [None, 2000.0])
async def test_six_hundred_dead_in_a_row_keep_no_campaign_up(
    autojump_clock: trio.testing.MockClock, rate: float | None
) -> None:
    """S4: the bad batch is held, not the channel."""

    async def seconds(dead: range) -> float:
        tubes = MemoryTubes(100, size=100, come_back=True)
        limiter = None if rate is None else Limiter(rate, 200.0)
        group = Group(tubes, ScriptedTransport(lambda batch: refused(batch, dead), seconds=0.5), limiter=limiter)
        group.word = "sound"
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.run, 120)
            while settled_as(tubes, "delivered") < 10_000 - len(dead):  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.05)
            took = trio.current_time() - began
            assert group.breaker.reason is None
            await trio.sleep(2)
            assert settled_as(tubes, "rejected") == len(dead)
        return took

    usual = await seconds(range(0))
    assert usual / await seconds(range(600)) >= 0.9
    assert usual / await seconds(range(3000, 3600)) >= 0.9


async def test_a_base_of_which_a_third_is_dead_goes_through_at_full_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A2: deliveries prove the key."""

    def answer(batch: Batch) -> Outcomes:
        first = batch.recipients[0].id
        return refused(batch, range(first, first + 36))

    tubes = MemoryTubes(30, size=120, come_back=True)
    group = Group(tubes, ScriptedTransport(answer))
    await group.run(20)
    assert (group.breaker.reason, group.doubts) == (None, [])
    assert sum(len(settlement.dead) for settlement in tubes.settled) == 30 * 36


async def test_a_provider_too_busy_for_a_tenth_slows_its_channel_more_and_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    busy = True

    def answer(batch: Batch) -> Outcomes:
        if not busy:
            return delivered(batch)
        return Outcomes(80, [Exceptional(i, Outcome.RETRY, "ServiceUnavailable", 1.0) for i in range(20)], put_off=20)

    tubes, transport = MemoryTubes(200, size=100), ScriptedTransport(answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Group(tubes, transport).run, 100)
        await trio.sleep(40)
        while_busy = len(transport.sent)
        assert while_busy <= 100, "pauses of 1, 2, 4, 8 … seconds, ten batches between two of them"
        busy = False
    assert len(transport.sent) == 200


async def test_a_rate_is_kept_before_the_take_so_that_no_lease_grows_old(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tubes, transport = MemoryTubes(10, size=100), ScriptedTransport(delivered, seconds=0.0)
    await Group(tubes, transport, limiter=Limiter(10.0, 100.0)).run(200)
    assert len(tubes.settled) == 10
    assert tubes.takes[-1] - tubes.takes[0] >= 80.0, "1,000 pushes at 10/s, 100 at once"
    assert tubes.most_taken <= 2


async def test_an_infinite_limiter_is_no_limit(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(5), ScriptedTransport(delivered)
    await Group(tubes, transport, limiter=Limiter(math.inf, 1.0)).run(5)
    assert len(tubes.settled) == 5


async def test_a_provider_that_asks_for_less_gets_nothing_for_that_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    refused = [Exceptional(n, Outcome.RETRY, "QUOTA_EXCEEDED", 60.0) for n in (1, 2)]
    tubes = await _answered_first(Outcomes(1, refused, None, slow=60.0, put_off=2))
    assert min(tubes.takes[1:]) >= 60.0


async def test_a_day_of_retry_after_pauses_a_channel_for_five_minutes_and_then_one_batch_goes_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """C2: one 429 with ``Retry-After: 86400`` stopped the channel for a day."""
    well = False

    def answer(batch: Batch) -> Outcomes:
        if well:
            return delivered(batch)
        refused = [Exceptional(n, Outcome.RETRY, "QUOTA_EXCEEDED", 300.0) for n in range(3)]
        return Outcomes(0, refused, slow=86_400.0, put_off=3)

    tubes, transport = MemoryTubes(40), ScriptedTransport(answer)
    group = Group(tubes, transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 1000)
        await trio.sleep(290)
        first = len(transport.sent)
        assert first <= 12
        assert group.gate.slowdown.since is not None
        assert group.gate.slowdown.until <= trio.current_time() + 300
        await trio.sleep(300)
        assert len(transport.sent) == first + 1, "one batch after five minutes, and its fate pauses the channel again"
        well = True
        await trio.sleep(30)
        assert len(tubes.settled) == 40
        assert group.gate.slowdown.since is None


async def test_one_recipient_who_is_put_off_slows_nobody_else(autojump_clock: trio.testing.MockClock) -> None:
    """C2: a remainder of one recipient was all of its batch, and so its channel's."""
    tubes = await _answered_first(
        Outcomes(0, [Exceptional(0, Outcome.RETRY, "QUOTA_EXCEEDED", 300.0)], slow=86_400.0, put_off=1), size=1
    )
    assert max(tubes.takes) < 10.0


async def test_a_provider_that_answers_nothing_is_left_alone_more_and_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """C3: it was sent batch after batch, and the channel said nothing."""

    def mute(batch: Batch) -> Outcomes:
        return Outcomes(0, [Exceptional(n, Outcome.UNKNOWN, "no answer") for n in range(3)])

    tubes, transport = MemoryTubes(200), ScriptedTransport(mute, seconds=20)
    group = Group(tubes, transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 600)
        await trio.sleep(500)
        assert len(transport.sent) < 30
        assert (group.gate.slowdown.reason, group.gate.slowdown.since is None) == ("silent", False)
        transport.answer = delivered


async def test_a_channel_that_waits_for_answers_says_so(autojump_clock: trio.testing.MockClock) -> None:
    """C3: some unanswered pushes in each batch held all hands for 20 s, and the channel said nothing."""
    tubes, transport = MemoryTubes(100), ScriptedTransport(delivered, seconds=20)
    group = Group(tubes, transport, clock=lambda: 1_000_000)
    state = group.gate.state
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 1000)
        await trio.sleep(1)
        assert state() is None, "a second is no standstill"
        await trio.sleep(9)
        waits = state()
        assert waits is not None
        assert (waits.reason, waits.since) == ("answers", 990_020)  # the take came 20 ms after the start
        transport.seconds = 0.05
        await trio.sleep(12)
        assert state() is None
    assert len(tubes.settled) == 100


async def test_a_provider_that_puts_off_a_few_of_many_is_asked_on(autojump_clock: trio.testing.MockClock) -> None:
    few = [Exceptional(n, Outcome.RETRY, "QUOTA_EXCEEDED", 60.0) for n in range(10)]
    tubes = await _answered_first(Outcomes(90, few, None, slow=60.0, put_off=10), size=100)
    assert max(tubes.takes) < 10.0, "they alone wait"


async def _answered_first(outcomes: Outcomes, size: int = 3) -> MemoryTubes:
    """Five batches, of which the first had these ends before the others came."""
    answers = [outcomes]
    tubes = MemoryTubes(1, size=size)
    transport = ScriptedTransport(lambda batch: answers.pop() if answers else delivered(batch))
    more = MemoryTubes(5, size=size).ready[1:]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Group(tubes, transport).run, 100)
        await trio.sleep(3)
        tubes.ready += more
    assert len(tubes.settled) == 5
    return tubes


async def test_channels_of_one_project_keep_its_rising_rate_together(autojump_clock: trio.testing.MockClock) -> None:
    limiter = Limiter(100.0, 100.0, ramp=60.0)
    sent: list[float] = []

    def answer(batch: Batch) -> Outcomes:
        sent.append(trio.current_time())
        return delivered(batch)

    groups = [Group(MemoryTubes(300, size=25), ScriptedTransport(answer), limiter=limiter) for _ in range(2)]
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for group in groups:
            nursery.start_soon(group.run, 100)
    for number, at in enumerate(sent):
        rising = min(60.0, at - begin)
        allowed = 100 * (0.05 + 0.95 * rising / 120) * rising + 100 * max(0.0, at - begin - 60)
        # each channel may have drawn one batch more than there was
        assert 25 * (number + 1) <= 100 + allowed + 2 * 25 + 1
    assert 25 * len(sent) > 0.95 * (100 * 0.525 * 60 + 100 * 40), "all that the rate gives"
    shares = [len(group.transport.sent) / len(sent) for group in groups]
    assert min(shares) > 0.4, "neither channel starves"
