"""The traps of supervision on Trio, each as a law."""

import logging
import math
import sys

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from supervision import (
    TEMPORARY,
    ChildExited,
    ChildSpec,
    ChildStarted,
    ChildStuck,
    ExitKind,
    Intensity,
    IntensityExceeded,
    RestartWindow,
    StartFailed,
    StartTimedOut,
    Supervisor,
    log_event,
)
from supervision.child import Incarnation


class Plain:
    """An actor made of a run function that takes itself."""

    def __init__(self, body, on_stop=lambda: None):
        self.body, self.on_stop = body, on_stop

    async def run(self, ready):
        await self.body(ready)

    def stop(self):
        self.on_stop()


# -- 1: stop is request, bounded wait, cancel, awaited exit ------------------------------------------------------


async def test_a_stop_asks_waits_cancels_and_awaits_the_exit_before_it_goes_on(house, virtual):
    house.stop_takes, house.dying_takes = {"b": math.inf}, {"b": 3}
    async with house.open(house.supervisor(house.specs("ab", shutdown=2))):
        pass
    assert house.new() == ["stop b1", "gone b1", "stop a1", "gone a1"]
    assert house.ended == 5


async def test_a_supervisor_cancelled_from_outside_ends_its_children_in_reverse_order(house, virtual):
    house.dying_takes = {"a": 1, "b": 2, "c": 1}
    with trio.move_on_after(10) as scope:
        await house.supervisor(house.specs("abc")).run(lambda: None)
    assert scope.cancelled_caught
    assert [line for line in house.new() if "gone" in line] == ["gone c1", "gone b1", "gone a1"]
    assert trio.current_time() == 14


async def test_a_nested_tree_cancelled_from_outside_ends_in_reverse_order(house, virtual):
    house.dying_takes = dict.fromkeys("abcd", 1)
    inner = ChildSpec("inner", lambda: house.supervisor(house.specs("bc"), "inner"))
    with trio.move_on_after(10):
        await house.supervisor([house.spec("a"), inner, house.spec("d")]).run(lambda: None)
    assert [line for line in house.new() if "gone" in line] == ["gone d1", "gone c1", "gone b1", "gone a1"]


async def test_a_restart_waits_until_the_old_incarnation_is_gone(house, virtual):
    house.dying_takes = {"a": 3}
    async with house.open(house.supervisor(house.specs("ab"))):
        house.crash("a")
        await trio.sleep(2)
        assert house.new() == []
        await trio.sleep(2)
        assert house.new() == ["gone a1", "start a2"]  # two at once fail inside the actor, too


async def test_a_child_that_defies_its_cancel_is_told_of_and_waited_for(house, virtual):
    house.dying_takes = {"a": 60}
    async with house.open(house.supervisor(house.specs("a", shutdown=0))) as supervisor:
        await supervisor.terminate_child("a")
        assert trio.current_time() == 60
        assert [event.seconds for event in house.told(ChildStuck)] == [5.0]


async def test_a_stop_method_that_raises_is_a_cancel_at_once(house, virtual, caplog):
    async def body(ready):
        ready()
        await trio.sleep_forever()

    def broken():
        raise ValueError("no stop")

    async with house.open(house.supervisor([ChildSpec("a", lambda: Plain(body, broken))])):
        pass
    assert house.ended == 0
    assert house.told(ChildExited)[0].reason.kind is ExitKind.KILLED


# -- 2: shielded only once ready ---------------------------------------------------------------------------------


async def test_a_child_that_never_gets_ready_is_cancelled_at_its_start_timeout(house, virtual):
    house.start_takes = {"b": math.inf}
    with pytest.raises(StartFailed) as caught:
        await house.supervisor([house.spec("a"), house.spec("b", start_timeout=7)]).run(lambda: None)
    assert isinstance(caught.value.__cause__, StartTimedOut)
    assert trio.current_time() == 7
    assert house.new() == ["start a1", "start b1", "gone b1", "stop a1", "gone a1"]


