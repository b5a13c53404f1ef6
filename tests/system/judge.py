"""The laws of every plan: what ledgers, base and report must say together."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from broadside import samples
from simulators.ledger import Entry

if TYPE_CHECKING:
    from tests.system.trial import Trial

RATE = 0.9
"""The healthy platform's least share of its undisturbed rate."""
MEMORY = 150
"""MB that a worker may have in memory at the end."""
QUICK_RATE = 0.75
"""The least share where a run shares the machine with whatever else CI does …"""
QUICK_TIME = 2.0
"""… and by how much longer things may take there."""
BEGIN, END = 0.05, 0.9
"""Rates are those between these shares of a campaign: its last batches are few, and on few connections."""


@dataclass
class Campaign:
    """One campaign: the base before and after it (token → channel), and its own report."""

    id: str
    base: dict[str, str]
    disturbed: bool = True
    after: dict[str, str] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What differs between its page ledger and the base, by the node's own `campaign verify`."""


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


def judge(run: Trial, seconds: float) -> Judgement:
    """Hold the run to its laws."""
    laws = [*run.laws]
    ledger = run.ledger()
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
    ratio = rate_kept(run, ledger)
    if ratio is not None:
        least = least_rate(run)
        laws.append(("the other platform keeps its rate", ratio >= least, f"{ratio:.2f} of the undisturbed, < {least}"))
    if run.ended_at is not None:
        serving, limit = run.notes.get("serving_s"), run.kind.serving + run.notes.get("tarantool_s", 0.0)
        limit = round(limit * (QUICK_TIME if run.plan.quick else 1.0), 2)
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
    laws.append(("the page ledger tiles the base", not campaign.problems, "; ".join(campaign.problems[:3])))
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


def rate_kept(run: Trial, ledger: dict[str, list[Entry]]) -> float | None:
    """The healthy platform's rate in the disturbed campaign by that in the slowest of the undisturbed ones."""
    sick = run.plan.values.get("platform")
    if sick is None:
        return None
    (healthy,) = [platform for platform in ledger if platform != sick]
    rates: dict[bool, list[float]] = {True: [], False: []}
    for campaign in run.campaigns:
        rates[campaign.disturbed].append(_rate([e.time for e in ledger[healthy] if e.collapse == campaign.id]))
    if not rates[True] or not rates[False]:
        return None
    return round(min(rates[True]) / max(min(rates[False]), 1e-9), 3)


def least_rate(run: Trial) -> float:
    """What it may be at least."""
    return QUICK_RATE if run.plan.quick else RATE


def _rate(times: list[int]) -> float:
    """Pushes a millisecond in the midst of a campaign."""
    times.sort()
    first, last = int(BEGIN * len(times)), int(END * len(times))
    return (last - first) / max(1, times[last] - times[first]) if times else 0.0
