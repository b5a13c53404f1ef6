"""Counts what was converted and what was dropped, by field, with a few examples of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from broadside.errors import shown

_EXAMPLES = 3
_TRIED = 50
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


class Changes:
    """Sums of changes, for a summary."""

    def __init__(self) -> None:
        """Begin with none."""
        self.converted: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self._examples: dict[tuple[str, bool], dict[str, None]] = {}

    def add(self, changes: Iterable[Change]) -> None:
        """Count ``changes``."""
        for change in changes:
            counts = self.dropped if change.dropped else self.converted
            counts[change.field] = counts.get(change.field, 0) + 1
            examples = self._examples.setdefault((change.field, change.dropped), {})
            if len(examples) < _EXAMPLES and counts[change.field] <= _TRIED:
                arrow = "" if change.dropped else f" → {shown(change.stored, 40)}"
                examples[f"{shown(change.given, 40)}{arrow}"] = None

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
        return list(self._examples[field, name == "dropped"])
