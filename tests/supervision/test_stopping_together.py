"""Siblings that do not depend on one another stop together: B5. Drains do not add up, and nobody works meanwhile."""

from __future__ import annotations

import pytest
import trio

from supervision import ONE_FOR_ALL, REST_FOR_ONE, ChildExited, ChildSpec, ExitKind


def at_once(house, ids, **options):
    return house.specs(ids, together=True, **options)


async def test_all_are_asked_before_any_is_awaited_and_the_stop_lasts_as_long_as_the_slowest(house, virtual):
    """B5: three channels whose answers take 19 s each drained in 57 s, and the later ones went on taking meanwhile."""
    house.stop_takes = {"a": 19, "b": 17, "c": 18}
    async with house.open(house.supervisor(at_once(house, "abc", shutdown=20))):
        began = trio.current_time()
    assert house.ended - began == 19
    assert house.new() == ["stop c1", "stop b1", "stop a1", "gone b1", "gone c1", "gone a1"]


async def test_groups_that_stop_together_drain_in_the_time_of_one(house, virtual):
    house.stop_takes = {f"transport-{n}": 19 for n in "abc"}
    groups = [
        ChildSpec(
            f"channel-{n}",
            lambda n=n: house.supervisor(house.specs([f"settler-{n}", f"transport-{n}"], shutdown=20), name=n),
            shutdown=25,
            together=True,
        )
        for n in "abc"
    ]
    async with house.open(house.supervisor(groups)):
        began = trio.current_time()
    assert house.ended - began == 19
    log = house.new()
    assert set(log[:3]) == {f"stop transport-{n}1" for n in "abc"}
    assert set(log[-3:]) == {f"gone settler-{n}1" for n in "abc"}


async def test_who_comes_before_them_is_asked_when_all_of_them_are_gone(house, virtual):
    house.stop_takes = {"a": 3, "b": 1}
    children = [house.spec("sink"), *at_once(house, "ab"), house.spec("source")]
    async with house.open(house.supervisor(children)):
        pass
    log = house.new()
    assert log == [
        *("stop source1", "gone source1"),
        *("stop b1", "stop a1", "gone b1", "gone a1"),
        *("stop sink1", "gone sink1"),
    ]


async def test_neighbours_stop_together_and_others_do_not(house, virtual):
    children = [*at_once(house, "ab"), house.spec("c"), *at_once(house, "de")]
    async with house.open(house.supervisor(children)):
        pass
    assert [line for line in house.new() if line.startswith("stop")] == [f"stop {id}1" for id in "edcba"]


async def test_the_deadline_is_one_and_each_who_does_not_keep_it_is_cancelled_then(house, virtual):
    house.stop_takes = {"a": 100, "b": 100, "c": 2}
    async with house.open(house.supervisor(at_once(house, "abc", shutdown=20))):
        began = trio.current_time()
    assert house.ended - began == 20
    ends = {event.child: event.reason.kind for event in house.told(ChildExited)}
    assert ends == {"a": ExitKind.KILLED, "b": ExitKind.KILLED, "c": ExitKind.SHUTDOWN}


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, REST_FOR_ONE])
async def test_a_group_restart_stops_them_together_too(house, virtual, settle, strategy):
    house.stop_takes = {"b": 4, "c": 4}
    children = [house.spec("a"), *at_once(house, "bc")]
    async with house.open(house.supervisor(children, strategy=strategy)):
        began = trio.current_time()
        house.crash("a")
        while house.numbers["c"] < 2:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.5)
        assert trio.current_time() - began <= 4.5
        house.stop_takes = {}
    assert [line for line in house.new() if line.endswith("1")][:3] == ["gone a1", "stop c1", "stop b1"]
    assert max(house.running.values()) == 0


async def test_a_cancel_from_outside_reaches_them_at_once(house, virtual):
    """Three who take 4 s to die are dead after 4 s, not after 12."""
    house.dying_takes = dict.fromkeys("abc", 4)
    tree = house.supervisor(at_once(house, "abc"))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: tree.run(task_status.started))
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == 4
    assert max(house.running.values()) == 0


async def test_one_that_was_stopped_by_hand_does_not_hold_the_others_up(house, virtual):
    tree = house.supervisor(at_once(house, "abc"))
    async with house.open(tree):
        await tree.terminate_child("b")
        house.new()
    assert [line for line in house.new() if line.startswith("stop")] == ["stop c1", "stop a1"]
    assert max(house.running.values()) == 0
