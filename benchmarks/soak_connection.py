"""Does a connection's memory grow? ``python -m benchmarks.soak_connection [--pushes 25000000] [--json]``.

Millions of pushes through ``Transport.send`` over one connection to the counting sink, with the client's memory sampled
meanwhile. Exit code 1 if it grew by 2 MB or more after the warm-up. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.transport import ours
from benchmarks.transport.meter import Meter, Row, resident
from benchmarks.transport.sinks import Files, counting_sink

LIMIT_MB = 2.0
STREAMS = 1_000
_SAMPLES = 100
_CORE = 1


class SoakMeter(Meter):
    """Counts pushes, and samples memory a hundred times."""

    def __init__(self, warm_up: int, pushes: int, progress: Progress) -> None:
        """The first ``warm_up`` pushes are not measured, the next ``pushes`` are."""
        super().__init__(Row("apns", STREAMS, 1, 0, "counting"), 0.0, None)
        self.samples: list[float] = []
        self.seconds = 0.0
        self._warm_up = warm_up
        self._wanted = pushes
        self._warming = self._next = 0
        self._progress = progress
        self._task = progress.add_task("warming up", total=warm_up + pushes, note="")

    @property
    def warm(self) -> bool:
        return self._warming >= self._warm_up

    @property
    def over(self) -> bool:
        return self.row.pushes >= self._wanted

    def start(self) -> None:
        super().start()
        self.samples.append(self.row.rss_start_mb)
        self.seconds = time.perf_counter()

    def count(self, n: int) -> None:
        super().count(n)
        if not self.samples:
            self._warming += n
            self._progress.update(self._task, completed=self._warming)
        elif self.row.pushes >= self._next:
            self._next += self._wanted // _SAMPLES
            self.samples.append(resident())
            grown = self.samples[-1] - self.samples[0]
            note = f"RSS {self.samples[-1]:.1f} MB ({grown:+.1f})"
            done = self._warm_up + self.row.pushes
            self._progress.update(self._task, description="pushing", completed=done, note=note)

    def stop(self) -> None:
        super().stop()
        self.seconds = time.perf_counter() - self.seconds
        self.samples.append(resident())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pushes", type=int, default=25_000_000, help="over the one connection, after the warm-up")
    parser.add_argument("--warm-up", type=int, default=1_000_000, help="pushes before memory is first measured")
    parser.add_argument("--json", action="store_true", help="one object instead of a line")
    options = parser.parse_args()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} / {task.total:,.0f}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    with tempfile.TemporaryDirectory() as name, bars:
        files = Files(Path(name))
        files.make(0)
        with counting_sink(files.directory, STREAMS, 0) as port:
            os.sched_setaffinity(0, {_CORE})
            meter = SoakMeter(options.warm_up, options.pushes, bars)
            trio.run(ours.transport, "apns", port, files, meter)
    row, first = meter.row, meter.samples[0]
    grown = round(meter.samples[-1] - first, 1)
    passed = grown < LIMIT_MB
    if options.json:
        figures = {
            "pushes": row.pushes,
            "warm_up": options.warm_up,
            "connections": 1,
            "streams": STREAMS,
            "seconds": round(meter.seconds, 1),
            "pushes_per_second": row.pushes_per_second,
            "cpu_us_per_push": row.cpu_us_per_push,
            "rss_start_mb": first,
            "rss_end_mb": meter.samples[-1],
            "rss_most_mb": max(meter.samples),
            "grown_mb": grown,
            "limit_mb": LIMIT_MB,
            "passed": passed,
        }
        print(json.dumps(figures))
    else:
        print(
            f"{row.pushes:,} pushes over one connection in {meter.seconds:.0f} s ({row.pushes_per_second:,.0f}/s, "
            f"{row.cpu_us_per_push} µs of CPU each); RSS {first} MB after {options.warm_up:,} pushes of warming up, "
            f"{meter.samples[-1]} MB at the end, {max(meter.samples)} MB at most: {grown:+.1f} MB, "
            f"{'below' if passed else 'NOT BELOW'} {LIMIT_MB:g}"
        )
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
