"""A child's specification, and the life of one incarnation of it."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import trio

from supervision.actor import Actor, HasSnapshot
from supervision.crash import Crash
from supervision.errors import SupervisionError
from supervision.events import Down, ExitKind, ExitReason, log
from supervision.snapshot import PARKED, Snapshot

DEFAULT_SHUTDOWN = 5.0
DEFAULT_START_TIMEOUT = 10.0
STUCK_AFTER = 5.0

Around = Callable[[str, Callable[[], Awaitable[None]]], Awaitable[None]]
around_actors: ContextVar[Around | None] = ContextVar("around_actors", default=None)
"""Called with each actor's path and its run, inside its cancel scope: where `supervision.testing` injects crashes."""


class Restart(enum.Enum):
    """When an exit leads to a restart: always, after a crash, never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


class ChildState(enum.StrEnum):
    """Where a child is. `restarting` waits for a restart (OTP's `restarting`), `stopped` for nothing (`undefined`)."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to start, restart and stop one child.

    `start` makes a fresh `Actor` for each incarnation; an exception in it is a failed start. `shutdown` is the
    seconds between the request to stop and the cancel; left out it is 5.0, and `math.inf` for a nested supervisor,
    whose children have bounds of their own. `start_timeout` is the seconds until `ready()`; left out it is 10.0, and
    `math.inf` for a nested supervisor. Neighbours that are all `together` start side by side when the supervisor
    starts, and are asked to stop at once.

    Raises `ValueError` for a spec that contradicts itself.
    """

    id: str
    start: Callable[[], Actor]
    restart: Restart = PERMANENT
    shutdown: float | None = None
    start_timeout: float | None = None
    together: bool = False

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("child spec: the id is empty")
        if self.shutdown is not None and not self.shutdown >= 0:
            raise ValueError(f'child "{self.id}": shutdown={self.shutdown} must be >= 0 seconds')
        if self.start_timeout is not None and not self.start_timeout > 0:
            raise ValueError(f'child "{self.id}": start_timeout={self.start_timeout} must be > 0 seconds')


class Incarnation:
    """One life of a child: started, ready, asked to stop, cancelled, gone."""

    def __init__(
        self,
        spec: ChildSpec,
        number: int,
        actor: Actor,
        nested: bool,
        on_exit: Callable[[Incarnation, ExitReason], None],
        path: str = "",
    ) -> None:
        self.spec = spec
        self.path = path or spec.id  # SUPERVISOR/ID
        self.number = number
        self.actor = actor
        self.nested = nested
        self.created_at = trio.current_time()
        self.ready_at: float | None = None
        self.since = 0.0  # the same in seconds UTC, for people
        self.reason: ExitReason | None = None
        self.settled = trio.Event()  # ready, or gone before it
        self.exited = trio.Event()
        self._on_exit = on_exit
        self._scope = trio.CancelScope()
        self._asked = False
        self._until: float | None = None  # when it is cancelled, if it has not stopped; None: at once
        self._cancelled = False

    async def run(self) -> None:
        """Run the actor to its end and record why it ended. Crashes stop here; cancellation never does."""
        reason = ExitReason(ExitKind.CANCELLED)
        try:
            # The crash is caught outside the scope: inside it, a group of an error and our own Cancelled would
            # not be an Exception, and outside only what the scope does not own is left.
            with self._scope:
                await self._work()
            reason = self._quiet_exit()
        except Exception as error:
            reason = ExitReason(ExitKind.CRASH, error)
        except BaseExceptionGroup as group:
            errors, rest = group.split(Exception)
            if errors is not None:
                reason = ExitReason(ExitKind.CRASH, errors)
            if rest is not None:
                raise rest from None
        except trio.Cancelled:
            raise
        except BaseException as error:
            reason = ExitReason(ExitKind.CRASH, error)
            raise
        finally:
            self.reason = reason
            self._on_exit(self, reason)
            self.settled.set()
            self.exited.set()

    async def _work(self) -> None:
        around = around_actors.get()
        if around is None:
            await self.actor.run(self._ready)
        else:
            await around(self.path, partial(self.actor.run, self._ready))

    def _quiet_exit(self) -> ExitReason:
        if self._scope.cancelled_caught:
            return ExitReason(ExitKind.KILLED)
        return ExitReason(ExitKind.SHUTDOWN if self._asked else ExitKind.NORMAL)

    def _ready(self) -> None:
        if self.ready_at is not None or self._asked or self._cancelled or self.exited.is_set():
            return
        self.ready_at, self.since = trio.current_time(), time.time()
        # From here on a cancel from outside reaches the child only through its supervisor, which takes the
        # children in reverse order. Not earlier: a child that does not get ready must stay cancellable.
        self._scope.shield = True
        self.settled.set()

    def cancel(self) -> None:
        """Cancel the actor without asking; `exited` is set when it is gone."""
        self._cancelled = True
        self._scope.cancel()

    def ask(self) -> None:
        """Ask the actor to stop; from now on its shutdown time runs. Asking again changes nothing."""
        if self._asked or self.exited.is_set():
            return
        self._asked = True
        try:
            self.actor.stop()
        except Exception:
            log.exception("%s: stop() raised; it is cancelled instead", self.spec.id)
        else:
            self._until = trio.current_time() + self.shutdown_limit

    async def stop(self, on_stuck: Callable[[Incarnation, float], None]) -> None:
        """Request, bounded wait, cancel, await the exit. Returns only when the incarnation is gone."""
        if self.exited.is_set():
            return
        self.ask()
        if self._until is not None:
            with trio.move_on_at(self._until):
                await self.exited.wait()
        await self.kill(on_stuck)

    async def kill(self, on_stuck: Callable[[Incarnation, float], None]) -> None:
        """Cancel and await the exit, without a bound: a successor beside a live predecessor would be worse."""
        if self.exited.is_set():
            return
        self.cancel()
        with trio.move_on_after(STUCK_AFTER):
            await self.exited.wait()
        if not self.exited.is_set():
            on_stuck(self, STUCK_AFTER)
            await self.exited.wait()

    @property
    def shutdown_limit(self) -> float:
        """Seconds between request and cancel."""
        if self.spec.shutdown is None:
            return math.inf if self.nested else DEFAULT_SHUTDOWN
        return self.spec.shutdown

    @property
    def start_limit(self) -> float:
        """Seconds until `ready()`."""
        if self.spec.start_timeout is None:
            return math.inf if self.nested else DEFAULT_START_TIMEOUT
        return self.spec.start_timeout


class Child:
    """A supervisor's record of one child: its spec, its state and its current incarnation."""

    __slots__ = ("crash", "incarnation", "nested", "number", "retry", "spec", "state")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.state = ChildState.STOPPED
        self.number = 0
        self.nested = False  # known once it has been started
        self.incarnation: Incarnation | None = None
        self.crash: Crash | None = None  # the last one
        self.retry: object | None = None  # names the one pending restart that is still wanted

    def snapshot(self) -> Snapshot:
        """This child, and what lies below it."""
        life = self.incarnation
        shot: Snapshot = {
            "id": self.spec.id,
            "kind": "supervisor" if self.nested else "worker",
            "state": self.state.value,
            "incarnation": self.number,
            "uptime": 0.0,
        }
        if self.crash is not None:
            shot["crash"], shot["crashed_at"] = self.crash.words, self.crash.at
        if life is None:
            return shot
        if life.ready_at is not None:
            shot["uptime"], shot["since"] = trio.current_time() - life.ready_at, life.since
        if isinstance(life.actor, HasSnapshot):
            below = life.actor.snapshot()
            if below.get("state") == PARKED:
                shot["state"] = PARKED
            if below.get("crashed_at", 0.0) > shot.get("crashed_at", 0.0):
                shot["crash"], shot["crashed_at"] = below["crash"], below["crashed_at"]
            shot["strategy"] = below.get("strategy", "")
            shot["restarts"] = below.get("restarts", 0)
            shot["children"] = below.get("children", [])
        return shot


class Watch(Awaitable[Down]):
    """What `Supervisor.watch` returns: `await` it for the `Down` of the incarnation that ran when it was made."""

    __slots__ = ("_down", "_life")

    def __init__(self, child: Child) -> None:
        self._life = child.incarnation
        self._down = Down(child.spec.id, child.number, ExitReason(ExitKind.NOPROC))

    async def wait(self) -> Down:
        """The `Down`, once the incarnation is gone; at once when there was none."""
        if self._life is None:
            await trio.lowlevel.checkpoint()
            return self._down
        await self._life.exited.wait()
        if self._life.reason is None:
            raise SupervisionError(f'child "{self._down.id}" is gone without a reason')
        return Down(self._down.id, self._life.number, self._life.reason)

    def __await__(self) -> Generator[object, None, Down]:
        return self.wait().__await__()
