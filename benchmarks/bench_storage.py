"""What store and tubes cost for each recipient: python -m benchmarks.bench_storage [--subscribers N] [--json].

One process with the real walkers and batcher, one Tarantool, loopback. The small base is walked several times, and the
median is used. The ratio shows whether a row costs the same in a small base and in a large one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks.ending import end_at_sigterm
from benchmarks.progress import say
from benchmarks.storage.instance import Instance
from benchmarks.storage.walk import CHANNELS, Cost, drain, fill, join, pinged, walk
from broadside.api.audience_request import AudienceRequest, TagConditions
from broadside.newsroom.audience_desk import AudienceDesk
from storage.store import Store
from storage.tarantool_program import tarantool
from storage.tubes import Tubes

PAGE_READ = Path(__file__).parent / "storage" / "page_read.lua"
LUA = Path(__file__).parents[1] / "storage" / "lua"
SMALL = 20_000
SMALL_WALKS = 7
COUNTS = 5
COUNT_OF_2M = 2.0
"""Seconds that an exact count of 2,000,000 subscribers may take."""
ESTIMATES = 200
ESTIMATE = 50
"""Milliseconds that an estimate before Fire may take."""
AUDIENCE = AudienceRequest(
    locales=["de"], countries=["DE"], zones=["Europe/Berlin"], tags=TagConditions(none=["crime", "games"])
)
"""Of all conditions that a row of the bench keeps."""


async def small_base(instance: Instance) -> list[Cost]:
    """The costs of several walks of the small base, each drained afterwards."""
    costs = []
    async with instance.linked() as link, trio.open_nursery() as nursery:
        await join(link, nursery)
        await fill(link, SMALL)
        for _ in range(SMALL_WALKS):
            costs.append(await walk(link, instance, SMALL))
            await drain(link, instance, SMALL)
        nursery.cancel_scope.cancel()
    return costs


async def large_base(instance: Instance, subscribers: int) -> dict[str, Any]:
    """Walk the large base once while another process makes small calls; kill and restart the instance; drain it."""
    times: dict[str, float] = {}
    counting: dict[str, float] = {}
    async with instance.linked() as link, trio.open_nursery() as nursery:
        await join(link, nursery)
        await fill(link, subscribers)
        statistics_of = Tubes(link, "bench").statistics
        filled = (await statistics_of())["memory"]["used"]
        desk = AudienceDesk(Store(link))
        say("estimating an audience, as before Fire")
        estimated = await times_of(partial(desk.count, AUDIENCE, exact=False))
        chosen = await desk.choose(AUDIENCE, None, "")
        foreseen = await times_of(partial(desk.by_zones, chosen))
        with pinged(instance, counting):
            counted = await count_audience(desk)
        say(f"an audience counted exactly in {counted:.2f} s; a small call meanwhile: {counting}")
        with pinged(instance, times):
            walked = await walk(link, instance, subscribers)
        full = (await statistics_of())["memory"]["used"]
        rss = instance.rss
        nursery.cancel_scope.cancel()
    instance.kill()
    restart = instance.start()
    async with instance.linked() as link, trio.open_nursery() as nursery:
        await join(link, nursery)
        drained, tasks = await drain(link, instance, subscribers)
        nursery.cancel_scope.cancel()
    return {
        "walked": walked, "drained": drained, "tasks": tasks, "times": times, "base_mb": filled / 1e6,
        "batches_mb": (full - filled) / 1e6, "rss": rss, "restart": restart,
        "counted": counted, "counting": counting, "estimated": estimated, "foreseen": foreseen,
    }  # fmt: skip


async def count_audience(desk: AudienceDesk) -> float:
    """Count an audience exactly, several times; the median of the seconds."""
    seconds = []
    for _ in range(COUNTS):
        started = time.perf_counter()
        await desk.count(AUDIENCE, exact=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


async def times_of(estimate: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Estimate an audience many times: p50 and p99 of the milliseconds."""
    times = []
    for _ in range(ESTIMATES):
        started = time.perf_counter()
        await estimate()
        times.append((time.perf_counter() - started) * 1e3)
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def page_read(folder: Path) -> dict[str, float]:
    """µs of the processor that reading a row of a page costs, by what is asked of it."""
    folder.mkdir()
    command = [tarantool() or "tarantool", str(PAGE_READ), str(LUA), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(subscribers: int) -> list[dict[str, Any]]:
    """All figures: one dict each, with what, value, unit and goal."""
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        small = Instance(Path(folder) / "small", CHANNELS, 256 << 20)
        large = Instance(Path(folder) / "large", CHANNELS, 2 << 30)
        try:
            say("reading pages, with audiences of several conditions")
            read = page_read(Path(folder) / "read")
            say(f"walking {SMALL:,} subscribers {SMALL_WALKS} times")
            small.start()
            costs = trio.run(small_base, small)
            small.kill()
            say(f"filling a base of {subscribers:,}, walking it, killing -9, draining")
            large.start()
            found = trio.run(large_base, large, subscribers)
        finally:
            small.remove()
            large.remove()
    walked, drained, tasks, times = found["walked"], found["drained"], found["tasks"], found["times"]
    estimated, foreseen = found["estimated"], found["foreseen"]
    counted, counting, limit = found["counted"], found["counting"], COUNT_OF_2M * subscribers / 2_000_000
    few = statistics.median(cost.python_us + cost.tarantool_us for cost in costs)
    many = walked.python_us + walked.tarantool_us
    batches = f"{tasks:,} batches"
    return [
        _row("rows walked into tubes", walked.rate, "1/s", "≥ 200,000", walked.rate >= 200_000),
        _row("  Python a row", walked.python_us, "µs"),
        _row("  Tarantool a row", walked.tarantool_us, "µs"),
        _row(f"  CPU a row, beside {SMALL:,} rows", many / few, "×", "< 1.2", many / few < 1.2),
        _row("  a small call meanwhile, p50", times["p50"], "ms"),
        _row("  a small call meanwhile, p99", times["p99"], "ms", "< 5", times["p99"] < 5),
        _row("batches taken and settled", tasks / drained.seconds, "1/s"),
        _row("  recipients taken and settled", drained.rate, "1/s"),
        _row("  Python a recipient", drained.python_us, "µs"),
        _row("  Tarantool a recipient", drained.tarantool_us, "µs"),
        _row(f"memory of {subscribers:,} subscribers", found["base_mb"], "MB"),
        _row(f"memory of {batches}", found["batches_mb"], "MB"),
        _row("resident, with both", found["rss"], "MB"),
        _row("restart after kill -9, with both", found["restart"], "s"),
        _row("page read, a row, whole channels", read["none"], "µs"),
        _row("  of an audience without conditions", read["channel"], "µs"),
        _row("  locale, country, two tags", read["four"], "µs", "≤ 0.7", read["four"] <= 0.7),
        _row("  the same after 200 other campaigns", read["later"], "µs", "≤ 0.7", read["later"] <= 0.7),
        _row("audience estimated before Fire, p50", estimated["p50"], "ms"),
        _row("  p99", estimated["p99"], "ms", f"≤ {ESTIMATE}", estimated["p99"] <= ESTIMATE),
        _row("  estimated by zone, p50", foreseen["p50"], "ms"),
        _row("  by zone, p99", foreseen["p99"], "ms", f"≤ {ESTIMATE}", foreseen["p99"] <= ESTIMATE),
        _row(f"audience of {subscribers:,} counted exactly", counted, "s", f"≤ {limit:g}", counted <= limit),
        _row("  a small call meanwhile, p50", counting["p50"], "ms"),
        _row("  a small call meanwhile, p99", counting["p99"], "ms", "≤ 8", counting["p99"] <= 8),
        _row("audience counted exactly, a row", read["count"], "µs"),
        _row("  its longest slice", read["slice_ms"], "ms", "≤ 5", read["slice_ms"] <= 5),
    ]


def _row(what: str, value: float, unit: str, goal: str = "", met: bool | None = None) -> dict[str, Any]:
    return {"what": what, "value": round(value, 2 if value < 100 else 0), "unit": unit, "goal": goal, "met": met}


def main() -> None:
    """Measure and print."""
    end_at_sigterm()
    parser = argparse.ArgumentParser(prog="bench storage", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=2_000_000, help="size of the large base")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    rows = measure(options.subscribers)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        verdict = "" if row["met"] is None else f"  goal {row['goal']}: {'met' if row['met'] else 'MISSED'}"
        print(f"{row['what']:42}{row['value']:>12,} {row['unit']:4}{verdict}")


if __name__ == "__main__":
    main()
