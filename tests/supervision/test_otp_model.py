"""Hypothesis draws trees and what befalls them; the real tree does, in the same order, what the model of OTP says."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supervision import (
    ChildSpec,
    Intensity,
    IntensityExceeded,
    Restart,
    StartFailed,
    Strategy,
    SupervisionError,
    Supervisor,
)
from tests.draws import drawn
from tests.supervision.conftest import House
from tests.supervision.otp_model import Escalates, Plan, Sup, World

MOST_LEAVES = 12


@st.composite
def plans(draw, depth=3):
    names = iter("abcdefghijklmnopqrstuvwxyz")
    left = MOST_LEAVES

    def node(level):
        nonlocal left
        left -= 1
        restart = draw(st.sampled_from(["permanent", "permanent", "transient", "temporary"]))
        id = next(names)
        if level < depth and left and draw(st.integers(0, 2)) == 0:
            return supervisor(id, level + 1, restart)
        return Plan(id, restart)

    def supervisor(id, level, restart="permanent"):
        children = tuple(node(level) for _ in range(draw(st.integers(1, 4))) if left)
        strategy = draw(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]))
        intensity = (draw(st.integers(0, 3)), draw(st.sampled_from([2.0, 10.0])))
        return Plan(id, restart, strategy, intensity, children)

    return supervisor("TOP", 1)


class Real:
    """The real tree of a plan, of scripted actors."""

    def __init__(self, plan):
        self.house, self.supervisors = House(), {}
        self.top = self.supervisor(plan)

    def supervisor(self, plan):
        made = self.supervisors[plan.id] = Supervisor(
            plan.id,
            [self.spec(child) for child in plan.children],
            strategy=Strategy(plan.strategy),
            intensity=Intensity(*plan.intensity),
            observe=self.house.events.append,
        )
        return made

    def spec(self, plan):
        restart = Restart(plan.restart)
        if plan.strategy:
            return ChildSpec(plan.id, lambda: self.supervisor(plan), restart=restart)
        return self.house.spec(plan.id, restart=restart)

    def picture(self):
        def of(shot):
            return [
                (child["id"], child["state"], child["incarnation"], of(child) if child["state"] == "running" else [])
                for child in shot.get("children", [])
            ]

        return of(self.top.snapshot())


async def agree(data, plan):
    real, world = Real(plan), World()
    model = Sup(plan, world)
    for leaf in plan.leaves:
        if data.draw(st.integers(0, 19)) == 0:
            world.failing[leaf] = real.house.failing_starts[leaf] = 1
    outcome = {}

    async def run():
        try:
            await real.top.run(lambda: outcome.setdefault("ready", True))
        except (StartFailed, IntensityExceeded) as error:
            outcome["end"] = type(error).__name__
        else:
            outcome["end"] = "normal"

    def same(what, end=None):
        told = real.house.log
        assert told == world.log, f"after {what}: it did {told}, OTP does {world.log}"
        assert outcome.get("end") == end, f"after {what}: it ended {outcome.get('end')}, OTP {end}"
        if end is None:
            assert real.picture() == model.picture(), f"after {what}"
            shot = real.top.snapshot()
            assert shot["restarts"] == sum(world.now - then <= plan.intensity[1] for then in model.restarts)
        event(f"{what.split()[0]} → {end or 'goes on'}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        booted = model.boot()
        same("boot", None if booted else "StartFailed")
        if not booted:
            return
        for _ in range(data.draw(st.integers(1, 12), label="operations")):
            what = data.draw(st.sampled_from(["crash"] * 5 + ["exit", "exit", "hand", "hand", "time", "fail"]))
            end = None
            if what == "time":
                pause = data.draw(st.sampled_from([1.0, 2.0, 5.0, 11.0]))
                await trio.sleep(pause)
                world.now += pause
            elif what == "fail":
                leaf = data.draw(st.sampled_from(plan.leaves))
                world.failing[leaf] = real.house.failing_starts[leaf] = data.draw(st.integers(1, 3))
            elif what == "hand":
                path, sup = data.draw(st.sampled_from(model.supervisors()), label="supervisor")
                id = data.draw(st.sampled_from([child.id for child in sup.plan.children]))
                verb = data.draw(st.sampled_from(["terminate", "terminate", "restart", "delete"]))
                what = f"{verb} {id}"
                raised = ""
                try:
                    await getattr(real.supervisors[path[-1] if path else "TOP"], f"{verb}_child")(id)
                except SupervisionError as error:
                    raised = type(error).__name__
                assert raised == sup.by_hand(verb, id), f"{what} raised {raised}"
            elif running := model.running():
                path = data.draw(st.sampled_from(running), label="leaf")
                (real.house.crash if what == "crash" else real.house.finish)(path[-1])
                what = f"{what} {path[-1]}"
                try:
                    model.exits(list(path), what.startswith("crash"))
                except Escalates:
                    end = "IntensityExceeded"
            await trio.testing.wait_all_tasks_blocked()
            same(what, end)
            real.house.log.clear()
            world.log.clear()
            if end is not None:
                return
        real.top.stop()
        await trio.testing.wait_all_tasks_blocked()
        model.shut_down()
        same("stop", "normal")


@given(data=st.data(), plan=plans())
@settings(
    max_examples=drawn(200), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_the_tree_does_what_otp_does(data, plan):
    trio.run(agree, data, plan, clock=trio.testing.MockClock(autojump_threshold=0))
