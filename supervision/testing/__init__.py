"""A harness that crashes actors at every step, and asks each time whether their law still holds.

See docs/supervision.md, "Testing". Schedules for Hypothesis are in `supervision.testing.schedules`.
"""

from supervision.testing.injection import Injection, place, seam
from supervision.testing.kill import kill_at_every_step, kill_switch
from supervision.testing.report import (
    Broken,
    FaultKind,
    Fired,
    InjectedCrash,
    InjectedFault,
    LawBroken,
    PlannedFault,
    Report,
)
from supervision.testing.sweep import (
    Scenario,
    crash_at_every_step,
    fault_at_every_call,
    run_schedule,
    run_with_faults,
)

__all__ = [
    "Broken",
    "FaultKind",
    "Fired",
    "InjectedCrash",
    "InjectedFault",
    "Injection",
    "LawBroken",
    "PlannedFault",
    "Report",
    "Scenario",
    "crash_at_every_step",
    "fault_at_every_call",
    "kill_at_every_step",
    "kill_switch",
    "place",
    "run_schedule",
    "run_with_faults",
    "seam",
]
