"""The items that a supervisor's loop handles in turn, and the plain records with which it answers questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from supervision.child import Child, ChildState, Incarnation
from supervision.errors import SupervisionError
from supervision.events import ExitReason


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One line of `which_children`."""

    id: str
    state: ChildState
    incarnation: int
    kind: str


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """OTP's counts: all specs, those with a live incarnation, and the specs by kind."""

    specs: int
    active: int
    supervisors: int
    workers: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A ready incarnation is gone."""

    child: Child
    life: Incarnation
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class StartAgain:
    """A start failed during a restart, which counts as a restart (OTP's try_again).

    Void unless `token` is still the child's.
    """

    child: Child
    token: object
    reason: ExitReason


@dataclass(eq=False, slots=True)
class Command:
    """A request from another task to the supervisor; `error` is the answer."""

    work: Callable[[], Awaitable[None]]
    error: Exception | None
    done: trio.Event = field(default_factory=trio.Event)

    async def answer(self) -> None:
        """Do the work and wake the task that asked; a `SupervisionError` is its answer, others propagate."""
        try:
            await self.work()
        except SupervisionError as error:
            self.error = error
        else:
            self.error = None
        finally:
            self.done.set()


Item: TypeAlias = "Exited | StartAgain | Command"


class Inbox:
    """A queue whose posting side never waits, so that exits can be reported from anywhere."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._lot = trio.lowlevel.ParkingLot()

    def post(self, item: Item) -> None:
        """Append an item and wake the loop."""
        self._items.append(item)
        self._lot.unpark()

    async def ask(self, work: Callable[[], Awaitable[None]], gone: Exception) -> None:
        """Have the loop do `work` in its turn. Raises what `work` raised, or `gone` if it was not done.

        Cancelling the task that waits does not withdraw the command: it may still be carried out.
        """
        command = Command(work, gone)
        self.post(command)
        await command.done.wait()
        if command.error is not None:
            raise command.error

    def refuse_all(self) -> None:
        """The loop is over: wake the tasks that wait for an answer."""
        for item in self._items:
            if isinstance(item, Command):
                item.done.set()
        self._items.clear()

    def wake(self) -> None:
        """Wake the loop without an item."""
        self._lot.unpark()

    async def wait(self) -> None:
        """Wait for an item or a `wake`; at once when there is an item."""
        if self._items:
            await trio.lowlevel.checkpoint()
        else:
            await self._lot.park()

    def take(self) -> Item | None:
        """The next item, if any."""
        return self._items.popleft() if self._items else None
