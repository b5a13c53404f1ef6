"""Counts the steps of named actors and the calls at named seams, and lets one of them fail."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path

import trio
from trio.lowlevel import Task

from supervision.child import around_actors
from supervision.testing.report import FaultKind, Fired, InjectedCrash, InjectedFault, PlannedFault

_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")} | {str(Path(trio.__file__).parent)}
)
_PLUMBING = (str(Path(__file__).parent), str(Path(__file__).parents[1] / "child.py"))
current: ContextVar[Injection | None] = ContextVar("injection", default=None)


class _Life:
    """One incarnation of an actor, as the harness sees it."""

    __slots__ = ("crash", "path", "scope")

    def __init__(self, path: str) -> None:
        self.path = path
        self.scope = trio.CancelScope()
        self.crash: Fired | None = None


class Injection(trio.abc.Instrument):
    """Injects `faults` into one run, in order: counting for the next begins once the one before was injected.

    A step is one turn of one of the actor's own tasks: from one await that really waits, or only lets others run, to
    the next. The crash is a cancel of the whole actor at that await. Supervised children are actors of their own.
    Shielded awaits and plain statements between two awaits cannot be hit: that is what seams are for.

    `on_fire` is called with each `Fired`, within that step; it must not raise.
    """

    def __init__(self, faults: Sequence[PlannedFault], on_fire: Callable[[Fired], None] | None = None) -> None:
        self.fired: list[Fired] = []
        self._faults = list(faults)
        self._on_fire = on_fire
        self._count = 0
        self._lives: dict[Task, _Life] = {}

    @asynccontextmanager
    async def installed(self) -> AsyncIterator[None]:
        """Inject into what is started within the block, by this task or its descendants."""
        tokens = current.set(self), around_actors.set(self.run)
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)
            current.reset(tokens[0])
            around_actors.reset(tokens[1])

    async def run(self, path: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run an actor's `work`. Supervisors do it by themselves; call it where an actor runs without one."""
        task = trio.lowlevel.current_task()
        above, life = self._lives.get(task), _Life(path)
        self._lives[task] = life
        try:
            with life.scope:
                await work()
        finally:
            del self._lives[task]
            if above is not None:
                self._lives[task] = above
        if life.crash is not None:
            raise InjectedCrash(str(life.crash))

    @contextmanager
    def seam(self, name: str, error: Callable[[str], Exception]) -> Iterator[None]:
        """See `supervision.testing.seam`."""
        fault = self._next(name, seam=True)
        if fault is not None and fault.kind is FaultKind.BEFORE:
            raise error(str(self._fire(fault, name)))
        yield
        if fault is not None:
            raise error(str(self._fire(fault, name)))

    def _next(self, name: str, *, seam: bool) -> PlannedFault | None:
        """The fault that is due at this step of `name`, if any."""
        if len(self.fired) == len(self._faults):
            return None
        fault = self._faults[len(self.fired)]
        if (fault.kind is not FaultKind.CRASH) != seam:
            return None
        near = name.partition(".")[0] if seam else name.rpartition("/")[2]
        if fault.where not in (name, near):
            return None
        self._count += 1
        return fault if self._count == fault.step else None

    def _fire(self, fault: PlannedFault, where: str) -> Fired:
        fired = Fired(fault, where)
        self.fired.append(fired)
        self._count = 0
        if self._on_fire is not None:
            self._on_fire(fired)
        return fired

    # -- the instrument ----------------------------------------------------------------------------------------

    def task_spawned(self, task: Task) -> None:
        """A task belongs to the actor whose task started its nursery."""
        if task.parent_nursery is not None:
            life = self._lives.get(task.parent_nursery.parent_task)
            if life is not None:
                self._lives[task] = life

    def task_exited(self, task: Task) -> None:
        """Forget the task."""
        self._lives.pop(task, None)

    def after_task_step(self, task: Task) -> None:
        """Count the step; if a fault is due, cancel the actor where it waits now."""
        life = self._lives.get(task)
        if life is None or task.coro.cr_frame is None or life.crash is not None:
            return
        fault = self._next(life.path, seam=False)
        if fault is not None:
            life.crash = self._fire(fault, place(task))
            life.scope.cancel("injected crash")


def place(task: Task) -> str:
    """The line of the user's code at which a task waits."""
    found = "before its first line"
    for frame, line in task.iter_await_frames():
        name = frame.f_code.co_filename
        if not name.startswith(_LIBRARIES + _PLUMBING):
            found = f"{os.path.relpath(name)}:{line} in {frame.f_code.co_name}"
    return found


@contextmanager
def seam(name: str, error: Callable[[str], Exception] = InjectedFault) -> Iterator[None]:
    """Mark an effect on the outside, so that the harness may raise `error(text)` right before or right after it.

    ```
    with seam("queue.ack", error=LinkLost):
        self.taken.remove(task)
    ```
    Without a running injection it does nothing. `name` is `PLACE.VERB`; faults name either the whole or the place.
    """
    injection = current.get()
    if injection is None:
        yield
        return
    with injection.seam(name, error):
        yield
