"""What zones, languages, conditions and best times cost: python -m benchmarks.bench_classes [--subscribers N] [--json].

A whole node and a sink that only counts, as in bench_pipeline. Each base gets its kinds of campaigns in turns, round
after round; a ratio is the median of the rounds' ratios to the plain campaign. The node's clock can be set
(libfaketime). It starts at noon, when nobody has quiet hours. Once a campaign at best times has been walked, it is set
a day forward, so that all of its pushes may be sent.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.against.compare import half_range
from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.readers import BASES, NOON, Base, Kind
from benchmarks.pipeline.rig import Rig, Row
from benchmarks.pipeline.set_clock import SEEN_WITHIN, SetClock
from benchmarks.pipeline.usage import descendants
from benchmarks.progress import say

SINK = "counting"
ZONE = 'zone = "Europe/Berlin"'
"""Without the newsroom's zone each Fire draws 10,000 rows, to say how many phones have no quiet hours."""


@dataclass
class Found:
    """All campaigns of one kind on one base."""

    kind: Kind
    plain: Found | None
    """The plain campaign's; None: this is it."""
    rows: list[Row] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        """µs a push, workers and Tarantool: the median of the rounds."""
        return statistics.median(row.cpu_us_per_push for row in self.rows)

    @property
    def ratios(self) -> list[float]:
        """The CPU of a push, divided by the plain campaign's of the same round."""
        if self.plain is None:
            return [1.0]
        pairs = zip(self.rows, self.plain.rows, strict=True)
        return [row.cpu_us_per_push / plain.cpu_us_per_push for row, plain in pairs]

    @property
    def met(self) -> bool | None:
        """Whether its goal is met; None: it has none."""
        return None if self.kind.most is None else statistics.median(self.ratios) <= self.kind.most

    def stage(self, name: str) -> float:
        """µs a push of one stage: the median of the rounds."""
        return statistics.median(row.stages.get(name, 0.0) for row in self.rows)


def measure(base: Base, subscribers: int, rounds: int) -> list[Found]:
    """Fire each kind at the base, ``rounds`` times."""
    found: list[Found] = []
    for kind in base.kinds:
        found.append(Found(kind, found[0] if found else None))
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as name:
        clock = SetClock(Path(name), NOON)
        rig = Rig(Path(name), None, phone=base.phone, environment=clock.environment)
        rig.newsroom = ZONE
        with rig.sink(SINK) as sink, rig.node(sink) as client:
            say(f"{base.what}: {subscribers:,} subscribers")
            rig.fill(client, subscribers)
            for kind in base.kinds:
                if not kind.waits:
                    rig.campaign(client, SINK, kind.request)  # warms up: the node computes a day's classes once
            for number in range(rounds):
                for each in found if number % 2 == 0 else reversed(found):
                    reached = partial(_next_day, clock) if each.kind.waits else None
                    row = rig.campaign(client, SINK, each.kind.request, reached)
                    if row.lost:
                        raise RuntimeError(f"{base.what}, {each.kind.what}: {row.lost:,} got nothing")
                    each.rows.append(row)
                    say(f"round {number + 1} of {rounds}: {each.kind.what}: {row.cpu_us_per_push:.2f} µs {row.stages}")
    return found


def _next_day(clock: SetClock) -> None:
    """Set the clock a day forward. The workers stand still until the queue has seen it: one that sees it later would
    put off, by its own clock, what the queue hands out."""
    workers = [pid for pid, kind in descendants(os.getpid()) if kind == "workers"]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        clock.next_day()
        time.sleep(2 * SEEN_WITHIN)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def figures(base: Base, found: list[Found]) -> list[dict[str, Any]]:
    """For ``--json``: what, value and unit of each figure."""
    rows: list[dict[str, Any]] = []
    for each in found:
        what = f"{base.what}: {each.kind.what}"
        rows.append({"what": f"{what}: CPU a push", "value": each.cpu, "unit": "µs"})
        if each.plain is not None:
            ratio = round(statistics.median(each.ratios), 3)
            goal = "" if each.kind.most is None else f"≤ {each.kind.most:g}"
            rows.append({"what": f"{what}: beside plain", "value": ratio, "unit": "×", "goal": goal, "met": each.met})
    return rows


def line(each: Found) -> str:
    """The row of the table, for a person."""
    ratio, spread = statistics.median(each.ratios), half_range(each.ratios)
    verdict = "" if each.met is None else f"  goal ≤ {each.kind.most:.2f}: {'met' if each.met else 'MISSED'}"
    shown = "" if each.plain is None else f"{ratio:.2f} ±{spread:.2f}"
    stages = " ".join(f"{each.stage(name):>6.2f}" for name in STAGES)
    return f"  {each.kind.what:36} {each.cpu:>7.2f} {shown:>11} {stages}{verdict}".rstrip()


STAGES = ("walk", "batch", "take", "send", "settle", "link", "rest", "loop", "tarantool")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench classes", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200_000, help="size of each base")
    parser.add_argument("--rounds", type=int, default=5, help="how often each kind has its turn")
    parser.add_argument("--base", choices=[base.what for base in BASES], action="append", help="this one only")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    rows = []
    if not options.json:
        print(f"{'µs of CPU a push':38} {'in all':>7} {'beside plain':>11} " + " ".join(f"{s[:6]:>6}" for s in STAGES))
    for base in BASES:
        if options.base and base.what not in options.base:
            continue
        found = measure(base, options.subscribers, options.rounds)
        rows += figures(base, found)
        if not options.json:
            print(f"{base.what}, {options.subscribers:,} subscribers, {options.rounds} rounds")
            print("\n".join(line(each) for each in found), flush=True)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))


if __name__ == "__main__":
    main()
