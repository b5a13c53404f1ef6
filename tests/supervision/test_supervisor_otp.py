"""OTP's meaning, case by case; the names follow OTP's own supervisor test suite where it has one."""

import math

import pytest
import trio
import trio.lowlevel

from supervision import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    ChildExists,
    ChildExited,
    ChildRestarting,
    ChildRunning,
    ChildSpec,
    ChildStartFailed,
    ChildState,
    Escalated,
    ExitKind,
    Intensity,
    IntensityExceeded,
    NoSuchChild,
    NotRunning,
    StartFailed,
    StartTimedOut,
)

# -- start and stop --------------------------------------------------------------------------------------------


async def test_children_start_in_order_each_after_the_one_before_is_ready(house, virtual):
    house.start_takes = {"a": 3, "b": 2}
    supervisor = house.supervisor(house.specs("abc"))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        assert house.new() == ["start a1", "start b1", "start c1"]
        assert trio.current_time() == 5
        supervisor.stop()


async def test_children_stop_in_reverse_order_each_exit_awaited(house, virtual):
    house.stop_takes = {"b": 2, "c": 3}
    async with house.open(house.supervisor(house.specs("abc"))):
        pass
    assert house.new() == ["stop c1", "gone c1", "stop b1", "gone b1", "stop a1", "gone a1"]
    assert house.ended == 5
    assert house.failure is None


async def test_a_failing_first_start_is_fatal_and_what_started_is_stopped_in_reverse(house, virtual):
    house.failing_starts = {"c": 1}
    with pytest.raises(StartFailed) as caught:
        await house.supervisor(house.specs("abcd")).run(lambda: pytest.fail("it is not ready"))
    assert isinstance(caught.value.__cause__, OSError)
    assert house.new() == [
        "start a1", "start b1", "start c1", "gone c1", "stop b1", "gone b1", "stop a1", "gone a1",
    ]  # fmt: skip


async def test_an_exception_in_the_start_function_is_a_failed_start(house, virtual):
    def broken():
        raise LookupError("no such class")

    with pytest.raises(StartFailed, match="no such class"):
        await house.supervisor([ChildSpec("a", broken)]).run(lambda: None)
    assert house.told(ChildStartFailed)[0].error.args == ("no such class",)


async def test_an_actor_which_returns_before_it_is_ready_has_not_started(house, virtual):
    class Hasty:
        async def run(self, ready):
            await trio.lowlevel.checkpoint()

        def stop(self):
            pass

    with pytest.raises(StartFailed, match="without calling ready"):
        await house.supervisor([ChildSpec("a", Hasty)]).run(lambda: None)


async def test_stop_during_the_start_stops_what_has_started_and_what_is_starting(house, virtual):
    house.start_takes = {"b": math.inf}
    supervisor = house.supervisor([house.spec("a"), house.spec("b", start_timeout=600, shutdown=2)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run, lambda: pytest.fail("it is not ready"))
        await trio.sleep(1)
        supervisor.stop()
    assert house.new() == ["start a1", "start b1", "stop b1", "gone b1", "stop a1", "gone a1"]
    assert trio.current_time() == 3


async def test_a_supervisor_asked_to_stop_before_it_runs_starts_nothing(house, virtual):
    supervisor = house.supervisor(house.specs("a"))
    supervisor.stop()
    await supervisor.run(lambda: pytest.fail("it is not ready"))
    assert house.new() == []


@pytest.mark.parametrize(
    ("shutdown", "takes", "kind", "after"),
    [
        (5.0, 4, ExitKind.SHUTDOWN, 4),
        (5.0, 6, ExitKind.KILLED, 5),
        (0, 1, ExitKind.KILLED, 0),
        (math.inf, 5000, ExitKind.SHUTDOWN, 5000),
        (None, 6, ExitKind.KILLED, 5),
    ],
)
async def test_a_child_is_stopped_as_its_shutdown_value_says(house, virtual, shutdown, takes, kind, after):
    house.stop_takes = {"a": takes}
    async with house.open(house.supervisor([house.spec("a", shutdown=shutdown)])):
        pass
    assert house.ended == after
    assert "stop a1" in house.log
    assert house.told(ChildExited)[0].reason.kind is kind


async def test_a_nested_supervisor_is_given_all_the_time_its_children_need(house, virtual):
    house.stop_takes = {"a": 40}
    house.start_takes = {"a": 40}
    inner = ChildSpec("inner", lambda: house.supervisor([house.spec("a", shutdown=60, start_timeout=60)], "inner"))
    async with house.open(house.supervisor([inner])):
        assert trio.current_time() == 40
    assert house.ended == 80
    assert house.told(ChildExited)[0].reason.kind is ExitKind.SHUTDOWN


# -- restart kinds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "crash", "restarted", "kept"),
    [
        (PERMANENT, True, True, True),
        (PERMANENT, False, True, True),
        (TRANSIENT, True, True, True),
        (TRANSIENT, False, False, True),
        (TEMPORARY, True, False, False),
        (TEMPORARY, False, False, False),
    ],
)
async def test_a_child_is_restarted_as_its_restart_value_says(house, virtual, settle, restart, crash, restarted, kept):
    async with house.open(house.supervisor([house.spec("a", restart=restart)])) as supervisor:
        (house.crash if crash else house.finish)("a")
        await settle()
        assert house.new() == ["gone a1"] + ["start a2"] * restarted
        assert [child.id for child in supervisor.which_children()] == ["a"] * kept
        assert supervisor.count_children().active == restarted


