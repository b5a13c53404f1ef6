"""OTP's supervisor rules, written down a second time: a tree as plain data, which tells what happens in what order.

Nothing here imports `supervision`. Times are handed in; leaves act at once. The log's lines are those of conftest's
Scripted actors: "start ID+N", "stop ID+N", "gone ID+N", N counting a leaf's starts over the whole tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """A child as it is specified: a leaf, or a supervisor with children."""

    id: str
    restart: str = "permanent"
    strategy: str = ""
    intensity: tuple[int, float] = (0, 1.0)
    children: tuple[Plan, ...] = ()

    @property
    def leaves(self) -> list[str]:
        return [leaf for child in self.children for leaf in child.leaves] if self.strategy else [self.id]


@dataclass
class Child:
    plan: Plan
    state: str = "stopped"
    number: int = 0
    supervisor: Sup | None = None


class Escalates(Exception):
    """A supervisor gives up."""


@dataclass
class World:
    """What all supervisors share: the log, the clock, who cannot start."""

    log: list[str] = field(default_factory=list)
    now: float = 0.0
    starts: dict[str, int] = field(default_factory=dict)
    failing: dict[str, int] = field(default_factory=dict)


class Sup:
    def __init__(self, plan: Plan, world: World) -> None:
        self.plan, self.world = plan, world
        self.children = {child.id: Child(child) for child in plan.children}
        self.restarts: list[float] = []

    # -- starting and stopping ---------------------------------------------------------------------------------

    def boot(self) -> bool:
        for child in list(self.children.values()):
            if not self.start(child):
                self.shut_down()
                return False
        return True

    def start(self, child: Child) -> bool:
        child.number += 1
        if child.plan.strategy:
            child.supervisor = Sup(child.plan, self.world)
            started = child.supervisor.boot()
        else:
            id, world = child.plan.id, self.world
            world.starts[id] = world.starts.get(id, 0) + 1
            world.log.append(f"start {id}{world.starts[id]}")
            started = not world.failing.get(id)
            if not started:
                world.failing[id] -= 1
                world.log.append(f"gone {id}{world.starts[id]}")
        child.state = "running" if started else "stopped"
        return started

    def stop(self, child: Child) -> None:
        if child.state == "running":
            if child.supervisor is not None:
                child.supervisor.shut_down()
            else:
                tag = f"{child.plan.id}{self.world.starts[child.plan.id]}"
                self.world.log += [f"stop {tag}", f"gone {tag}"]
        self.rest(child)

    def rest(self, child: Child) -> None:
        child.state = "stopped"
        if child.plan.restart == "temporary":
            self.children.pop(child.plan.id, None)

    def shut_down(self) -> None:
        for child in reversed(list(self.children.values())):
            self.stop(child)

    # -- exits -------------------------------------------------------------------------------------------------

    def exits(self, path: list[str], crashed: bool) -> None:
        """The child at the end of `path` is gone by itself. Raises what ends this supervisor, its children stopped."""
        child = self.children[path[0]]
        try:
            if len(path) > 1:
                assert child.supervisor is not None
                try:
                    child.supervisor.exits(path[1:], crashed)
                except Escalates:
                    crashed = True
                else:
                    return
            else:
                self.world.log.append(f"gone {child.plan.id}{self.world.starts[child.plan.id]}")
            child.state = "gone"
            if child.plan.restart == "permanent" or (child.plan.restart == "transient" and crashed):
                self.restart(child)
                return
            self.rest(child)
        except Escalates:
            self.shut_down()
            raise

    def restart(self, child: Child) -> None:
        most, period = self.plan.intensity
        while True:
            self.restarts = [then for then in [*self.restarts, self.world.now] if self.world.now - then <= period]
            if len(self.restarts) > most:
                raise Escalates
            order = list(self.children.values())
            group = {
                "one_for_one": [child],
                "one_for_all": order,
                "rest_for_one": order[order.index(child) :],
            }[self.plan.strategy]
            for member in reversed(group):
                if member is not child:
                    self.stop(member)
            for member in group:
                if member.plan.id in self.children and not self.start(member):
                    child, child.state = member, "gone"
                    break
            else:
                return

    # -- by hand -----------------------------------------------------------------------------------------------

    def by_hand(self, verb: str, id: str) -> str:
        """Do `terminate`, `restart` or `delete`; answers what was raised, or nothing."""
        child = self.children.get(id)
        if child is None:
            return "NoSuchChild"
        if verb == "terminate":
            self.stop(child)
        elif child.state != "stopped":
            return "ChildRunning"
        elif verb == "delete":
            del self.children[id]
        elif not self.start(child):
            return "StartFailed"
        return ""

    # -- looking -----------------------------------------------------------------------------------------------

    def running(self, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        """The paths of the leaves that run."""
        found: list[tuple[str, ...]] = []
        for id, child in self.children.items():
            if child.state == "running":
                found += [(*path, id)] if child.supervisor is None else child.supervisor.running((*path, id))
        return found

    def supervisors(self, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Sup]]:
        """The supervisors that run, this one first."""
        found = [(path, self)]
        for id, child in self.children.items():
            if child.state == "running" and child.supervisor is not None:
                found += child.supervisor.supervisors((*path, id))
        return found

    def picture(self) -> list[object]:
        """(id, state, incarnation, children) of all, as a snapshot has it."""
        return [
            (
                id,
                child.state,
                child.number,
                child.supervisor.picture() if child.supervisor and child.state == "running" else [],
            )
            for id, child in self.children.items()
        ]
