"""Actors and supervisors with the meaning of Erlang/OTP, on Trio. See docs/supervision.md."""

from supervision.actor import Actor, HasSnapshot
from supervision.child import (
    PERMANENT,
    TEMPORARY,
    TRANSIENT,
    ChildSpec,
    ChildState,
    Restart,
    Watch,
)
from supervision.child_process import ChildProcess, kill_running
from supervision.errors import (
    ChildExists,
    ChildRunning,
    ExitedBeforeReady,
    HandshakeFailed,
    HungProcess,
    IntensityExceeded,
    NoSuchChild,
    NotRunning,
    ProcessDied,
    ProcessError,
    StartFailed,
    StartTimedOut,
    SupervisionError,
)
from supervision.events import (
    ActorParked,
    ChildExited,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStuck,
    Down,
    Escalated,
    ExitKind,
    ExitReason,
    SupervisionEvent,
    log_event,
)
from supervision.inbox import ChildCounts, ChildInfo
from supervision.intensity import Intensity, RestartWindow
from supervision.parking import Parked, Parking
from supervision.snapshot import Snapshot
from supervision.strategy import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    Strategy,
)
from supervision.supervisor import Supervisor

__all__ = [
    "ONE_FOR_ALL",
    "ONE_FOR_ONE",
    "PERMANENT",
    "REST_FOR_ONE",
    "TEMPORARY",
    "TRANSIENT",
    "Actor",
    "ActorParked",
    "ChildCounts",
    "ChildExists",
    "ChildExited",
    "ChildInfo",
    "ChildProcess",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "ChildStartFailed",
    "ChildStarted",
    "ChildState",
    "ChildStuck",
    "Down",
    "Escalated",
    "ExitKind",
    "ExitReason",
    "ExitedBeforeReady",
    "HandshakeFailed",
    "HasSnapshot",
    "HungProcess",
    "Intensity",
    "IntensityExceeded",
    "NoSuchChild",
    "NotRunning",
    "Parked",
    "Parking",
    "ProcessDied",
    "ProcessError",
    "Restart",
    "RestartWindow",
    "Snapshot",
    "StartFailed",
    "StartTimedOut",
    "Strategy",
    "SupervisionError",
    "SupervisionEvent",
    "Supervisor",
    "Watch",
    "kill_running",
    "log_event",
]
