"""Siblings that do not depend on one another start side by side when their supervisor does."""

from __future__ import annotations

import pytest
import trio

from supervision import ChildStartFailed, StartFailed
from supervision.child import ChildState


def at_once(house, ids, **options):
    return house.specs(ids, together=True, **options)


async def test_the_start_lasts_as_long_as_the_slowest(house, virtual):
    """Two workers whose imports take 1.7 s each kept a node from serving for 3.4 s after every restart."""
    house.start_takes = {"a": 2, "b": 3, "c": 1}
    began = trio.current_time()
    async with house.open(house.supervisor(at_once(house, "abc"))):
        assert trio.current_time() - began == 3


async def test_who_comes_after_them_is_started_when_all_are_ready_and_who_comes_before_is_ready_first(house, virtual):
    house.start_takes = {"sink": 1, "a": 2, "b": 3}
    children = [house.spec("sink"), *at_once(house, "ab"), house.spec("source")]
    began, starts = trio.current_time(), {}
    tree = house.supervisor(children)

    async def look():
        for id in ("sink", "a", "b", "source"):
            while id not in house.actors:  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.25)
            starts[id] = trio.current_time() - began

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        async with house.open(tree):
            pass
    assert starts["sink"] < 1 <= starts["a"] == starts["b"] < 2
    assert starts["source"] >= 4


async def test_the_first_who_fails_ends_the_start_and_nobody_is_left_behind(house, virtual):
    """The slow one, not ready yet, is asked and gets its time, as at any other stop."""
    house.failing_starts, house.start_takes, house.stop_takes = {"b": 1}, {"a": 50, "c": 0, "b": 0}, {"c": 2}
    tree = house.supervisor([house.spec("sink"), *at_once(house, "abc", start_timeout=60.0)])
    began = trio.current_time()
    with pytest.raises(StartFailed) as caught:
        await tree.run(lambda: pytest.fail("it is not ready"))
    assert caught.value.child == "b"
    assert trio.current_time() - began == 5  # the default `shutdown` of the one that was not ready
    assert [event.child for event in house.told(ChildStartFailed)] == ["b"]
    assert set(house.running.values()) == {0}
    assert house.log[-1] == "gone sink1"


async def test_a_stop_gives_up_all_of_their_starts(house, virtual):
    house.start_takes = {"a": 50, "b": 50}
    tree = house.supervisor(at_once(house, "ab", start_timeout=60.0, shutdown=1.0))

    async def run(task_status):
        task_status.started()
        await tree.run(lambda: pytest.fail("it is not ready"))

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        await trio.sleep(3)
        tree.stop()
    assert trio.current_time() - 3 <= 1.5
    assert {child.state for child in tree.which_children()} == {ChildState.STOPPED}
    assert set(house.running.values()) == {0}


async def test_each_has_its_own_time_to_get_ready(house, virtual):
    house.start_takes = {"a": 50, "b": 4}
    tree = house.supervisor(at_once(house, "ab", start_timeout=5.0))
    with pytest.raises(StartFailed) as caught:
        await tree.run(lambda: pytest.fail("it is not ready"))
    assert caught.value.child == "a"
    assert set(house.running.values()) == {0}
