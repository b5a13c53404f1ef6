"""Counts what was converted and what was dropped, by field, with a few examples of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from broadside.errors import shown

_EXAMPLES = 3
TRIED = 50
"""Changes of a field among which examples are looked for: writing one costs as much as reading a row."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One attribute that is stored otherwise than it was given."""

    field: str
    given: object
    stored: object
    """None: the attribute, or this part of it, is dropped."""

    @property
    def dropped(self) -> bool:
        """Whether the attribute could not be converted."""
        return self.stored is None


class Sums(msgspec.Struct):
    """What ``Changes`` counted in one part of a file."""

    converted: dict[str, int]
    dropped: dict[str, int]
    examples: list[tuple[str, bool, dict[str, int]]]


class Changes:
    """Sums of changes, for a summary."""

    def __init__(self) -> None:
        """Begin with none."""
        self.converted: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self._examples: dict[tuple[str, bool], dict[str, int]] = {}
        """Field, whether dropped → example → which change of its kind it was."""

    def add(self, changes: Iterable[Change]) -> None:
        """Count ``changes``."""
        for change in changes:
            counts = self.dropped if change.dropped else self.converted
            count = counts[change.field] = counts.get(change.field, 0) + 1
            if count <= TRIED and len(examples := self._of(change.field, change.dropped)) < _EXAMPLES:
                arrow = "" if change.dropped else f" → {shown(change.stored, 40)}"
                examples.setdefault(f"{shown(change.given, 40)}{arrow}", count)

    def count(self, field: str, *, dropped: bool, times: int) -> None:
        """Count changes of a kind of which no examples are ``wanted`` any more."""
        if times:
            counts = self.dropped if dropped else self.converted
            counts[field] = counts.get(field, 0) + times

    def wanted(self, field: str, *, dropped: bool) -> bool:
        """Whether a change of this kind may become an example, so that it must be added one by one, in order."""
        counts = self.dropped if dropped else self.converted
        return counts.get(field, 0) < TRIED and len(self._of(field, dropped)) < _EXAMPLES

    def sums(self) -> Sums:
        """Return everything, to be merged elsewhere."""
        examples = [(*of, found) for of, found in self._examples.items()]
        return Sums(self.converted, self.dropped, examples)

    def merge(self, later: Sums) -> None:
        """Add what was counted in a later part of the same file, as if it had been counted here."""
        for field, was_dropped, found in later.examples:
            before = (self.dropped if was_dropped else self.converted).get(field, 0)
            examples = self._of(field, was_dropped)
            for example, count in found.items():
                if before + count <= TRIED and len(examples) < _EXAMPLES:
                    examples.setdefault(example, before + count)
        for counts, more in ((self.converted, later.converted), (self.dropped, later.dropped)):
            for field, times in more.items():
                counts[field] = counts.get(field, 0) + times

    def _of(self, field: str, dropped: bool) -> dict[str, int]:
        return self._examples.setdefault((field, dropped), {})

    def report(self) -> dict[str, Any]:
        """Return ``converted`` and ``dropped``: field → count and examples; empty if nothing was changed."""
        sums = {"converted": self.converted, "dropped": self.dropped}
        return {
            name: {field: {"count": n, "examples": self._shown(field, name)} for field, n in sorted(counts.items())}
            for name, counts in sums.items()
            if counts
        }

    def lines(self) -> list[str]:
        """Return one line for each field: ``tz: 3 dropped ("Mitteleuropäische Zeit")``."""
        return [
            f"{field}: {found['count']:,} {name} ({', '.join(found['examples'])})"
            for name, fields in self.report().items()
            for field, found in fields.items()
        ]

    def _shown(self, field: str, name: str) -> list[str]:
        return list(self._of(field, name == "dropped"))