# -- strategies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (ONE_FOR_ONE, ["gone b1", "start b2"]),
        (ONE_FOR_ALL, ["gone b1", "stop c1", "gone c1", "stop a1", "gone a1", "start a2", "start b2", "start c2"]),
        (REST_FOR_ONE, ["gone b1", "stop c1", "gone c1", "start b2", "start c2"]),
    ],
)
async def test_a_strategy_says_who_goes_down_together(house, virtual, settle, strategy, expected):
    async with house.open(house.supervisor(house.specs("abc"), strategy=strategy)):
        house.crash("b")
        await settle()
        assert house.new() == expected


async def test_a_group_restart_forgets_temporary_children_and_starts_stopped_ones(house, virtual, settle):
    specs = [house.spec("a"), house.spec("b", restart=TEMPORARY), house.spec("c", restart=TRANSIENT)]
    async with house.open(house.supervisor(specs, strategy=ONE_FOR_ALL)) as supervisor:
        house.finish("c")
        await settle()
        house.crash("a")
        await settle()
        assert house.new() == ["gone c1", "gone a1", "stop b1", "gone b1", "start a2", "start c2"]
        assert [child.id for child in supervisor.which_children()] == ["a", "c"]


async def test_two_crashes_in_one_group_are_one_restart(house, virtual, settle):
    async with house.open(house.supervisor(house.specs("ab"), strategy=ONE_FOR_ALL)) as supervisor:
        house.crash("a")
        house.crash("b")
        await settle()
        assert house.numbers == {"a": 2, "b": 2}
        assert supervisor.snapshot()["restarts"] == 1


async def test_a_crash_in_a_group_that_is_being_stopped_is_no_second_restart(house, virtual):
    house.stop_takes = {"c": 2}
    async with house.open(house.supervisor(house.specs("abc"), strategy=ONE_FOR_ALL)) as supervisor:
        house.crash("a")
        await trio.sleep(1)
        house.crash("b")
        await trio.sleep(5)
        assert house.numbers == {"a": 2, "b": 2, "c": 2}
        assert supervisor.snapshot()["restarts"] == 1


# -- intensity -------------------------------------------------------------------------------------------------


async def test_one_restart_more_than_the_intensity_stops_all_in_reverse_and_raises(house, virtual, settle):
    supervisor = house.supervisor(house.specs("abc"), intensity=Intensity(2, 10))
    async with house.open(supervisor):
        for _ in range(2):
            house.crash("b")
            await trio.sleep(1)
        house.new()
        house.crash("b")
        await settle()
        assert house.new() == ["gone b3", "stop c1", "gone c1", "stop a1", "gone a1"]
    assert isinstance(house.failure, IntensityExceeded)
    assert house.failure.child == "b"
    assert house.failure.__cause__.args == ("b3 broke",)
    assert house.told(Escalated)[0].error is house.failure


async def test_restarts_further_apart_than_the_period_go_on_for_ever(house, virtual):
    async with house.open(house.supervisor(house.specs("a"), intensity=Intensity(2, 10))):
        for _ in range(50):
            house.crash("a")
            await trio.sleep(5.1)
        assert house.failure is None
        assert house.numbers == {"a": 51}


async def test_an_intensity_of_zero_allows_no_restart(house, virtual, settle):
    async with house.open(house.supervisor(house.specs("a"), intensity=Intensity(0, 10))):
        house.crash("a")
        await settle()
        assert isinstance(house.failure, IntensityExceeded)


