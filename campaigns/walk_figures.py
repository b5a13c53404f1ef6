"""What a worker has walked since its start, and how long that took."""

from __future__ import annotations

import msgspec


class WalkFigures(msgspec.Struct, kw_only=True):
    """Counters that only rise, a step for each page."""

    rows: int = 0
    """Subscribers of the pages that were read."""
    skipped: int = 0
    """Those of them that were not in the audience."""
    seconds: float = 0.0
    """From the take of a baton until its page was handed to the batcher."""

    def walked(self, rows: int, skipped: int, seconds: float) -> None:
        """Count a page."""
        self.rows += rows
        self.skipped += skipped
        self.seconds += seconds
