"""What a sweep found: at which steps something was injected, and which laws broke there."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field


class InjectedCrash(Exception):
    """Raised by the harness in place of an actor, which dies here whatever it was about to do."""


class InjectedFault(Exception):
    """Raised at an I/O seam by the harness, before or after the effect."""


class LawBroken(AssertionError):
    """A scenario did not keep its law; the text names where the fault was injected."""


class FaultKind(enum.StrEnum):
    """What is injected: the death of an actor at a step, or an error at a seam's call, before or after its effect."""

    CRASH = "crash"
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One thing that goes wrong.

    `where`: an actor (its id, or supervisor/id) for `CRASH`, else a seam (its name, or the part before its dot).
    `step`: the actor's step or the seam's call, counted from 1 after the fault before this one was injected.
    """

    where: str
    step: int
    kind: FaultKind = FaultKind.CRASH

    def __str__(self) -> str:
        return f"{self.kind} {self.where} at {self.step}"


@dataclass(frozen=True, slots=True)
class Fired:
    """A fault that was injected, and the line of code that it hit."""

    fault: PlannedFault
    where: str

    def __str__(self) -> str:
        return f"{self.fault}, {self.where}"


@dataclass(frozen=True, slots=True)
class Broken:
    """A run that broke the law."""

    fired: tuple[Fired, ...]
    law: str

    def __str__(self) -> str:
        faults = " and ".join(map(str, self.fired)) or "without any fault"
        return f"{faults}: {self.law}"


@dataclass(slots=True)
class Report:
    """A whole sweep: how many runs had a fault injected, and which of them broke the law."""

    name: str
    runs: int = 0
    broken: list[Broken] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    """Line of code → how many faults were injected there."""

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.runs} runs with a fault at {len(self.places)} places, {len(self.broken)} broke"]
        return "\n  ".join([*lines, *map(str, self.broken)])

    def add(self, fired: Sequence[Fired], law: str | None) -> None:
        """Record one run; `law`: the law that it broke, if any."""
        if fired:
            self.runs += 1
        for one in fired:
            self.places[one.where] = self.places.get(one.where, 0) + 1
        if law is not None:
            self.broken.append(Broken(tuple(fired), law))

    def check(self) -> Report:
        """Raise `LawBroken` with the whole report unless every run kept the law, and at least one was injected."""
        if self.broken:
            raise LawBroken(str(self))
        if not self.runs:
            raise LawBroken(f"{self.name}: no fault was ever injected; is the name right?")
        return self