async def test_a_start_that_fails_during_a_restart_counts_as_a_restart(house, virtual, settle):
    async with house.open(house.supervisor(house.specs("a"), intensity=Intensity(3, 10))) as supervisor:
        house.failing_starts = {"a": 2}
        house.crash("a")
        await settle()
        assert house.numbers == {"a": 4}
        assert supervisor.snapshot()["restarts"] == 3
        house.crash("a")
        await settle()
        assert isinstance(house.failure, IntensityExceeded)


async def test_rest_for_one_tries_again_from_the_child_that_did_not_start(house, virtual, settle):
    async with house.open(house.supervisor(house.specs("abc"), strategy=REST_FOR_ONE)):
        house.failing_starts = {"b": 1}
        house.crash("a")
        await settle()
        assert house.new() == [
            "gone a1", "stop c1", "gone c1", "stop b1", "gone b1",
            "start a2", "start b2", "gone b2", "start b3", "start c2",
        ]  # fmt: skip


async def test_one_for_all_tries_again_with_all_children(house, virtual, settle):
    async with house.open(house.supervisor(house.specs("abc"), strategy=ONE_FOR_ALL)):
        house.failing_starts = {"b": 1}
        house.crash("c")
        await settle()
        assert house.new() == [
            "gone c1", "stop b1", "gone b1", "stop a1", "gone a1", "start a2", "start b2", "gone b2",
            "stop a2", "gone a2", "start a3", "start b3", "start c2",
        ]  # fmt: skip


async def test_a_nested_supervisor_that_gives_up_is_restarted_by_its_parent_as_a_whole(house, virtual, settle):
    inner = ChildSpec("inner", lambda: house.supervisor(house.specs("ab"), "inner", intensity=Intensity(0, 10)))
    async with house.open(house.supervisor([inner, house.spec("z")])) as supervisor:
        house.crash("b")
        await settle()
        assert house.new() == ["gone b1", "stop a1", "gone a1", "start a2", "start b2"]
        assert house.told(ChildRestarting)[0].child == "inner"
        assert supervisor.snapshot()["children"][0]["incarnation"] == 2


async def test_an_escalation_reaches_the_top_with_every_tree_below_gone(house, virtual, settle):
    def branch(name, children):
        return ChildSpec(name, lambda: house.supervisor(children(), name, intensity=Intensity(0, 10)))

    middle = branch("middle", lambda: [branch("inner", lambda: house.specs("ab")), house.spec("c")])
    async with house.open(house.supervisor([house.spec("d"), middle], intensity=Intensity(0, 10))):
        house.crash("a")
        await settle()
        assert house.new() == ["gone a1", "stop b1", "gone b1", "stop c1", "gone c1", "stop d1", "gone d1"]
    causes, error = [], house.failure
    while error is not None:
        causes.append(type(error))
        error = error.__cause__
    assert causes == [IntensityExceeded] * 3 + [ValueError]


# -- specs ----------------------------------------------------------------------------------------------------


def test_contradicting_specs_are_refused(house):
    with pytest.raises(ValueError, match="two children"):
        house.supervisor(house.specs("aa"))
    with pytest.raises(ValueError, match="seconds"):
        house.spec("a", shutdown=-1)
    with pytest.raises(ValueError, match="empty"):
        house.spec("")
    with pytest.raises(ValueError, match="start_timeout"):
        house.spec("a", start_timeout=0)


# -- children by hand ------------------------------------------------------------------------------------------


async def test_start_child_returns_when_the_child_is_ready(house, virtual):
    async with house.open(house.supervisor([])) as supervisor:
        house.start_takes = {"a": 3}
        await supervisor.start_child(house.spec("a"))
        assert trio.current_time() == 3
        with pytest.raises(ChildExists, match="running"):
            await supervisor.start_child(house.spec("a"))
        await supervisor.terminate_child("a")
        with pytest.raises(ChildExists, match="stopped"):
            await supervisor.start_child(house.spec("a"))


async def test_a_child_that_fails_in_start_child_is_forgotten(house, virtual, settle):
    async with house.open(house.supervisor(house.specs("a"))) as supervisor:
        house.failing_starts = {"b": 1}
        with pytest.raises(StartFailed, match="b1 cannot start"):
            await supervisor.start_child(house.spec("b"))
        assert [child.id for child in supervisor.which_children()] == ["a"]
        assert supervisor.snapshot()["restarts"] == 0


