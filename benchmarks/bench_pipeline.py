"""From Fire to the last settlement: python -m benchmarks.bench_pipeline [--subscribers N] [--json] [--plots FOLDER].

A whole node (workers, embedded Tarantool with its log written, TLS) and the sink share this machine. Bases of 20,000,
200,000 and N subscribers, each fired at a sink that only counts, at nginx, and at the twins, which check every push.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.goals import judge
from benchmarks.pipeline.plots import draw
from benchmarks.pipeline.rig import SINKS, STREAMS, Rig, Row
from benchmarks.progress import say
from benchmarks.transport import meter, native
from benchmarks.transport.sinks import Files
from broadside.config.config import CONNECTIONS
from broadside.machine_limits import cores

SIZES = (20_000, 200_000)
SMALL_RUNS = 5
"""Campaigns over the smallest base; the median is used, because one takes only a fifth of a second."""


def measure(sizes: list[int], sinks: list[str], workers: int | None, connections: int) -> Iterator[Row]:
    """Yield the rows: the base grows, and at each size a campaign is fired at each sink."""
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        rig = Rig(Path(folder), workers, connections)
        for size in sizes:
            for kind in sinks:
                say(f"{size:,} subscribers, {kind}")
                with rig.sink(kind) as sink, rig.node(sink) as client:
                    rig.fill(client, size)
                    runs = [rig.campaign(client, kind) for _ in range(SMALL_RUNS if size <= min(SIZES) else 1)]
                    h2load_us = h2load(sink, Path(folder)) if sink is not None and kind == "counting" else None
                median = statistics.median_low(run.cpu_us_per_push for run in runs)
                yield replace(next(run for run in runs if run.cpu_us_per_push == median), h2load_us=h2load_us)


def h2load(sink: tuple[Files, int], folder: Path) -> float | None:
    """The CPU of a push by h2load, in C, to the same sink (µs); None: it is not installed (Debian's nghttp2-client)."""
    if shutil.which("h2load") is None:
        say("h2load is missing: apt-get install nghttp2-client")
        return None
    anywhere = f"0-{(os.cpu_count() or 1) - 1}"
    return native.h2load(meter.Row("h2load", STREAMS, 1, 0, "counting"), sink[1], folder, anywhere, 3).cpu_us_per_push


def table(rows: list[Row]) -> Iterator[str]:
    """The lines of the table, for a person."""
    heads = ("seconds", "pushes/s", "CPU µs", "lost", "twice", "RSS MB")
    widths = (8, 9, 7, 5, 5, 7)
    heading = " ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
    yield f"{'subscribers':>11} {'sink':9} {heading}"
    for row in rows:
        yield (
            f"{row.subscribers:>11,} {row.sink:9} {row.seconds:>8.2f} {row.pushes_per_second:>9,.0f}"
            f" {row.cpu_us_per_push:>7.2f} {row.lost:>5} {row.duplicates:>5} {row.rss_mb:>7.1f}"
        )
    yield ""
    stages = ["walk", "batch", "take", "send", "settle", "link", "rest", "loop", "tarantool", "node"]
    yield "CPU µs a push, by stage (the first eight are the workers') and of the sink"
    yield f"{'subscribers':>11} {'sink':9} " + " ".join(f"{stage:>9}" for stage in [*stages, "sink"])
    for row in rows:
        each = {**row.stages, "sink": row.processes.get("sink", 0.0) / row.subscribers * 1e6}
        figures = " ".join(f"{each.get(stage, 0.0):>9.2f}" for stage in [*stages, "sink"])
        yield f"{row.subscribers:>11,} {row.sink:9} {figures}"
    yield ""
    kinds = ["workers", "tarantool", "node", "sink"]
    yield "seconds of CPU by process, and Fire → first push accepted where the sink writes that down"
    yield f"{'subscribers':>11} {'sink':9} " + " ".join(f"{kind:>9}" for kind in [*kinds, "first ms"])
    for row in rows:
        figures = " ".join(f"{row.processes.get(kind, 0.0):>9.2f}" for kind in kinds)
        first = "–" if row.first_ms is None else f"{row.first_ms}"
        yield f"{row.subscribers:>11,} {row.sink:9} {figures} {first:>9}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench pipeline", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=2_000_000, help="size of the largest base")
    parser.add_argument("--sinks", default=",".join(SINKS), help=f"some of {','.join(SINKS)}")
    parser.add_argument("--workers", type=int, help="as in the config; default: one per core")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="as in the config")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    parser.add_argument("--plots", type=Path, help="write rate.svg and stages.svg there")
    options = parser.parse_args()
    sizes = sorted({size for size in SIZES if size < options.subscribers} | {options.subscribers})
    end_at_sigterm()
    rows = list(measure(sizes, options.sinks.split(","), options.workers, options.connections))
    if options.plots is not None:
        draw(rows, options.plots)
    if options.json:
        print(json.dumps([row.plain() for row in rows], ensure_ascii=False))
        return
    print("\n".join(table(rows)))
    print(
        f"\n{cores()} cores for all of it. CPU: workers and Tarantool. Quotas are off: these are not the providers.\n"
    )
    for met, sentence in judge(rows):
        print(f"{'met   ' if met else 'MISSED'} {sentence}")


if __name__ == "__main__":
    main()
