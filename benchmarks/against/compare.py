"""Two trees' figures of several rounds: medians, spread, ratio, and whether the ratio is more than chance."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.against.figures import RATE, Figure

Verdict = Literal["equal", "better", "worse", "no ratio"]


@dataclass(frozen=True, slots=True)
class Side:
    """One figure of one tree, round after round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half of the range from the least to the most."""
        return half_range(self.values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both trees."""

    figure: Figure
    this: Side
    that: Side

    @property
    def ratios(self) -> tuple[float, ...]:
        """This tree's figure divided by the commit's, in each round; none if one of them is 0.

        Both have their turn within one round, so that a machine that slows down from round to round slows down both.
        """
        if not all(self.this.values) or not all(self.that.values):
            return ()
        return tuple(this / that for this, that in zip(self.this.values, self.that.values, strict=True))

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def spread(self) -> float | None:
        """Half of the range of the rounds' ratios."""
        return half_range(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> Verdict:
        """``equal``: the ratio is no further from 1 than its spread."""
        ratio, spread = self.ratio, self.spread
        if ratio is None or spread is None:
            return "equal" if self.this.values == self.that.values else "no ratio"
        if abs(ratio - 1) <= spread:
            return "equal"
        return "better" if (ratio > 1) == (self.figure.unit == RATE) else "worse"

    def plain(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "row": self.figure.row, "figure": self.figure.name, "unit": self.figure.unit,
            "this": _plain(self.this), "against": _plain(self.that),
            "ratio": _rounded(self.ratio), "spread": _rounded(self.spread), "verdict": self.verdict,
        }  # fmt: skip


def half_range(values: Sequence[float]) -> float:
    """Half of the range from the least to the most."""
    return (max(values) - min(values)) / 2


@dataclass(frozen=True, slots=True)
class Compared:
    """All figures of a bench."""

    both: list[Comparison]
    only_this: list[Figure]
    """Not printed by the commit's bench, or not in every round."""
    only_that: list[Figure]
    """Not printed by this tree's, or not in every round."""


def compare(this: Sequence[Mapping[Figure, float]], that: Sequence[Mapping[Figure, float]]) -> Compared:
    """Put the figures of all rounds side by side; one map a round, the same round at the same place."""
    ours, theirs = _in_every_round(this), _in_every_round(that)
    both = [Comparison(figure, ours[figure], theirs[figure]) for figure in ours if figure in theirs]
    return Compared(
        both, [figure for figure in ours if figure not in theirs], [figure for figure in theirs if figure not in ours]
    )


def _in_every_round(rounds: Sequence[Mapping[Figure, float]]) -> dict[Figure, Side]:
    figures = [figure for figure in rounds[0] if all(figure in each for each in rounds)]
    return {figure: Side(tuple(each[figure] for each in rounds)) for figure in figures}


def _plain(side: Side) -> dict[str, Any]:
    return {"median": side.median, "spread": _rounded(side.spread), "values": list(side.values)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