async def test_terminate_child_keeps_the_spec_unless_it_is_temporary(house, virtual):
    specs = [house.spec("a"), house.spec("b", restart=TEMPORARY)]
    async with house.open(house.supervisor(specs)) as supervisor:
        await supervisor.terminate_child("a")
        await supervisor.terminate_child("b")
        assert house.new() == ["stop a1", "gone a1", "stop b1", "gone b1"]
        assert [(child.id, child.state) for child in supervisor.which_children()] == [("a", ChildState.STOPPED)]
        await supervisor.terminate_child("a")  # twice does no harm
        with pytest.raises(NoSuchChild):
            await supervisor.terminate_child("b")


async def test_restart_child_and_delete_child_want_a_stopped_child(house, virtual):
    async with house.open(house.supervisor(house.specs("a"))) as supervisor:
        for verb in (supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(ChildRunning):
                await verb("a")
            with pytest.raises(NoSuchChild):
                await verb("x")
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")
        assert supervisor.which_children()[0].incarnation == 2
        await supervisor.terminate_child("a")
        house.failing_starts = {"a": 1}
        with pytest.raises(StartFailed):
            await supervisor.restart_child("a")
        assert supervisor.which_children()[0].state is ChildState.STOPPED
        await supervisor.delete_child("a")
        assert supervisor.which_children() == []


async def test_requests_to_a_supervisor_that_does_not_run_are_refused(house, virtual):
    supervisor = house.supervisor(house.specs("a"))
    with pytest.raises(NotRunning):
        await supervisor.start_child(house.spec("b"))
    async with house.open(supervisor):
        pass
    with pytest.raises(NotRunning):
        await supervisor.terminate_child("a")


async def test_a_request_that_waits_when_the_supervisor_ends_is_answered(house, virtual):
    house.start_takes = {"b": 5}
    refused = []

    async def ask(supervisor, verb):
        with pytest.raises(NotRunning):
            await verb
        refused.append(trio.current_time())

    supervisor = house.supervisor(house.specs("a"))
    async with trio.open_nursery() as nursery, house.open(supervisor):
        nursery.start_soon(ask, supervisor, supervisor.start_child(house.spec("b")))
        await trio.sleep(0.5)
        nursery.start_soon(ask, supervisor, supervisor.terminate_child("a"))
        await trio.sleep(1)
    assert refused == [1.5, 5]  # the start is given up at once; the other is told when all are gone


async def test_which_and_count_children_tell_the_states(house, virtual, settle):
    inner = ChildSpec("inner", lambda: house.supervisor(house.specs("x"), "inner"))
    specs = [house.spec("a"), inner, house.spec("c", restart=TRANSIENT), house.spec("d"), house.spec("e")]
    house.stop_takes = {"e": 4}  # d waits for it with its restart
    async with house.open(house.supervisor(specs, strategy=REST_FOR_ONE)) as supervisor:
        house.finish("c")
        await settle()
        house.crash("d")
        await settle()
        assert [(c.id, c.state.value, c.kind) for c in supervisor.which_children()] == [
            ("a", "running", "worker"),
            ("inner", "running", "supervisor"),
            ("c", "stopped", "worker"),
            ("d", "restarting", "worker"),
            ("e", "stopping", "worker"),
        ]
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (5, 3, 1, 4)


async def test_watch_gives_the_reason_of_the_incarnation_that_was_watched(house, virtual, settle):
    async with house.open(house.supervisor(house.specs("ab"))) as supervisor:
        watch = supervisor.watch("a")
        house.crash("a")
        await settle()
        down = await watch
        assert (down.id, down.incarnation, down.reason.kind) == ("a", 1, ExitKind.CRASH)
        assert down.reason.error.args == ("a1 broke",)
        assert down.reason.error.__traceback__ is not None
        watch = supervisor.watch("a")
        await supervisor.terminate_child("a")
        assert (await watch).reason.kind is ExitKind.SHUTDOWN
        assert (await supervisor.watch("a")).reason.kind is ExitKind.NOPROC
        with pytest.raises(NoSuchChild):
            supervisor.watch("x")


async def test_a_start_timeout_is_a_failed_start(house, virtual):
    async with house.open(house.supervisor([])) as supervisor:
        house.start_takes = {"a": math.inf}
        with pytest.raises(StartFailed) as caught:
            await supervisor.start_child(house.spec("a", start_timeout=7))
        assert isinstance(caught.value.__cause__, StartTimedOut)
        assert trio.current_time() == 7
        assert house.new() == ["start a1", "gone a1"]
