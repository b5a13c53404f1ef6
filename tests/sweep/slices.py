"""One crash of a sweep, for the suite, where a whole sweep takes too long."""

from __future__ import annotations

from collections.abc import Callable

from supervision.testing import Report


def crash_once(crash: Callable[..., Report], actor: str, step: int) -> Report:
    """Crash `actor` at `step`; at half of it, and so on, where the whole run has fewer steps.

    How many steps an actor takes on a real clock depends on the machine's speed. `crash`: as `crash_at_every_step`
    with a scenario.
    """
    while not (report := crash(actor, first=step, every=10_000)).runs and not report.broken and step > 1:
        step //= 2
    return report
