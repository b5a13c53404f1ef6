"""``./dev soak MINUTES``: campaigns back to back on one node, with random faults; nothing is lost, nothing grows."""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import trio

from tests.system.faults import FAULTS
from tests.system.judge import judge
from tests.system.plan import Plan
from tests.system.processes import rss
from tests.system.reaper import reaped
from tests.system.run import Run, kept

SUBSCRIBERS = 4_000
WORKERS = 2
MIX = ["nothing", "nothing", "nothing", "kill-worker", "kill-tarantool", "kill-twin", "stop-twin", "stop-node"]
WARM_UP = 3
"""Campaigns before the first sample: dead phones leave the base in the first."""
GROWTH = {
    "node MB": 8.0, "workers MB": 16.0, "tarantool MB": 16.0, "arena MB": 4.0,
    "fds": 6.0, "worker fds": 2.0, "tasks": 6.0, "worker tasks": 4.0,
}  # fmt: skip
"""How much the last third of the samples may lie above the first: by their medians, of what is counted by their least
(idle connections of the API stay open for five seconds)."""
COUNTED = ("fds", "worker fds", "tasks", "worker tasks")


class Soak:
    """One house, campaign after campaign."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.run = Run(Plan(seed, "kill-twin", SUBSCRIBERS, WORKERS, 0.3, {}), folder)
        self.samples: list[dict[str, float]] = []
        self.broken: list[str] = []
        self.campaigns = 0
        self.pushes = 0

    async def go(self, seconds: float) -> None:
        """All of it."""
        self.run.folder.mkdir(parents=True, exist_ok=True)
        deadline = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            try:
                await self.run._build(nursery)
                while trio.current_time() < deadline:
                    await self.campaign()
            finally:
                with trio.CancelScope(shield=True):
                    await self.run._clear()
                nursery.cancel_scope.cancel()

    async def campaign(self) -> None:
        """One, with a fault or none, judged for itself."""
        run, name = self.run, self.chance.choice(MIX)
        for twin in run.twins.values():  # the ledgers of the last one have been judged
            if twin.ledger.exists():
                os.truncate(twin.ledger, 0)
            twin._read = 0
        values = FAULTS[name].draw(self.chance)
        if "seconds" in values:
            values["seconds"] = min(values["seconds"], 4.0)
        run.plan = Plan(run.plan.seed, name, SUBSCRIBERS, WORKERS, round(self.chance.uniform(0.1, 0.6), 2), values)
        run.kind = FAULTS[name]
        run.bound, run.laws, run.notes, run.ended_at = 0, [], {}, None
        run.fired, run.standing = [], []
        run.repeats.clear()
        began = trio.current_time()
        run.campaigns = []
        await run._fire()
        found = judge(run, round(trio.current_time() - began, 1))
        self.campaigns += 1
        self.pushes += sum(tally["delivered"] for tally in run.campaigns[0].report["channels"].values())
        self.broken += [f"campaign {self.campaigns}, {name}: {text}" for text in found.broken]
        sample = await self.sample()
        if self.campaigns > WARM_UP:
            self.samples.append(sample)
        figures = ", ".join(f"{key} {value:.0f}" for key, value in sample.items())
        print(
            f"{self.campaigns}: {name}, {found.seconds} s, lost {found.lost}, duplicates {found.duplicates}"
            f" (bound {found.bound}); {figures}{''.join(f'; BROKEN {text}' for text in found.broken)}",
            file=sys.stderr,
            flush=True,
        )

    async def sample(self) -> dict[str, float]:
        """Memory and descriptors now."""
        node, workers = self.run.node.pid, self.run.node.workers()
        status = await self.run.node.get("/v1/status")
        told = [worker["tasks"] or 0 for worker in status["workers"]]
        return {
            "node MB": rss(node) / 2**20,
            "workers MB": max(map(rss, workers), default=0) / 2**20,
            "tarantool MB": rss(self.run.tarantool()) / 2**20,
            "arena MB": status["queue"]["memory"]["used"] / 2**20,
            "fds": float(len(os.listdir(f"/proc/{node}/fd"))),  # noqa: PTH208 - names alone
            "worker fds": float(max(len(os.listdir(f"/proc/{pid}/fd")) for pid in workers)),  # noqa: PTH208
            "tasks": float(status["tasks"]),
            "worker tasks": float(max(told)),
        }

    def growth(self) -> dict[str, float]:
        """What the last third of the samples has more than the first."""
        third = len(self.samples) // 3
        if not third:
            return {}
        first, last = self.samples[:third], self.samples[-third:]
        found = {}
        for key in GROWTH:
            middle = min if key in COUNTED else statistics.median
            found[key] = middle([s[key] for s in last]) - middle([s[key] for s in first])
        return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, help="of the faults (default: the time)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout; progress goes to stderr")
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    Path("var").mkdir(mode=0o700, exist_ok=True)  # a node refuses a data folder that is open to others
    folder = (Path("var/soak") / str(seed)).absolute()
    print(f"seed {seed}, {SUBSCRIBERS:,} phones, {WORKERS} workers", file=sys.stderr)
    soak = Soak(seed, folder)
    with kept(folder, lambda: bool(soak.broken)), reaped(folder):
        trio.run(soak.go, given.minutes * 60)
    growth = soak.growth()
    grown = [f"{key} grew by {by:.1f}, more than {GROWTH[key]:g}" for key, by in growth.items() if by > GROWTH[key]]
    result: dict[str, Any] = {
        "seed": seed, "campaigns": soak.campaigns, "pushes": soak.pushes, "growth": growth,
        "broken": soak.broken + grown,
    }  # fmt: skip
    if given.json:
        print(json.dumps(result))
    else:
        told = ", ".join(f"{key} {by:+.1f}" for key, by in growth.items()) or "too few campaigns to say"
        print(f"{soak.campaigns} campaigns, {soak.pushes:,} pushes; growth from the first third to the last: {told}")
        print("\n".join(result["broken"]) or "every law held, and nothing grew")
    return 1 if result["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
