"""Is what holds a campaign up named? python -m benchmarks.bench_bottleneck [--seed N] [--first N] [--count N] [--json].

In each of the drawn situations one thing is made to hold a campaign up: the walk, the CPU, the provider's window, its
streams, its quota, a rate, quiet hours, a provider that is slow or away, a pause. A few seconds after Fire any node is
asked what it waits for.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.ending import end_at_sigterm
from benchmarks.forecast.forced import Forced, draw
from benchmarks.progress import say
from broadside.api.v1 import table as routes

COUNT = 30
GOAL = 28
"""Of 30."""
AFTER = (5.0, 7.0)
"""Seconds after Fire at which it is asked, drawn between these: it looks at the last three."""


@dataclass(frozen=True, slots=True)
class Named:
    """What was named in one situation."""

    number: int
    words: str
    limit: str
    """What was made to hold it up."""
    named: str
    sentence: str
    remaining: int

    @property
    def right(self) -> bool:
        """Whether it is the right one."""
        return self.named == self.limit


def name(number: int, forced: Forced, seed: int) -> Named:
    """Ask what holds the campaign of a situation up."""
    after = random.Random(f"after:{seed}:{number}").uniform(*AFTER)
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder, forced.fire(Path(folder)) as fired:
        time.sleep(after)
        report = fired.client.call(routes.CAMPAIGN, id=fired.report.id)
        found = report.reach.bottlenecks if report.reach is not None else []
        remaining = sum(tally.remaining for tally in report.channels.values())
        limit = found[0].limit if found else report.state
        return Named(number, forced.words, forced.limit, limit, found[0].sentence if found else "", remaining)


def measure(seed: int, numbers: range) -> Iterator[Named]:
    """Yield each situation."""
    for number in numbers:
        row = name(number, draw(seed, number), seed)
        say(line(row))
        yield row


def line(row: Named) -> str:
    """One row of the table."""
    mark = "  " if row.right else "✗ "
    return f"{mark}{row.number:>2} {row.limit:11} {row.named:11} {row.remaining:>7,} left  {row.words}: {row.sentence}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench bottleneck", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other situations")
    parser.add_argument("--first", type=int, default=1, help="number of the first situation (default 1)")
    parser.add_argument("--count", type=int, default=COUNT, help=f"situations (default {COUNT})")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    rows = list(measure(options.seed, range(options.first, options.first + options.count)))
    if options.json:
        print(json.dumps([{**asdict(row), "right": row.right} for row in rows], ensure_ascii=False))
        return
    print(f"   {'':>2} {'forced':11} {'named':11}")
    print("\n".join(map(line, rows)))
    right = sum(row.right for row in rows)
    met = "met   " if right >= GOAL * len(rows) / COUNT else "MISSED"
    print(f"\n{met} the right one is named in >= {GOAL} of {COUNT}: {right} of {len(rows)}")


if __name__ == "__main__":
    main()
