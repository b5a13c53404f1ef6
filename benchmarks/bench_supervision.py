"""What supervision costs compared with bare Trio, in one run: python -m benchmarks.bench_supervision [--json].

Rounds of both sides alternate, so that a machine that slows down slows both; figures are medians, ratios compare them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import trio
import trio.testing

from benchmarks.ending import end_at_sigterm
from supervision import ChildSpec, Intensity, SupervisionEvent, Supervisor

ACTORS = 1000
CRASHES = 300
ROUNDS = 7


def quiet(event: SupervisionEvent) -> None:
    """Ignore the event: only making it is measured."""


class Waiter:
    """Ready at once, then waits to be stopped; crashes if ``crash`` is set."""

    def __init__(self) -> None:
        self.fate = trio.Event()
        self.crash = False

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        await self.fate.wait()
        if self.crash:
            raise ValueError("told to")

    def stop(self) -> None:
        self.fate.set()


async def spawn_supervised() -> float:
    specs = [ChildSpec(f"actor-{n}", Waiter) for n in range(ACTORS)]
    supervisor = Supervisor("bench", specs, observe=quiet)
    async with trio.open_nursery() as nursery:
        start = time.perf_counter()
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        took = time.perf_counter() - start
        supervisor.stop()
    return took * 1000


async def spawn_bare() -> float:
    waiters = [Waiter() for _ in range(ACTORS)]
    async with trio.open_nursery() as nursery:
        start = time.perf_counter()
        for waiter in waiters:
            await nursery.start(lambda task_status, waiter=waiter: waiter.run(task_status.started))
        took = time.perf_counter() - start
        for waiter in waiters:
            waiter.stop()
    return took * 1000


async def restarts_supervised() -> list[float]:
    """Microseconds from the crash to the successor's ready."""
    now: list[Waiter] = []
    ready_again = trio.Event()

    class Reviving(Waiter):
        async def run(self, ready: Callable[[], None]) -> None:
            now[:] = [self]
            ready_again.set()
            await super().run(ready)

    supervisor = Supervisor(
        "bench", [ChildSpec("actor", Reviving)], intensity=Intensity(CRASHES + 1, 1e6), observe=quiet
    )
    times = []
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        for _ in range(CRASHES):
            ready_again = trio.Event()
            start = time.perf_counter()
            now[0].crash = True
            now[0].fate.set()
            await ready_again.wait()
            times.append((time.perf_counter() - start) * 1e6)
            await trio.testing.wait_all_tasks_blocked()
        supervisor.stop()
    return times


async def restarts_bare() -> list[float]:
    """The same with as little Trio as possible: catch the error in the task, and run the next actor in a loop."""
    now: list[Waiter] = []
    ready_again = trio.Event()
    times = []

    async def loop() -> None:
        while True:
            waiter = Waiter()
            now[:] = [waiter]
            try:
                await waiter.run(ready_again.set)
            except ValueError:
                continue

    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(CRASHES):
            ready_again = trio.Event()
            start = time.perf_counter()
            now[0].crash = True
            now[0].fate.set()
            await ready_again.wait()
            times.append((time.perf_counter() - start) * 1e6)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return times


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure() -> list[dict[str, object]]:
    samples: dict[str, list[float]] = {name: [] for name in ("spawn", "spawn bare")}
    again: list[float] = []
    bare: list[float] = []
    for _ in range(ROUNDS):
        samples["spawn"].append(trio.run(spawn_supervised))
        samples["spawn bare"].append(trio.run(spawn_bare))
        again += trio.run(restarts_supervised)
        bare += trio.run(restarts_bare)
    median = {name: statistics.median(values) for name, values in samples.items()}
    figures = [
        (f"spawn until {ACTORS} actors are ready", "ms", median["spawn"], median["spawn bare"], "nursery.start"),
        ("crash → ready again, p50", "µs", percentile(again, 0.5), percentile(bare, 0.5), "loop with try"),
        ("crash → ready again, p99", "µs", percentile(again, 0.99), percentile(bare, 0.99), "loop with try"),
    ]
    return [
        {
            "what": what, "unit": unit, "supervision": round(ours, 1), "bare": round(theirs, 1), "beside": beside,
            "ratio": round(ours / theirs, 2),
        }
        for what, unit, ours, theirs, beside in figures
    ]  # fmt: skip


def main() -> None:
    end_at_sigterm()
    rows = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(rows, ensure_ascii=False))
        return
    print(f"{'':40}{'supervision':>14}{'bare Trio':>14}{'ratio':>8}")
    for row in rows:
        what = f"{row['what']} ({row['unit']})"
        print(f"{what:40}{row['supervision']:>14,}{row['bare']:>14,}{row['ratio']:>8}  {row['beside']}")


if __name__ == "__main__":
    main()
