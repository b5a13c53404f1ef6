"""The supervisor: starts children in order, restarts them by OTP's rules, stops them in reverse.

One task, the loop in `run`, owns the children's records. Exits and requests reach it through an inbox and are
handled one after the other, as an OTP supervisor handles its messages; so no two restarts ever overlap.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import trio

from supervision import events
from supervision.child import TEMPORARY, Child, ChildSpec, ChildState, Watch
from supervision.children import Children, Ended
from supervision.errors import (
    ChildExists,
    ChildRunning,
    IntensityExceeded,
    NotRunning,
    StartFailed,
    SupervisionError,
)
from supervision.events import ExitKind, ExitReason, SupervisionEvent
from supervision.inbox import ChildCounts, ChildInfo, Command, Exited, Inbox, StartAgain
from supervision.intensity import Intensity, RestartWindow
from supervision.parking import Parking
from supervision.snapshot import Snapshot
from supervision.strategy import (
    ONE_FOR_ONE,
    Strategy,
    restart_group,
    wants_restart,
)


class Supervisor:
    """Runs `children` and keeps them running; itself an actor, so that trees nest.

    `strategy` says which children are restarted together, `intensity` how often before the supervisor gives up and
    raises `IntensityExceeded`. `observe` is called with every event; by default events are logged.

    Raises `ValueError` for an id given twice.
    """

    def __init__(
        self,
        name: str,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy = ONE_FOR_ONE,
        intensity: Intensity = Intensity(),  # noqa: B008 - frozen
        observe: Callable[[SupervisionEvent], None] | None = None,
    ) -> None:
        self.name = name
        self._strategy = strategy
        self._window = RestartWindow(intensity)
        self._inbox = Inbox()
        self._children = Children(
            name,
            self._inbox,
            events.log_event if observe is None else observe,
            lambda a: isinstance(a, Supervisor | Parking),
        )
        self._started_at: float | None = None
        self._ready_at: float | None = None
        self._over = False
        for spec in children:
            if spec.id in self._children.records:
                raise ValueError(f'supervisor "{name}": two children have the id "{spec.id}"')
            self._children.records[spec.id] = Child(spec)

    # -- the actor ---------------------------------------------------------------------------------------------

    async def run(self, ready: Callable[[], None]) -> None:
        """Start all children in order, call `ready`, keep them running until `stop` or the end.

        Returns after `stop`. Raises `StartFailed` when a child does not start at boot and `IntensityExceeded` when
        restarts are used up; in each case once all children are gone, stopped in reverse order. Cancelled, it cancels
        the children in reverse order, awaiting each.
        """
        if self._started_at is not None:
            raise SupervisionError(f'supervisor "{self.name}" runs once; make a new one for each incarnation')
        self._started_at = trio.current_time()
        failure: SupervisionError | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._children.nursery = nursery
                try:
                    try:
                        await self._boot(ready)
                        await self._serve()
                    except Ended:
                        pass
                    except (StartFailed, IntensityExceeded) as error:
                        failure = error
                        self._children.emit(events.Escalated(self.name, trio.current_time(), error.child, error))
                    self._children.stopping = True
                    await self._children.terminate_all(self._children.in_order())
                except BaseException:
                    with trio.move_on_after(self._children.cancel_limit, shield=True):
                        await self._children.cancel_in_order()
                    raise
        finally:
            self._over = True
            self._inbox.refuse_all()
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """Ask the supervisor to stop its children in reverse order and return from `run`."""
        self._children.request_stop()

    # -- what other tasks may ask ------------------------------------------------------------------------------

    async def start_child(self, spec: ChildSpec) -> None:
        """Add a child and start it; returns when it is ready.

        Raises `ChildExists` when the id is taken, `StartFailed` (the spec is then forgotten), and `NotRunning`.
        """
        await self._ask(partial(self._start_new, spec))

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child; returns when it is gone. The spec stays, unless it is temporary.

        Raises `NoSuchChild` and `NotRunning`. Never await it from within that same child.
        """
        await self._ask(partial(self._terminate_one, child_id))

    async def restart_child(self, child_id: str) -> None:
        """Start a stopped child again; returns when it is ready.

        Raises `NoSuchChild`, `ChildRunning`, `StartFailed` (the child then stays stopped) and `NotRunning`.
        """
        await self._ask(partial(self._start_stopped, child_id))

    async def delete_child(self, child_id: str) -> None:
        """Forget a stopped child. Raises `NoSuchChild`, `ChildRunning` and `NotRunning`."""
        await self._ask(partial(self._delete, child_id))

    def watch(self, child_id: str) -> Watch:
        """Something to await for the `Down` of the child's present incarnation; `NOPROC` when it has none.

        Raises `NoSuchChild`.
        """
        return Watch(self._children.find(child_id))

    def which_children(self) -> list[ChildInfo]:
        """All children in start order."""
        return self._children.which()

    def count_children(self) -> ChildCounts:
        """How many specs, live incarnations, supervisors and workers there are."""
        return self._children.count()

    @property
    def state(self) -> ChildState:
        """Where it is between its start and its end."""
        if self._started_at is None or self._over:
            return ChildState.STOPPED
        if self._children.stopping:
            return ChildState.STOPPING
        return ChildState.STARTING if self._ready_at is None else ChildState.RUNNING

    def snapshot(self) -> Snapshot:
        """The whole tree as plain data; cheap enough to poll every second."""
        now = 0.0 if self._started_at is None else trio.current_time()
        return {
            "id": self.name,
            "kind": "supervisor",
            "state": self.state.value,
            "incarnation": 1,
            "uptime": 0.0 if self._ready_at is None or self._over else now - self._ready_at,
            "strategy": self._strategy.value,
            "restarts": self._window.count(now),
            "children": [child.snapshot() for child in self._children.in_order()],
        }

    # -- the loop ----------------------------------------------------------------------------------------------

    async def _boot(self, ready: Callable[[], None]) -> None:
        await self._children.start_all(self._children.in_order())
        self._ready_at = trio.current_time()
        ready()

    async def _serve(self) -> None:
        while not self._children.stopping:
            item = self._inbox.take()
            if item is None:
                await self._inbox.wait()
            elif isinstance(item, Exited):
                await self._exited(item)
            elif isinstance(item, StartAgain) and item.child.retry is item.token:
                await self._restart(item.child, item.reason)
            elif isinstance(item, Command):
                await item.answer()

    async def _exited(self, item: Exited) -> None:
        child, reason = item.child, item.reason
        if child.incarnation is not item.life:
            return  # it was stopped, and perhaps started again, before this exit was handled
        child.incarnation = None
        if wants_restart(child.spec.restart, reason):
            await self._restart(child, reason)
        else:
            self._children.stopped(child)

    async def _restart(self, child: Child, reason: ExitReason) -> None:
        now = trio.current_time()
        child.state = ChildState.RESTARTING
        if not self._window.add(now):
            intensity = self._window.intensity
            raise IntensityExceeded(self.name, child.spec.id, intensity.restarts, intensity.period) from reason.error
        restarts = self._window.count(now)
        self._children.emit(events.ChildRestarting(self.name, now, child.spec.id, child.number, reason, restarts))
        await self._restart_group(child)

    async def _stop_group(self, child: Child) -> list[Child]:
        group = restart_group(self._strategy, self._children.in_order(), child)
        await self._children.terminate_all([member for member in group if member is not child])
        return [member for member in group if member is child or member.spec.restart is not TEMPORARY]

    async def _restart_group(self, child: Child) -> None:
        for member in await self._stop_group(child):
            try:
                await self._children.start(member)
            except StartFailed as error:
                member.state, member.retry = ChildState.RESTARTING, object()
                self._inbox.post(StartAgain(member, member.retry, ExitReason(ExitKind.CRASH, error)))
                return

    async def _ask(self, work: Callable[[], Awaitable[None]]) -> None:
        gone = NotRunning(f'supervisor "{self.name}" is not running')
        if self._started_at is None or self._over:
            await trio.lowlevel.checkpoint()
            raise gone
        await self._inbox.ask(work, gone)

    async def _start_new(self, spec: ChildSpec) -> None:
        if spec.id in self._children.records:
            state = self._children.records[spec.id].state
            raise ChildExists(f'supervisor "{self.name}" has a child "{spec.id}" already; it is {state}')
        child = self._children.records[spec.id] = Child(spec)
        try:
            await self._children.start(child)
        except StartFailed:
            del self._children.records[spec.id]
            raise

    async def _terminate_one(self, child_id: str) -> None:
        await self._children.terminate(self._children.find(child_id))

    async def _start_stopped(self, child_id: str) -> None:
        await self._children.start(self._find_stopped(child_id))

    async def _delete(self, child_id: str) -> None:
        del self._children.records[self._find_stopped(child_id).spec.id]

    def _find_stopped(self, child_id: str) -> Child:
        child = self._children.find(child_id)
        if child.state is not ChildState.STOPPED:
            raise ChildRunning(f'supervisor "{self.name}": child "{child_id}" is {child.state}; terminate it first')
        return child
