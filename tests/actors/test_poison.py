"""A batch that crashes who handles it is put aside in the end, and the rest goes on."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing

from campaigns.batch import Batch
from storage.errors import LinkLost
from tests.actors.channel_group import Group, MemoryTubes, ScriptedTransport, delivered
from transports.contract import Outcomes


async def test_a_batch_that_crashes_its_actors_three_times_is_buried_with_its_reason_and_the_rest_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def answer(batch: Batch) -> Outcomes:
        if batch.recipients[0].id == 6:
            raise RuntimeError("poison")
        return delivered(batch)

    tubes, transport = MemoryTubes(9), ScriptedTransport(answer)
    incarnations = 0
    while len(tubes.settled) < 8 or tubes.ready or tubes.taken:
        incarnations += 1
        with suppress(ExceptionGroup):  # a supervisor starts the group again
            await Group(tubes, transport).run(30)
    assert tubes.buried == [2]
    assert tubes.crashes == [(2, "RuntimeError: poison")] * 3
    assert incarnations == 4
    assert sorted(settlement.task_id for settlement in tubes.settled) == [0, 1, 3, 4, 5, 6, 7, 8]


async def test_an_outage_of_the_queue_is_not_blamed_on_the_batch(autojump_clock: trio.testing.MockClock) -> None:
    def answer(batch: Batch) -> Outcomes:
        raise LinkLost("cut")

    tubes = MemoryTubes(1)
    with pytest.raises(ExceptionGroup):
        await Group(tubes, ScriptedTransport(answer)).run(5)
    assert tubes.crashes == []


async def test_a_batch_is_not_blamed_for_the_crash_of_who_would_have_sent_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tubes = MemoryTubes(3)
    group = Group(tubes, ScriptedTransport(delivered))
    group.actor._work.close()  # as a crashed transport actor leaves it
    with pytest.raises(ExceptionGroup) as crash:
        await group.consumer.run(lambda: None)
    assert crash.group_contains(trio.BrokenResourceError)
    assert tubes.crashes == []
    assert sorted(tubes.taken) == [0, 1, 2], "its next incarnation gives them back"
