"""What a run under fault gathers, on one node or on two, for its judgement."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from simulators.ledger import Entry
from tests.system.judge import Campaign, gone, poisoned
from tests.system.night_hours import Night

if TYPE_CHECKING:
    from tests.system.plan import Plan

DEAD_SECONDS = 15.0
"""After a campaign's end, for its dead to leave the base."""
BATCH = 500
"""Recipients of a batch at most."""


class Trial(ABC):
    """``bound``: pushes that its faults may have repeated, added up as they happen."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.kind = plan.kind()
        self.folder = folder
        self.bound = 0
        self.repeats: Counter[str] = Counter()
        """Platform → how often one phone may get a campaign again: once for each death of who had its push in hand."""
        self.fired: list[str] = []
        """The ids of all campaigns that the node knows, at the end."""
        self.known: set[str] = set()
        """The ids of campaigns that came on purpose, beside those that the run fired."""
        self.standing: list[str] = []
        """Channels that stood still and gave no reason."""
        self.ended_at: float | None = None
        self.killed: set[int] = set()
        """Workers that are gone: until others are there, a node does not serve."""
        self.notes: dict[str, Any] = {}
        self.laws: list[tuple[str, bool, str]] = []
        self.campaigns: list[Campaign] = []
        self.night: Night | None = None
        """The night that falls during the run, if one does."""

    def note(self, name: str, value: Any) -> None:
        """Put a figure into the report."""
        self.notes[name] = value

    def law(self, name: str, holds: bool, detail: str = "") -> None:
        """Judge a law of the fault's own."""
        self.laws.append((name, holds, "" if holds else detail))

    def over(self) -> None:
        """The fault has ended: from now on the nodes have their seconds to serve again."""
        self.ended_at = trio.current_time()

    def leased(self, recipients: int) -> None:
        """So many were in batches taken and not settled when somebody was killed: they may be sent to again."""
        self.bound += recipients
        self.may_repeat()
        self.note("leases", self.notes.get("leases", 0) + recipients)

    def may_repeat(self, times: int = 1, *platforms: str) -> None:
        """Who had pushes of these platforms in hand (of all, if none is named) died so often."""
        for platform in platforms or self.plan.platforms:
            self.repeats[platform] += times

    def lives(self, token: str) -> bool:
        """Whether a phone must get the news and stay in the base."""
        return not gone(token) and not poisoned(token) and not self.odd(token)

    def odd(self, token: str) -> bool:
        """Whether a phone's provider answers what nobody can foresee: it may end, or leave the base."""
        return self.kind.odd is not None and self.kind.odd(self.plan, token)

    @abstractmethod
    def ledger(self) -> dict[str, list[Entry]]:
        """Platform → what its twins accepted."""


def log_lines(log: Path) -> Iterator[dict[str, Any]]:
    """What a node wrote into its log."""
    for line in log.read_text().splitlines() if log.exists() else ():
        yield json.loads(line)


def starts(log: Path, child: str = "tarantool") -> list[float]:
    """How long each start of a node's child took, seconds."""
    return [
        entry["took"]
        for entry in log_lines(log)
        if entry["event"] == "started" and entry["actor"].endswith(f"/{child}")
    ]
