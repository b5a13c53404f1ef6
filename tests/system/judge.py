"""The laws of every plan: what ledgers, base and report must say together."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from broadside import samples
from simulators.ledger import Entry, read_ledger

if TYPE_CHECKING:
    from tests.system.run import Run

RATE = 0.9
"""The healthy platform's least share of its undisturbed rate …"""
RATE_SLACK = 0.05
"""… and what two campaigns of a few seconds on a shared machine may differ by."""
MEMORY = 150
"""MB that a worker may have in memory at the end."""
QUICK_SLACK = 0.3
"""The same where a run shares the machine with whatever else CI does."""
TIME_SLACK = 2.0
"""Times are judged with this factor: other processes share the machine."""


@dataclass
class Campaign:
    """One campaign: the base before and after it (token → channel), and its own report."""

    id: str
    base: dict[str, str]
    after: dict[str, str] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)


@dataclass
class Judgement:
    """A run's result."""

    plan: dict[str, Any]
    seconds: float
    lost: int
    unexpected: int
    duplicates: int
    bound: int
    open: int
    """Recipients without a terminal outcome."""
    ratio: float | None
    """The healthy platform's rate by its undisturbed one."""
    notes: dict[str, Any]
    laws: list[tuple[str, bool, str]]

    @property
    def broken(self) -> list[str]:
        """The laws that do not hold, each with what was found."""
        return [f"{name}: {detail}" for name, holds, detail in self.laws if not holds]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"broken": self.broken}


def poisoned(token: str) -> bool:
    """Whether a row was written to do harm."""
    return "poison" in token


def judge(run: Run, seconds: float) -> Judgement:
    """Hold the run to its laws."""
    laws = [*run.laws]
    ledger = {platform: list(read_ledger(twin.ledger)) for platform, twin in run.twins.items()}
    lost = unexpected = duplicates = remaining = 0
    bound = run.bound
    for campaign in run.campaigns:
        entries = [entry for lines in ledger.values() for entry in lines if entry.collapse == campaign.id]
        live = {t for t in campaign.base if not t.startswith(samples.DEAD) and not poisoned(t)}
        accepted = Counter(entry.token for entry in entries)
        lost += len(live - accepted.keys())
        unexpected += len(accepted.keys() - campaign.base.keys()) + sum(t.startswith(samples.DEAD) for t in accepted)
        duplicates += accepted.total() - len(accepted)
        bound += sum(entry.answered != 200 for entry in entries)
        remaining += _agree(campaign, live, accepted, laws)
    laws += [
        ("lost = 0", lost == 0, f"{lost} lost"),
        ("unexpected = 0", unexpected == 0, f"{unexpected} unexpected"),
        ("duplicates within the bound", duplicates <= bound, f"{duplicates} > {bound}"),
        ("every recipient is terminal", remaining == 0, f"{remaining} are not"),
    ]
    rss = max(run.notes.get("rss_mb", [0]), default=0)
    laws.append(("a worker's memory stays small", rss <= MEMORY, f"{rss} MB > {MEMORY}"))
    ratio = _ratio(run, ledger)
    if ratio is not None:
        floor = RATE - (QUICK_SLACK if run.plan.quick else RATE_SLACK)
        laws.append(("the other platform keeps its rate", ratio >= floor, f"{ratio:.2f} of the undisturbed, < {floor}"))
    if run.ended_at is not None:
        serving, limit = run.notes.get("serving_s"), run.kind.serving * TIME_SLACK
        laws.append(("serves again in time", serving is not None and serving <= limit, f"{serving} s > {limit} s"))
    plan = run.plan.shown()
    return Judgement(plan, seconds, lost, unexpected, duplicates, bound, remaining, ratio, run.notes, laws)


def _agree(campaign: Campaign, live: set[str], accepted: Counter[str], laws: list[tuple[str, bool, str]]) -> int:
    """Ledger, base and report to the last recipient; answers how many recipients are not terminal."""
    report = campaign.report
    sums: Counter[str] = Counter()
    for tally in report.get("channels", {}).values():
        sums.update(tally)
    bad = sum(map(poisoned, campaign.base))
    dead = len(campaign.base) - len(live) - bad
    laws.append(("the campaign is done", report.get("state") == "done", f"it is {report.get('state')}"))
    laws.append(
        (
            "the report's audience is the base",
            sums["audience"] == len(campaign.base),
            f"{sums['audience']} of {len(campaign.base)}",
        )
    )
    refused = sums["rejected"] + sums["dead"] - dead
    good = sums["delivered"] + refused == len(live) + bad and 0 <= refused <= bad
    told = f"delivered {sums['delivered']}, dead {sums['dead']}, rejected {sums['rejected']}, expired {sums['expired']}"
    laws.append(
        (
            "report and ledger agree",
            good,
            f"{told}; ledger {len(accepted)}, live {len(live)}, dead {dead}; {report.get('reasons')}",
        )
    )
    left = {token for token in campaign.after if not poisoned(token)}
    laws.append(
        ("base and ledger agree", left == live, f"{len(left - live)} too many, {len(live - left)} too few in the base")
    )
    terminal = sum(sums[word] for word in ("delivered", "dead", "rejected", "expired", "dropped", "cancelled"))
    return max(sums["remaining"], len(campaign.base) - terminal)


def _ratio(run: Run, ledger: dict[str, list[Entry]]) -> float | None:
    sick = run.plan.values.get("platform")
    if sick is None or len(run.campaigns) < 2:
        return None
    (healthy,) = [platform for platform in ledger if platform != sick]
    rates = []
    for campaign in run.campaigns:
        times = [entry.time for entry in ledger[healthy] if entry.collapse == campaign.id]
        if not times:
            return 0.0
        rates.append(len(times) / max(1, max(times) - min(times)))
    return round(rates[1] / rates[0], 3)
