"""The laws of every plan: what ledgers, base and report must say together."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from broadside.demo import samples
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
USUAL = (200, 201)
"""The statuses of an accepted push: 201 is a push service's."""
BEGIN, END = 0.05, 0.9
"""Rates are those between these shares of a campaign: its last batches are few, and on few connections."""


@dataclass
class Campaign:
    """One campaign: the base before and after it (token → channel), and its own report."""

    id: str
    base: dict[str, str]
    disturbed: bool = True
    began: int = 0
    """When it was fired, ms UTC, or a little before."""
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
    harmed: int
    """The living who left the base."""
    unexpected: int
    duplicates: int
    bound: int
    open: int
    """Recipients without a terminal outcome."""
    ratio: float | None
    """The rate under the fault (of the healthy platform, where one is sick) by the undisturbed one."""
    notes: dict[str, Any]
    laws: list[tuple[str, bool, str]]

    @property
    def broken(self) -> list[str]:
        """The laws that do not hold, each with what was found."""
        return [f"{name}: {detail}" for name, holds, detail in self.laws if not holds]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"broken": self.broken}


def gone(token: str) -> bool:
    """Whether a token belongs to a phone that is gone: a browser's address has the sample's digits at its end."""
    return token[-64:].startswith(samples.DEAD) if token.startswith("https://") else token.startswith(samples.DEAD)


def poisoned(token: str) -> bool:
    """Whether a row was written to do harm."""
    return "poison" in token


def judge(run: Trial, seconds: float) -> Judgement:
    """Hold the run to its laws."""
    laws = [*run.laws]
    ledger = run.ledger()
    lost = harmed = unexpected = duplicates = remaining = 0
    bound = run.bound
    too_often: list[str] = []
    for campaign in run.campaigns:
        entries = [entry for lines in ledger.values() for entry in lines if entry.collapse == campaign.id]
        live = {token for token in campaign.base if run.lives(token)}
        accepted = Counter(entry.token for entry in entries)
        excused = _ended(campaign, "expired") * run.kind.may_expire + _ended(campaign, "cancelled") * run.kind.cancels
        lost += max(0, len(live - accepted.keys()) - excused)
        harmed += len(live - campaign.after.keys())
        too_often += _too_often(run, ledger, campaign)
        dead = {token for token in accepted if gone(token) and not run.odd(token)}
        unexpected += len(accepted.keys() - campaign.base.keys()) + len(dead)
        duplicates += accepted.total() - len(accepted)
        bound += sum(entry.answered not in USUAL for entry in entries)
        remaining += _agree(run, campaign, live, accepted, laws)
        if run.night is not None:
            laws += run.night.laws(live, entries)
    once = sorted(run.fired) == sorted(campaign.id for campaign in run.campaigns)
    laws += [
        ("lost = 0", lost == 0, f"{lost} lost"),
        ("the base keeps everybody alive", harmed == 0, f"{harmed} harmed"),
        (
            "nobody gets a campaign more often than who had that phone in hand died, plus one",
            not too_often,
            f"{len(too_often)} did: {'; '.join(too_often[:3])}",
        ),
        ("one Fire, one campaign", once, f"{len(run.campaigns)} fired, the node has {len(run.fired)}"),
        ("a standing channel says why", not run.standing, "; ".join(run.standing[:3])),
        ("unexpected = 0", unexpected == 0, f"{unexpected} unexpected"),
        ("duplicates within the bound", duplicates <= bound, f"{duplicates} > {bound}"),
        ("every recipient is terminal", remaining == 0, f"{remaining} are not"),
    ]
    rss = max(run.notes.get("rss_mb", [0]), default=0)
    laws.append(("a worker's memory stays small", rss <= MEMORY, f"{rss} MB > {MEMORY}"))
    ratio = rate_kept(run, ledger)
    if ratio is not None:
        least = least_rate(run)
        name = run.kind.compared or "the other platform keeps its rate"
        laws.append((name, ratio >= least, f"{ratio:.2f} of the undisturbed, < {least}"))
    if run.ended_at is not None:
        serving, limit = run.notes.get("serving_s"), run.kind.serving
        limit += run.notes.get("tarantool_s", 0.0) + run.notes.get("orphans_s", 0.0)
        limit = round(limit * (QUICK_TIME if run.plan.quick else 1.0), 2)
        laws.append(("serves again in time", serving is not None and serving <= limit, f"{serving} s > {limit} s"))
    plan = run.plan.shown()
    return Judgement(plan, seconds, lost, harmed, unexpected, duplicates, bound, remaining, ratio, run.notes, laws)


