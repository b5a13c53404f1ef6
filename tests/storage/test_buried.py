"""Batches that are put aside: what nobody can read, and what has crashed three times who handles it."""

from __future__ import annotations

import trio

from storage.records import Task
from storage.tubes import Tubes
from tests.conftest import Server, linked
from tests.storage.test_walk_verbs import CAMPAIGN, House, house, settlement

__all__ = ["house"]  # a fixture


async def test_an_unreadable_batch_is_put_aside(house: House) -> None:
    await house.subscribers(4)
    await house.fire()
    await house.walk_page()
    (task,) = await house.batches("ios")
    await house.tubes.batch_bury("ios", task.id, task.number, "not a batch")
    assert await house.batches("ios") == []
    assert (await house.tubes.statistics())["tubes"]["push_ios"]["buried"] == 1
    (buried,) = await house.tubes.tube_buried("ios", 10)
    assert (buried.crashes, buried.why, buried.data[1]) == (0, "not a batch", CAMPAIGN)


async def test_a_batch_that_crashes_who_handles_it_three_times_is_buried_and_a_kick_gives_it_another_life(
    house: House,
) -> None:
    await house.subscribers(4)
    await house.fire()
    await house.walk_page()
    for crash in (1, 2, 3):
        with trio.fail_after(5):
            (task,) = [Task.of(*each) for each in await house.tubes.batch_take("ios", 1)]
        assert await house.tubes.batch_crashed("ios", task.id, task.number - 1, "another take's") == (0, False)
        assert await house.tubes.batch_crashed("ios", task.id, task.number, f"boom {crash}") == (crash, crash == 3)
    assert await house.batches("ios") == []
    (buried,) = await house.tubes.tube_buried("ios", 10)
    assert (buried.crashes, buried.why) == (3, "boom 3")
    assert await house.tubes.tube_kick("ios", 5) == 1
    assert await house.tubes.tube_kick("ios", 5) == 0, "it is there only once"
    assert await house.tubes.tube_buried("ios", 10) == []
    (task,) = await house.batches("ios")
    assert await house.tubes.batch_crashed("ios", task.id, task.number, "boom") == (1, False), "a clean record"
    with trio.fail_after(5):
        (task,) = [Task.of(*each) for each in await house.tubes.batch_take("ios", 1)]
    assert await house.tubes.settle("ios", [settlement(task, delivered=2)]) == [True]
    await house.deliver("android")
    await house.report()
    assert await house.state() == "done"


async def test_a_buried_batch_stays_buried_when_the_session_that_buried_it_ends(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        house = House(link)
        await house.join()
        await house.subscribers(4)
        await house.fire()
        await house.walk_page()
        (task,) = await house.batches("ios")
        await house.tubes.batch_bury("ios", task.id, task.number, "not a batch")
    async with linked(own_tarantool) as link:
        assert (await Tubes(link, "another").statistics())["tubes"]["push_ios"]["buried"] == 1
