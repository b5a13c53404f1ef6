"""What a worker has counted on one channel since its start: outcomes, and how long batches took."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from campaigns.tally import UNSURE

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: the upper bounds of the classes of ``ChannelFigures.took``; the last class has none."""


class ChannelFigures(msgspec.Struct, kw_only=True):
    """Counters that only rise, a step for each batch."""

    outcomes: dict[str, int] = {}
    """Outcome, or ``retried`` → pushes that this worker has settled."""
    took: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """Batches by the time from the first push to the last answer, in classes of :data:`BOUNDS`."""
    seconds: float = 0.0
    """The sum of these times."""

    def settled(self, tallies: Mapping[str, int]) -> None:
        """Count a settled batch. ``tallies``: outcome → pushes."""
        for word, count in tallies.items():
            if word == UNSURE:
                continue  # it rises and falls
            self.outcomes[word] = self.outcomes.get(word, 0) + count

    def answered(self, seconds: float) -> None:
        """Count a batch whose answers are all here."""
        self.took[sum(seconds > bound for bound in BOUNDS)] += 1
        self.seconds += seconds

    def add(self, other: ChannelFigures) -> None:
        """Add what another worker, or an earlier incarnation, has counted."""
        self.settled(other.outcomes)
        self.took = [mine + theirs for mine, theirs in zip(self.took, other.took, strict=True)]
        self.seconds += other.seconds
