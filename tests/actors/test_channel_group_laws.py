"""Consumer, transport actor and settler together, on a virtual clock: a queue in memory, a scripted provider."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actors.gate import Gate
from actors.hands import Hands
from actors.messages import Answered
from actors.settler import Settler
from campaigns.batch import Batch
from campaigns.outcome import Outcome
from tests.actors.channel_group import FAR, Group, MemoryTubes, ScriptedTransport, delivered, no_answer
from transports.contract import Exceptional, Outcomes


async def test_every_batch_is_sent_and_settled_once(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(20), ScriptedTransport(delivered)
    await Group(tubes, transport).run(10)
    assert sorted(s.task_id for s in tubes.settled) == list(range(20))
    assert transport.most_at_once > 1, "batches go side by side"


async def test_leases_never_exceed_the_hands(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(50), ScriptedTransport(delivered, seconds=1.0)
    await Group(tubes, transport, hands=5).run(60)
    assert tubes.most_taken <= 5
    assert len(tubes.settled) == 50


async def test_a_stop_drains_what_is_in_hand_and_takes_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(50), ScriptedTransport(delivered, seconds=10.0)
    await Group(tubes, transport).run(1.0)
    assert 0 < len(tubes.settled) == len(transport.sent) < 50
    assert len(tubes.ready) == 50 - len(tubes.settled)


class OneAtATime(ScriptedTransport):
    """A provider with a single stream: what comes after the stop is not begun, as a pool has it."""

    def __init__(self) -> None:
        super().__init__(delivered, seconds=10.0)
        self.stream = trio.Lock()

    async def send(self, batch: Batch) -> Outcomes:
        async with self.stream:
            if self.ended.is_set():
                return Outcomes(
                    0, [Exceptional(n, Outcome.POSTPONED, "stopping") for n in range(len(batch.recipients))]
                )
            return await super().send(batch)


async def test_a_stop_awaits_what_was_begun_and_hands_the_rest_back(autojump_clock: trio.testing.MockClock) -> None:
    """B5: a drain lasts as long as an answer, not as long as all that was in hand takes to be sent."""
    tubes, transport = MemoryTubes(50), OneAtATime()
    await Group(tubes, transport).run(1.0)
    assert trio.current_time() < 15
    assert len(transport.sent) == 1
    back = [settlement for settlement in tubes.settled if settlement.remainders]
    assert len(back) == len(tubes.settled) - 1 == 5
    assert all(sum(rest.size for rest in settlement.remainders) == 3 for settlement in back)


async def test_leases_of_an_earlier_incarnation_are_given_back_first(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(4), ScriptedTransport(delivered)
    tubes.taken.update(tubes.ready)
    tubes.ready = []
    await Group(tubes, transport).run(5)
    assert tubes.released == 4
    assert len(tubes.settled) == 4


async def test_after_a_failed_settlement_nothing_is_taken_until_it_succeeds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tubes, transport = MemoryTubes(1), ScriptedTransport(delivered)
    group = Group(tubes, transport)
    tubes.lost_settlements = 3  # 15 s of trouble
    more = MemoryTubes(9).ready[1:]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 60)
        await trio.sleep(8)
        tubes.ready += more
    first, *later = tubes.takes
    assert first < 1.0
    assert min(later) > 15.0
    assert len(tubes.settled) == 9


@pytest.mark.parametrize(
    "data",
    ["garbage", [1, 2], [2, 9, 1, 0, 0, 1, 1, FAR, *[0] * 6, b"\x90"], [1, 9, 1, 0, 0, 1, 1, FAR, *[0] * 6, b"[["]],
)
async def test_an_unreadable_task_is_buried_and_the_rest_goes_on(
    data: Any, autojump_clock: trio.testing.MockClock
) -> None:
    tubes, transport = MemoryTubes(3), ScriptedTransport(delivered)
    tubes.ready.insert(1, (77, data))
    await Group(tubes, transport).run(5)
    assert tubes.buried == [77]
    assert len(tubes.settled) == 3


async def test_a_task_of_an_unknown_campaign_is_buried(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(1), ScriptedTransport(delivered)
    tubes.ready.insert(0, (77, [1, 8, 1, 0, 0, 1, 1, FAR, ["en"], "[]"]))
    await Group(tubes, transport).run(5)
    assert tubes.buried == [77]


async def test_every_push_is_begun_long_before_its_lease_ends(autojump_clock: trio.testing.MockClock) -> None:
    transport = ScriptedTransport(delivered)
    await Group(MemoryTubes(2), transport).run(5)
    assert all(20.0 <= batch.begin_until <= 31.0 for batch in transport.sent)


async def test_a_stop_does_not_wait_for_the_long_poll(autojump_clock: trio.testing.MockClock) -> None:
    started = trio.current_time()
    await Group(MemoryTubes(0), ScriptedTransport(delivered)).run(3.0)
    assert trio.current_time() - started < 3.1


async def test_a_settler_whose_group_never_came_up_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    done_in, done_out = trio.open_memory_channel[Answered](1)
    tubes: Any = MemoryTubes(0)
    settler = Settler(
        channel="c",
        tubes=tubes,
        done=done_out,
        intake=done_in,
        hands=Hands(1),
        gate=Gate("c", ask=no_answer),
        clock=lambda: 0,
    )
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(settler.run, lambda: None)
            await trio.testing.wait_all_tasks_blocked()
            settler.stop()
