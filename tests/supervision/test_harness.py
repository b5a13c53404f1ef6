"""The harness catches each actor and supervisor that is wrong on purpose, by name, and leaves the right ones alone."""

import sys
import textwrap

import pytest
import trio
from hypothesis import given, settings

from supervision import ChildSpec, Supervisor
from supervision.testing import (
    FaultKind,
    InjectedCrash,
    Injection,
    LawBroken,
    PlannedFault,
    crash_at_every_step,
    fault_at_every_call,
    kill_at_every_step,
    run_schedule,
    run_with_faults,
    seam,
)
from supervision.testing.schedules import fault_schedules
from tests.supervision import canaries

ACK_FIRST = canaries.delivery(canaries.AckBeforeSendConsumer)
LEAKING = canaries.delivery(canaries.LeaseLeakingConsumer)
RIGHT = canaries.delivery(canaries.RightConsumer)
UNAWAITED = canaries.source_and_sink(canaries.ExitsNotAwaitedSupervisor)
TOO_EARLY = canaries.source_and_sink(canaries.RestartsTooEarlySupervisor)

CANARIES = {
    "ack-before-send consumer": (ACK_FIRST, "consumer", "lost = 1"),
    "lease-leaking consumer": (LEAKING, "consumer", "leases left behind"),
    "supervisor that does not await exits": (UNAWAITED, "sink", "the sink was gone before its source"),
    "supervisor that restarts before the old incarnation is gone": (TOO_EARLY, "source", "two incarnations of sink"),
}


@pytest.mark.parametrize("name", CANARIES)
def test_the_harness_catches_the(name):
    scenario, actor, law = CANARIES[name]
    report = crash_at_every_step(scenario, actor=actor)
    print(f"{name}\n{report}")  # pytest -rP shows what each was caught with
    assert any(law in broken.law for broken in report.broken)
    with pytest.raises(LawBroken, match=law):
        report.check()


@pytest.mark.parametrize(
    ("scenario", "actor"),
    [(RIGHT, "consumer")] + [(canaries.source_and_sink(Supervisor), actor) for actor in ("sink", "group/source")],
)
@pytest.mark.parametrize("then", [(), (1,), (3, 2)])
def test_the_harness_is_content_with_the_right_ones(scenario, actor, then):
    report = crash_at_every_step(scenario, actor=actor, then=then).check()
    assert report.runs >= 3


@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER])
def test_a_fault_at_a_seam_tells_wrong_from_right(kind):
    report = fault_at_every_call(RIGHT, seam="phones", kind=kind).check()
    assert report.runs == 5
    report = fault_at_every_call(ACK_FIRST, seam="phones.send", kind=kind)
    assert len(report.broken) == (5 if kind is FaultKind.BEFORE else 0)
    report = fault_at_every_call(LEAKING, seam="queue", kind=kind)
    assert report.broken
    with pytest.raises(ValueError, match="kind"):
        fault_at_every_call(RIGHT, seam="queue", kind=FaultKind.CRASH)


schedules = fault_schedules(actors=["consumer"], seams=["queue", "phones.send"], steps=12)


@given(faults=schedules)
@settings(max_examples=60, deadline=None)
def test_the_right_consumer_survives_every_schedule(faults):
    duplicates = len(faults)
    run_schedule(canaries.delivery(canaries.RightConsumer, again=duplicates), faults)


def test_a_schedule_catches_the_ack_before_send_consumer():
    @given(faults=schedules)
    @settings(max_examples=200, deadline=None, database=None)
    def law(faults):
        run_schedule(canaries.delivery(canaries.AckBeforeSendConsumer, again=9), faults)

    with pytest.raises(LawBroken, match="lost = 1"):
        law()


def test_a_schedule_of_nothing_is_refused():
    with pytest.raises(ValueError, match="actors, seams"):
        fault_schedules()


# -- what the harness says and does ----------------------------------------------------------------------------


def test_a_report_names_the_step_the_line_and_the_law():
    report = crash_at_every_step(ACK_FIRST, actor="consumer")
    text = str(report.broken[0])
    assert text.startswith("crash consumer at ")
    assert "tests/supervision/canaries.py:" in text
    assert " in send: lost = 1: [0]" in text
    assert "5 broke" not in str(crash_at_every_step(RIGHT, actor="consumer"))


def test_a_scenario_that_is_wrong_by_itself_is_told_as_such():
    async def scenario():
        await trio.sleep(1)
        raise ValueError("no phones")

    report = crash_at_every_step(scenario, actor="consumer")
    assert [str(broken) for broken in report.broken] == ["without any fault: ValueError: no phones"]


def test_a_scenario_that_hangs_breaks_its_law():
    fired, law = run_with_faults(trio.sleep_forever, within=5)
    assert (fired, law) == ([], "no end within 5 s")


def test_an_actor_that_does_not_exist_is_no_proof():
    with pytest.raises(LawBroken, match="is the name right"):
        crash_at_every_step(RIGHT, actor="consumers").check()


