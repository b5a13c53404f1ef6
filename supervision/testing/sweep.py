"""Runs a scenario again and again, with a fault one step later each time, until no step is left."""

from __future__ import annotations

import contextlib
import importlib
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import trio
import trio.testing

from supervision.testing.injection import Injection
from supervision.testing.report import Broken, FaultKind, Fired, LawBroken, PlannedFault, Report

Scenario = Callable[[], Awaitable[None]]
"""Builds everything from scratch, lets it work, and asserts its law at the end."""

NEVER_ENDING = 100_000
"""Steps after which a sweep is considered endless."""


def run_with_faults(
    scenario: Scenario,
    faults: Sequence[PlannedFault] = (),
    *,
    virtual: bool = True,
    within: float | None = None,
    seed: int = 0,
    on_fire: Callable[[Fired], None] | None = None,
) -> tuple[list[Fired], str | None]:
    """Run `scenario` once and inject `faults`. Returns those that were injected, and the broken law, if any.

    Every exception that leaves the scenario breaks its law; so does a scenario that does not end `within` seconds
    (default: 3,600 virtual or 30 real ones). `virtual`: under `MockClock(autojump_threshold=0)`, not for use with
    sockets, processes or asyncio. `seed`: of Trio's scheduler, so that runs are alike.
    """
    injection = Injection(faults, on_fire)
    limit = within if within is not None else 3600.0 if virtual else 30.0

    async def main() -> None:
        async with injection.installed():
            with trio.move_on_after(limit) as scope:
                await scenario()
            if scope.cancelled_caught:
                raise LawBroken(f"no end within {limit:g} s")

    clock = trio.testing.MockClock(autojump_threshold=0) if virtual else None
    with _seeded(seed):
        try:
            trio.run(main, clock=clock)
        except Exception as error:
            return injection.fired, _tell(error)
    return injection.fired, None


def crash_at_every_step(
    scenario: Scenario,
    *,
    actor: str,
    first: int = 1,
    every: int = 1,
    then: Sequence[int] = (),
    virtual: bool = True,
    within: float | None = None,
    seed: int = 0,
    on_fire: Callable[[Fired], None] | None = None,
) -> Report:
    """Run `scenario` once without a fault, then with a crash of `actor` at its step 1, 2, 3 … until none is left.

    `actor`: a child's id, or supervisor/id. `first` and `every` make a slice: steps first, first + every, …
    `then`: further crashes of it in each run, each counted in steps from the one before. Other arguments: see
    `run_with_faults`. Use it in a plain function: it calls `trio.run`. Call `check()` on the report, or look at it.
    """
    run = partial(run_with_faults, scenario, virtual=virtual, within=within, seed=seed, on_fire=on_fire)
    more = [PlannedFault(actor, step) for step in then]
    return _sweep(f"crash {actor} at every step", run, lambda n: [PlannedFault(actor, n), *more], first, every)


def fault_at_every_call(
    scenario: Scenario,
    *,
    seam: str,
    kind: FaultKind,
    first: int = 1,
    every: int = 1,
    virtual: bool = True,
    within: float | None = None,
    seed: int = 0,
    on_fire: Callable[[Fired], None] | None = None,
) -> Report:
    """Like `crash_at_every_step`, with an error before or after the effect of each call that passes `seam`."""
    if kind is FaultKind.CRASH:
        raise ValueError("kind: a seam fails before or after its effect; crashes are crash_at_every_step's")
    run = partial(run_with_faults, scenario, virtual=virtual, within=within, seed=seed, on_fire=on_fire)
    return _sweep(f"fault {kind} every call of {seam}", run, lambda n: [PlannedFault(seam, n, kind)], first, every)


def run_schedule(
    scenario: Scenario,
    faults: Sequence[PlannedFault],
    *,
    virtual: bool = True,
    within: float | None = None,
    on_fire: Callable[[Fired], None] | None = None,
) -> list[Fired]:
    """Run one schedule (see `fault_schedules`). Raises `LawBroken`; returns the injected faults."""
    fired, law = run_with_faults(scenario, faults, virtual=virtual, within=within, on_fire=on_fire)
    if law is not None:
        raise LawBroken(str(Broken(tuple(fired), law)))
    return fired


def _sweep(
    name: str,
    run: Callable[[Sequence[PlannedFault]], tuple[list[Fired], str | None]],
    faults: Callable[[int], list[PlannedFault]],
    first: int,
    every: int,
) -> Report:
    report = Report(name)
    report.add(*run([]))
    if report.broken:
        return report  # a scenario that is wrong by itself proves nothing at any step
    for n in range(first, NEVER_ENDING, every):
        fired, law = run(faults(n))
        if not fired and law is None:
            return report
        report.add(fired, law)
    raise LawBroken(f"{name}: still steps after {NEVER_ENDING}; let the scenario end")


def _tell(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_tell(one) for one in error.exceptions)
    text = str(error).splitlines() or [""]
    return text[0] if isinstance(error, AssertionError) and text[0] else f"{type(error).__name__}: {text[0]}"


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # Trio shuffles tasks that are ready in the same tick, with a generator that it offers no public way to seed
    chance = getattr(importlib.import_module("trio._core._run"), "_r", None)
    if not isinstance(chance, random.Random):
        yield
        return
    before = chance.getstate()
    chance.seed(seed)
    try:
        yield
    finally:
        chance.setstate(before)
