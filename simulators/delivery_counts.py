"""What a twin has accepted, by day and name, and which of its own figures it makes of that."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from simulators.faults.script import DeliveryRule

DAY = 86_400


class DeliveryCounts:
    """Counts accepted pushes by the day (UTC) and the name under which a provider tells of them."""

    def __init__(self, rule: DeliveryRule) -> None:
        self.rule = rule
        self._accepted: Counter[tuple[date, str]] = Counter()
        self._day, self._ends = date.min, 0.0
        self._refused = 0

    def add(self, now: float, name: str) -> None:
        """Count one. ``now``: seconds UTC."""
        if not now < self._ends:  # a day is looked up once, not for each push
            self._day = datetime.fromtimestamp(now, UTC).date() - timedelta(self.rule.days_ago)
            self._ends = (now // DAY + 1) * DAY
        self._accepted[self._day, name] += 1

    def all(self) -> list[tuple[date, str, int]]:
        """Return (day, name, accepted pushes), sorted."""
        return [(day, name, count) for (day, name), count in sorted(self._accepted.items())]

    def refusal(self) -> int | None:
        """Return the status that a script wants instead of an answer, and count it."""
        rule = self.rule
        if rule.status is None or (rule.times is not None and self._refused >= rule.times):
            return None
        self._refused += 1
        return rule.status
