"""Starts, stops and cancels the children of one supervisor, which decides when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import trio

from supervision import events
from supervision.actor import Actor
from supervision.child import TEMPORARY, Child, ChildState, Incarnation
from supervision.crash import Crash
from supervision.errors import ExitedBeforeReady, NoSuchChild, StartFailed, StartTimedOut
from supervision.events import ExitReason, SupervisionEvent
from supervision.inbox import ChildCounts, ChildInfo, Exited, Inbox

CANCEL_GRACE = 5.0  # seconds a cancelled child may hold up the cancelling of the one before it


class Ended(Exception):
    """Unwinds a supervisor's loop: it was asked to stop. Never leaves `run`."""


class Children:
    """The children of one supervisor in start order, each with at most one live incarnation."""

    def __init__(
        self,
        supervisor: str,
        inbox: Inbox,
        observe: Callable[[SupervisionEvent], None],
        is_supervisor: Callable[[Actor], bool],
    ) -> None:
        self.supervisor = supervisor
        self.stopping = False
        self.nursery: trio.Nursery | None = None
        self.records: dict[str, Child] = {}
        self._inbox = inbox
        self._observe = observe
        self._is_supervisor = is_supervisor
        self._starting: set[trio.CancelScope] = set()

    def find(self, child_id: str) -> Child:
        """The child's record. Raises `NoSuchChild`."""
        if child_id not in self.records:
            raise NoSuchChild(f'supervisor "{self.supervisor}" has no child "{child_id}"')
        return self.records[child_id]

    def in_order(self) -> list[Child]:
        """The records in start order, as a copy."""
        return list(self.records.values())

    def which(self) -> list[ChildInfo]:
        """All children in start order."""
        return [
            ChildInfo(child.spec.id, child.state, child.number, "supervisor" if child.nested else "worker")
            for child in self.records.values()
        ]

    def count(self) -> ChildCounts:
        """How many specs, live incarnations, supervisors and workers there are."""
        children = self.records.values()
        active = sum(child.incarnation is not None and not child.incarnation.exited.is_set() for child in children)
        nested = sum(child.nested for child in children)
        return ChildCounts(len(children), active, nested, len(children) - nested)

    def request_stop(self) -> None:
        """From now on nothing is started; a start in progress is given up."""
        self.stopping = True
        self._inbox.wake()
        for waiting in self._starting:
            waiting.cancel()

    async def start_all(self, children: Sequence[Child]) -> None:
        """Start these in order, neighbours that belong together side by side. The first failure ends the waiting.

        Raises what `start` raises. A child that was not ready by then still exists, to be stopped with the others.
        """
        for run in _runs(children):
            failures: list[StartFailed | Ended] = []
            async with trio.open_nursery() as nursery:
                for child in run:
                    nursery.start_soon(self._start_beside, child, nursery.cancel_scope, failures)
            if failures:
                raise failures[0]

    async def _start_beside(self, child: Child, others: trio.CancelScope, failures: list[StartFailed | Ended]) -> None:
        try:
            await self.start(child)
        except (StartFailed, Ended) as failure:
            failures.append(failure)
            others.cancel()

    async def start(self, child: Child) -> None:
        """Start one incarnation and wait until it is ready.

        Raises `StartFailed` when it is gone without having been ready, `Ended` when the supervisor is to stop.
        """
        if self.stopping:
            raise Ended
        assert self.nursery is not None
        spec = child.spec
        child.number += 1
        child.retry = None
        child.state = ChildState.STARTING
        try:
            actor = spec.start()
        except Exception as error:
            self._start_failed(child, error)
        child.nested = self._is_supervisor(actor)
        path = f"{self.supervisor}/{spec.id}"
        life = Incarnation(spec, child.number, actor, child.nested, partial(self._gone, child), path)
        child.incarnation = life
        self.nursery.start_soon(life.run, name=f"{path} #{life.number}")
        with trio.move_on_after(life.start_limit) as waiting:
            self._starting.add(waiting)
            try:
                await life.settled.wait()
            finally:
                self._starting.discard(waiting)
        if life.ready_at is not None:
            child.state = ChildState.RUNNING
            took = life.ready_at - life.created_at
            self.emit(events.ChildStarted(self.supervisor, life.ready_at, spec.id, life.number, took))
            return
        if life.exited.is_set():
            child.incarnation = None
            assert life.reason is not None
            early = ExitedBeforeReady(f'run() of "{spec.id}" returned without calling ready()')
            self._start_failed(child, life.reason.error or early)
        if self.stopping:
            raise Ended  # stopping all children stops this one too, within its own shutdown time
        await life.kill(partial(self._stuck, child))
        child.incarnation = None
        self._start_failed(child, StartTimedOut(f'"{spec.id}" did not call ready() within {life.start_limit:g} s'))

    async def terminate(self, child: Child) -> None:
        """Stop a child by its spec's shutdown and return when it is gone; a pending restart of it is void."""
        child.retry = None
        if child.incarnation is not None:
            child.state = ChildState.STOPPING
            await child.incarnation.stop(partial(self._stuck, child))
        self.stopped(child)

    async def terminate_all(self, children: Sequence[Child]) -> None:
        """Stop these, which are in start order, last first; neighbours that stop together are asked at once."""
        for run in _runs(children[::-1]):
            for child in run:
                child.retry = None
                if child.incarnation is not None:
                    child.state = ChildState.STOPPING
                    child.incarnation.ask()
            async with trio.open_nursery() as nursery:
                for child in run:
                    nursery.start_soon(self.terminate, child)

    def stopped(self, child: Child) -> None:
        """Record that a child is gone and stays so; a temporary one is forgotten (OTP)."""
        child.incarnation = None
        child.state = ChildState.STOPPED
        if child.spec.restart is TEMPORARY:
            self.records.pop(child.spec.id, None)

    @property
    def cancel_limit(self) -> float:
        """Seconds after which `cancel_in_order` has ended in any case."""
        return CANCEL_GRACE * (len(_runs(self.in_order())) + 1)

    async def cancel_in_order(self) -> None:
        """Cancel all children, last started first, each awaited (with a bound) before the next. Needs a shield."""
        self.stopping = True
        for run in _runs(self.in_order()[::-1]):
            lives = [(child, child.incarnation) for child in run if child.incarnation is not None]
            for _, life in lives:
                life.cancel()
            with trio.move_on_after(CANCEL_GRACE):
                for _, life in lives:
                    await life.exited.wait()
            for child, life in lives:
                if not life.exited.is_set():
                    self._stuck(child, life, CANCEL_GRACE)

    def emit(self, event: SupervisionEvent) -> None:
        """Call the observer; an exception in it is logged and harms nothing."""
        try:
            self._observe(event)
        except Exception:
            events.log.exception("%s: the observer raised on %s", self.supervisor, event)

    def _gone(self, child: Child, life: Incarnation, reason: ExitReason) -> None:
        if life.ready_at is None:
            return  # a failed start, reported as such
        if reason.error is not None:
            child.crash = Crash.of(reason.error)
        now = trio.current_time()
        self.emit(events.ChildExited(self.supervisor, now, child.spec.id, life.number, reason))
        self._inbox.post(Exited(child, life, reason))

    def _stuck(self, child: Child, life: Incarnation, seconds: float) -> None:
        now = trio.current_time()
        self.emit(events.ChildStuck(self.supervisor, now, child.spec.id, life.number, seconds))

    def _start_failed(self, child: Child, error: BaseException) -> NoReturn:
        child.state, child.crash = ChildState.STOPPED, Crash.of(error)
        now = trio.current_time()
        self.emit(events.ChildStartFailed(self.supervisor, now, child.spec.id, child.number, error))
        raise StartFailed(self.supervisor, child.spec.id, repr(error)) from error


def _runs(children: Sequence[Child]) -> list[list[Child]]:
    """Group neighbours that belong together into one step, in the same order."""
    runs: list[list[Child]] = []
    for child in children:
        if runs and child.spec.together and runs[-1][-1].spec.together:
            runs[-1].append(child)
        else:
            runs.append([child])
    return runs
