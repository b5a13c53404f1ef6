"""Cases of OTP's supervisor_SUITE that had no law of their own; docs/supervision.md lists them all."""

import trio

from supervision import ONE_FOR_ALL, REST_FOR_ONE, TEMPORARY, ChildSpec, Intensity


async def test_tree__dynamic_children_do_not_come_back_with_a_restarted_tree(house, virtual, settle):
    inner = []

    def make():
        inner.append(house.supervisor(house.specs("a"), "inner", intensity=Intensity(0, 10)))
        return inner[-1]

    async with house.open(house.supervisor([ChildSpec("inner", make)])):
        await inner[0].start_child(house.spec("dynamic"))
        assert inner[0].count_children().active == 2
        house.crash("a")
        await settle()
        assert [child.id for child in inner[1].which_children()] == ["a"]
        assert house.running == {"a": 1, "dynamic": 0}


async def test_hanging_restart_loop__a_child_that_never_starts_again_keeps_no_request_waiting(house, virtual):
    for strategy in (ONE_FOR_ALL, REST_FOR_ONE):
        supervisor = house.supervisor(house.specs("ab"), strategy=strategy, intensity=Intensity(10**6, 1.0))
        async with house.open(supervisor):
            house.failing_starts = {"b": 10**6}
            house.crash("b")
            with trio.fail_after(1):
                for _ in range(100):
                    await trio.lowlevel.checkpoint()
                await supervisor.start_child(house.spec("c"))
                await supervisor.terminate_child("b")
                assert supervisor.which_children()[0].state == "running"
            house.failing_starts = {}
        assert house.failure is None


async def test_hanging_restart_loop__a_supervisor_in_it_can_be_stopped(house, virtual):
    supervisor = house.supervisor(house.specs("ab"), intensity=Intensity(10**6, 1.0))
    with trio.fail_after(1):
        async with house.open(supervisor):
            house.failing_starts = {"b": 10**6}
            house.crash("b")
            for _ in range(100):
                await trio.lowlevel.checkpoint()
    assert house.failure is None
    assert house.running == {"a": 0, "b": 0}


async def test_scale_many_temporary_children__those_that_are_gone_leave_nothing_behind(house, virtual, settle):
    async with house.open(house.supervisor([])) as supervisor:
        for n in range(1000):
            await supervisor.start_child(house.spec(f"t{n}", restart=TEMPORARY))
        counts = supervisor.count_children()
        assert (counts.specs, counts.active) == (1000, 1000)
        for n in range(500):
            house.finish(f"t{n}")
        for n in range(500, 1000):
            house.crash(f"t{n}")
        await settle()
        assert supervisor.which_children() == []
        assert supervisor.snapshot()["restarts"] == 0
