"""The events that a supervisor reports to its observer, each a small frozen record."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass

log = logging.getLogger("supervision")


class ExitKind(enum.StrEnum):
    """Why an incarnation is gone (OTP's exit reasons)."""

    NORMAL = "normal"  # run returned
    CRASH = "crash"  # run raised
    SHUTDOWN = "shutdown"  # run returned after the supervisor had asked it to stop
    KILLED = "killed"  # the supervisor cancelled it: its shutdown time was over
    CANCELLED = "cancelled"  # cancelled from outside the tree
    NOPROC = "noproc"  # there was no running incarnation to watch


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why an incarnation is gone; `error` with its traceback when it raised."""

    kind: ExitKind
    error: BaseException | None = None

    def __str__(self) -> str:
        return self.kind.value if self.error is None else f"{self.kind.value}: {self.error!r}"


@dataclass(frozen=True, slots=True)
class Down:
    """The result of a watch."""

    id: str
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class SupervisionEvent:
    """The base of all events. `at` is `trio.current_time()` in seconds."""

    supervisor: str
    at: float


@dataclass(frozen=True, slots=True)
class ChildStarted(SupervisionEvent):
    """An incarnation is ready, `took` seconds after its start."""

    child: str
    incarnation: int
    took: float


@dataclass(frozen=True, slots=True)
class ChildStartFailed(SupervisionEvent):
    """An incarnation did not get ready; nothing of it is left."""

    child: str
    incarnation: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class ChildExited(SupervisionEvent):
    """An incarnation is gone."""

    child: str
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class ChildRestarting(SupervisionEvent):
    """A child is about to be restarted, for the `restarts`-th time within the window."""

    child: str
    incarnation: int
    reason: ExitReason
    restarts: int


@dataclass(frozen=True, slots=True)
class ChildStuck(SupervisionEvent):
    """An incarnation was cancelled `seconds` ago and still runs: it shields itself. The supervisor goes on waiting."""

    child: str
    incarnation: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Escalated(SupervisionEvent):
    """The supervisor gives up: it stops all children and raises `error`."""

    child: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class ActorParked(SupervisionEvent):
    """The actor `supervisor` crashes too often: it is tried again in `seconds` (see `Parking`). `why`: one line."""

    error: BaseException
    why: str
    seconds: float


def log_event(event: SupervisionEvent) -> None:
    """Write an event to the logger `supervision`, with the traceback where there is one."""
    where = f"{event.supervisor}/{getattr(event, 'child', '')}".rstrip("/")
    if isinstance(event, ChildExited):
        crashed = event.reason.error
        level = logging.ERROR if crashed is not None else logging.INFO
        log.log(level, "%s exited, incarnation %d: %s", where, event.incarnation, event.reason, exc_info=crashed)
    elif isinstance(event, ChildStartFailed):
        log.error("%s failed to start, incarnation %d", where, event.incarnation, exc_info=event.error)
    elif isinstance(event, ChildRestarting):
        log.warning("%s restarts (%d in the window)", where, event.restarts)
    elif isinstance(event, Escalated):
        log.error("%s escalates: %s", where, event.error)
    elif isinstance(event, ActorParked):
        log.error("%s is parked for %.3g s: %s", where, event.seconds, event.why)
    elif isinstance(event, ChildStuck):
        log.error("%s still runs %.3g s after it was cancelled", where, event.seconds)
    else:
        log.info("%s %s", where, type(event).__name__)