def _ended(campaign: Campaign, outcome: str) -> int:
    tallies = campaign.report.get("channels", {}).values()
    return sum(tally.get(outcome, 0) for tally in tallies)


def _too_often(run: Trial, ledger: dict[str, list[Entry]], campaign: Campaign) -> list[str]:
    """Who got a campaign more often than its pushes may have been repeated."""
    found = []
    for platform, entries in ledger.items():
        most = 1 + run.repeats[platform]
        got = Counter(entry.token for entry in entries if entry.collapse == campaign.id and _final(entry))
        found += [f"{token[:20]} {count} times, at most {most}" for token, count in got.items() if count > most]
    return found


def _final(entry: Entry) -> bool:
    """Whether a push's answer asks for no other: what was delivered and yet answered otherwise is sent again."""
    return 200 <= entry.answered < 300 or (400 <= entry.answered < 500 and entry.answered != 429)


def _agree(
    run: Trial, campaign: Campaign, live: set[str], accepted: Counter[str], laws: list[tuple[str, bool, str]]
) -> int:
    """Ledger, base and report to the last recipient; answers how many recipients are not terminal."""
    report = campaign.report
    sums: Counter[str] = Counter()
    for tally in report.get("channels", {}).values():
        sums.update(tally)
    bad = sum(poisoned(token) or run.odd(token) for token in campaign.base)
    dead = len(campaign.base) - len(live) - bad
    state, end = report.get("state"), "cancelled" if run.kind.cancels else "done"
    laws.append((f"the campaign is {end}", state == end, f"it is {state}"))
    laws.append(("the page ledger tiles the base", not campaign.problems, "; ".join(campaign.problems[:3])))
    laws.append(
        (
            "the report's audience is the base",
            sums["audience"] == len(campaign.base),
            f"{sums['audience']} of {len(campaign.base)}",
        )
    )
    asleep = 0 if run.night is None else sums["expired"]  # in bed until nobody wanted it any more
    refused = sums["rejected"] + sums["dead"] + sums["expired"] * bool(bad) - dead
    cancelled = sums["cancelled"] * run.kind.cancels
    good = sums["delivered"] + refused + asleep + cancelled == len(live) + bad and 0 <= refused <= bad
    told = f"delivered {sums['delivered']}, dead {sums['dead']}, rejected {sums['rejected']}, expired {sums['expired']}"
    laws.append(
        (
            "report and ledger agree",
            good,
            f"{told}; ledger {len(accepted)}, live {len(live)}, dead {dead}; {report.get('reasons')}",
        )
    )
    ended = sum(sums[word] for word in ("rejected", "dead", "expired", "dropped"))
    laws.append(
        (
            "nobody ends for a fault that was not theirs",
            ended - asleep <= dead + bad,
            f"{ended - asleep - dead - bad} living ended: {told}",
        )
    )
    left = {token for token in campaign.after if not poisoned(token) and not run.odd(token)}
    if run.kind.may_keep_dead:
        left = {token for token in left if not gone(token)}
    laws.append(
        ("base and ledger agree", left == live, f"{len(left - live)} too many, {len(live - left)} too few in the base")
    )
    terminal = sum(sums[word] for word in ("delivered", "dead", "rejected", "expired", "dropped", "cancelled"))
    return max(sums["remaining"], len(campaign.base) - terminal)


def rate_kept(run: Trial, ledger: dict[str, list[Entry]]) -> float | None:
    """The healthy platforms' rate in the disturbed campaign by that in the slowest of the undisturbed ones."""
    sick = run.plan.values.get("platform")
    if sick is None and run.kind.compared is None:
        return None
    groups = [[entry for platform, each in ledger.items() if platform != sick for entry in each]]
    if (service := run.plan.values.get("service")) is not None:  # of a platform of many services one is sick
        groups.append([entry for entry in ledger[sick or ""] if not of_service(entry.token, service)])
    kept = [_kept(run, entries) for entries in groups if entries]
    return min((each for each in kept if each is not None), default=None)


def of_service(token: str, service: str) -> bool:
    """Whether a browser is of the push service with this host, or with hosts in this domain."""
    return f".{urlsplit(token).hostname}".endswith(f".{service}")


def _kept(run: Trial, entries: list[Entry]) -> float | None:
    rates: dict[bool, list[float]] = {True: [], False: []}
    for campaign in run.campaigns:
        rate = _rate([entry.time for entry in entries if entry.collapse == campaign.id])
        # a push to a dead phone costs as much as one to a living
        if campaign.disturbed and run.plan.values.get("platform") is None:
            rate *= len(campaign.base) / max(1, sum(map(run.lives, campaign.base)))
        rates[campaign.disturbed].append(rate)
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