class Nested:
    """Two tasks, a shielded step, and an end that swallows its cancel: trap for a harness that counts carelessly."""

    def __init__(self, log):
        self.log = log

    async def run(self, ready):
        ready()
        self.log.append("start")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 1)
                with trio.move_on_after(1, shield=True):
                    await trio.sleep(0.5)
                self.log.append("shielded part done")
                await trio.sleep(2)
        except BaseException:
            self.log.append("cancelled")
            raise

    def stop(self):
        pass


def test_every_task_of_an_actor_counts_and_a_crash_takes_them_all():
    logs, errors = [], []

    async def scenario():
        logs.append([])
        supervisor = Supervisor(
            "top", [ChildSpec("a", lambda: Nested(logs[-1]))], observe=lambda event: errors.append(event)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run, lambda: None)
            await trio.sleep(1.9)
            nursery.cancel_scope.cancel()

    report = crash_at_every_step(scenario, actor="top/a").check()
    assert report.runs == len(logs) - 2 >= 3
    assert logs[0] == ["start", "shielded part done", "cancelled"]
    assert [log.count("start") for log in logs[1:4]] == [2] * 3  # later ones die while they are being stopped
    assert all("shielded part done" in log[: log.index("cancelled")] for log in logs)
    crashes = [getattr(event, "reason", None) for event in errors]
    assert sum(isinstance(getattr(reason, "error", None), InjectedCrash) for reason in crashes) >= report.runs


def test_a_supervised_child_is_an_actor_of_its_own():
    started = []

    class Leaf:
        async def run(self, ready):
            started.append(trio.current_time())
            ready()
            await trio.sleep(1)
            await trio.sleep_forever()

        def stop(self):
            pass

    async def scenario():
        inner = ChildSpec("inner", lambda: Supervisor("inner", [ChildSpec("leaf", Leaf, shutdown=0)]))
        supervisor = Supervisor("top", [inner])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run, lambda: None)
            await trio.sleep(2)
            supervisor.stop()

    leaf = crash_at_every_step(scenario, actor="inner/leaf").check()
    assert leaf.runs == 2
    assert all(" in run" in place for place in leaf.places)
    inner = crash_at_every_step(scenario, actor="top/inner", first=3).check()
    assert not any("Leaf" in place for place in inner.places)


def test_without_an_injection_a_seam_is_nothing():
    with seam("a.b"):
        pass


async def test_a_seam_raises_the_error_it_was_given(virtual):
    class Lost(Exception):
        pass

    done = []

    async def effect():
        with seam("queue.put", Lost):
            done.append(trio.current_time())
        await trio.lowlevel.checkpoint()

    injection = Injection([PlannedFault("queue.put", 2, FaultKind.BEFORE), PlannedFault("queue", 1, FaultKind.AFTER)])
    async with injection.installed():
        await effect()
        for n in (1, 2):
            with pytest.raises(Lost, match="queue"):
                await effect()
            assert len(done) == n
        await effect()
    assert len(done) == 3


# -- kill -9 ---------------------------------------------------------------------------------------------------

CHILD = """
import sys, trio
from pathlib import Path
from supervision import ChildSpec, Supervisor
from supervision.testing import kill_switch

folder, order = Path(sys.argv[1]), sys.argv[2]

class Worker:
    async def run(self, ready):
        ready()
        for task in range(2):
            if (folder / f"acked-{task}").exists():
                continue
            for step in order.split():
                (folder / f"{step}-{task}").touch()
                await trio.sleep(0)
        supervisor.stop()

    def stop(self):
        pass

async def main():
    async with kill_switch().installed():
        await supervisor.run(lambda: None)

supervisor = Supervisor("top", [ChildSpec("worker", Worker)])
trio.run(main)
"""


@pytest.mark.parametrize(("order", "right"), [("sent acked", True), ("acked sent", False)])
def test_kill_9_at_every_step_tells_wrong_from_right(tmp_path, order, right):
    state = tmp_path / "state"

    def prepare():
        state.mkdir(exist_ok=True)
        for path in state.iterdir():
            path.unlink()

    def law():
        lost = [task for task in range(2) if not (state / f"sent-{task}").exists()]
        assert not lost, f"lost = {len(lost)}: {lost}"

    argv = [sys.executable, "-c", textwrap.dedent(CHILD), str(state), order]
    report = kill_at_every_step(argv, actor="worker", prepare=prepare, law=law, every=2)
    assert report.runs >= 2
    assert bool(report.broken) != right
    if not right:
        assert "lost = 1" in str(report)


def test_a_process_that_breaks_by_itself_is_told(tmp_path):
    argv = [sys.executable, "-c", "raise SystemExit('no state folder')"]
    report = kill_at_every_step(argv, actor="worker", prepare=lambda: None, law=lambda: None)
    assert [broken.law for broken in report.broken] == ["the process ended with 1: no state folder"]