async def test_a_supervisor_cancelled_while_a_child_starts_ends_at_once(house, virtual):
    house.start_takes = {"b": math.inf}
    with trio.move_on_after(1):
        await house.supervisor([house.spec("a"), house.spec("b", start_timeout=600)]).run(lambda: None)
    assert trio.current_time() == 1
    assert house.new() == ["start a1", "start b1", "gone b1", "gone a1"]


async def test_a_late_ready_revives_nothing(house, virtual):
    async def body(ready):
        try:
            await trio.sleep_forever()
        finally:
            ready()

    with pytest.raises(StartFailed):
        await house.supervisor([ChildSpec("a", lambda: Plain(body), start_timeout=1)]).run(lambda: None)
    assert house.told(ChildStarted) == house.told(ChildExited) == []  # a failed start, and only that


# -- 3: crashes are caught outside the scope, Cancelled never -----------------------------------------------------


async def test_an_error_beside_a_cancel_of_the_child_is_still_told(house, virtual):
    async def body(ready):
        async def spoils():
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("spoiled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(spoils)
            nursery.start_soon(trio.sleep_forever)
            ready()

    async with house.open(house.supervisor([ChildSpec("a", lambda: Plain(body), shutdown=0)])):
        pass
    (exited,) = house.told(ChildExited)
    assert exited.reason.kind is ExitKind.CRASH
    assert exited.reason.error.exceptions[0].args == ("spoiled",)


async def test_a_group_of_errors_and_a_foreign_cancel_gives_each_its_due(house, virtual):
    async def body(ready):
        try:
            await trio.sleep_forever()
        finally:
            raise BaseExceptionGroup("both", [sys.exception(), ValueError("spoiled")]) from None

    supervisor = house.supervisor([ChildSpec("a", lambda: Plain(body))])
    with trio.move_on_after(1) as scope:
        watch = supervisor.watch("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run, lambda: None)
            await trio.testing.wait_all_tasks_blocked()
            watch = supervisor.watch("a")
    assert scope.cancelled_caught
    assert (await watch).reason.error.exceptions[0].args == ("spoiled",)


@pytest.mark.parametrize("beside", [[], [ValueError("spoiled")]])
async def test_an_incarnation_hands_a_foreign_cancel_on(virtual, beside):
    async def body(ready):
        try:
            await trio.sleep_forever()
        finally:
            if beside:
                raise BaseExceptionGroup("both", [sys.exception(), *beside]) from None

    actor = Plain(body)
    life = Incarnation(ChildSpec("a", lambda: actor), 1, actor, False, lambda life, reason: None)
    with trio.move_on_after(1) as scope:
        await life.run()
    assert scope.cancelled_caught
    assert life.reason.kind is (ExitKind.CRASH if beside else ExitKind.CANCELLED)


async def test_a_cancel_from_outside_is_never_swallowed(house, virtual):
    supervisor = house.supervisor(house.specs("ab"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught


async def test_what_is_no_exception_ends_the_whole_tree_and_goes_up(house, virtual):
    supervisor = house.supervisor(house.specs("abc"))
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012 - the nursery is what raises
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run, lambda: None)
            await trio.testing.wait_all_tasks_blocked()
            house.crash("b", KeyboardInterrupt())
    assert caught.group_contains(KeyboardInterrupt)
    assert set(house.running.values()) == {0}


async def test_a_crash_keeps_its_traceback_in_event_and_log(house, virtual, caplog):
    async def breaks_here(ready):
        ready()
        raise ValueError("broken")

    caplog.set_level(logging.INFO, "supervision")
    supervisor = Supervisor("top", [ChildSpec("a", lambda: Plain(breaks_here), restart=TEMPORARY)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        supervisor.stop()
    assert "in breaks_here" in caplog.text


async def test_an_observer_that_raises_harms_nobody(virtual, caplog, house):
    def observe(event):
        raise ZeroDivisionError

    supervisor = Supervisor("top", house.specs("a"), observe=observe)
    async with house.open(supervisor):
        house.crash("a")
        await trio.testing.wait_all_tasks_blocked()
        assert house.new() == ["gone a1", "start a2"]
    assert "the observer raised" in caplog.text


async def test_every_event_can_be_logged(house, virtual, caplog):
    caplog.set_level(logging.INFO, "supervision")
    house.failing_starts = {"c": 1}
    house.dying_takes = {"b": 10}
    async with house.open(house.supervisor(house.specs("ab", shutdown=0), intensity=Intensity(1, 10))) as supervisor:
        with pytest.raises(StartFailed):
            await supervisor.start_child(house.spec("c"))
        for _ in range(2):
            house.crash("a")
            await trio.sleep(1)
    for event in house.events:
        log_event(event)
    for text in ("top ChildStarted", "exited", "failed to start", "restarts (1", "escalates", "still runs"):
        assert text.replace("top ", "") in caplog.text


# -- 6: a crash loop escalates -------------------------------------------------------------------------------------


@given(restarts=st.integers(0, 8), period=st.floats(0.5, 100), pauses=st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_a_crash_loop_escalates_when_its_crashes_lie_within_one_period(restarts, period, pauses):
    window, now = RestartWindow(Intensity(restarts, period)), 0.0
    for n in range(restarts):
        assert window.add(now)
        assert window.count(now) == n + 1
        now += pauses[n] * period / 9
    assert not window.add(now)


@given(times=st.lists(st.floats(0, 20), max_size=30), restarts=st.integers(0, 5), period=st.floats(0.1, 30))
def test_a_window_counts_the_restarts_of_the_last_period(times, restarts, period):
    window, now, past = RestartWindow(Intensity(restarts, period)), 0.0, []
    for pause in times:
        now += pause
        past.append(now)
        expected = sum(now - then <= period for then in past)
        assert window.add(now) == (expected <= restarts)
        assert window.count(now) == expected


async def test_a_child_terminated_between_two_tries_to_restart_it_is_not_restarted(house, virtual):
    async with house.open(house.supervisor(house.specs("a"), intensity=Intensity(10**6, 1.0))) as supervisor:
        house.failing_starts = {"a": 10**6}
        house.crash("a")
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        await supervisor.terminate_child("a")
        house.failing_starts = {}
        house.new()
        await trio.sleep(60)
        assert house.new() == []
        assert supervisor.which_children()[0].state == "stopped"


async def test_a_slow_crash_loop_still_escalates(house, virtual):
    async with house.open(house.supervisor(house.specs("a"), intensity=Intensity(4, 60))):
        for _ in range(5):
            house.crash("a")
            await trio.sleep(14)
        assert isinstance(house.failure, IntensityExceeded)


# -- the picture of the tree ---------------------------------------------------------------------------------------


def without_wall_times(shot):
    """A snapshot without its times UTC, which are not virtual."""
    assert shot.pop("since", 1.7e9) > 1.6e9
    assert shot.pop("crashed_at", 1.7e9) > 1.6e9
    for child in shot.get("children", ()):
        without_wall_times(child)
    return shot


async def test_a_snapshot_is_plain_data_of_the_whole_tree(house, virtual):
    inner = ChildSpec("inner", lambda: house.supervisor(house.specs("x"), "inner"))
    async with house.open(house.supervisor([house.spec("a"), inner])) as supervisor:
        house.crash("x")
        await trio.sleep(2)
        shot = without_wall_times(supervisor.snapshot())
        crash = {"crash": "ValueError: x1 broke"}
        x = {"id": "x", "kind": "worker", "state": "running", "incarnation": 2, "uptime": 2.0, **crash}
        assert shot == {
            "id": "top", "kind": "supervisor", "state": "running", "incarnation": 1, "uptime": 2.0,
            "strategy": "one_for_one", "restarts": 0, "children": [
                {"id": "a", "kind": "worker", "state": "running", "incarnation": 1, "uptime": 2.0},
                {"id": "inner", "kind": "supervisor", "state": "running", "incarnation": 1, "uptime": 2.0,
                 "strategy": "one_for_one", "restarts": 1, "children": [x]},
            ],
        }  # fmt: skip
    assert supervisor.snapshot()["state"] == "stopped"
