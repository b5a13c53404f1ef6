"""What a backup of a large base costs: python -m benchmarks.bench_backup [--subscribers N] [--json].

One instance with the base in it, and small calls all the time. Shown are the backup's time and size, how long the calls
took meanwhile, and how long the restoration and the first start after it take.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import trio

from benchmarks.ending import end_at_sigterm
from benchmarks.progress import say
from benchmarks.storage.instance import Instance
from benchmarks.storage.walk import CHANNELS, pinged
from storage import admin
from storage.backups.backing_up import back_up
from storage.backups.restoring import restore
from storage.store import Store

MEMORY_A_SUBSCRIBER = 400
ROWS = 2000


async def _fill(instance: Instance, subscribers: int) -> None:
    """Half the tokens are Apple's, half Google's, and random as theirs are: a checkpoint is compressed."""
    draw = random.Random(1)

    def row(n: int) -> tuple[object, ...]:
        token = draw.randbytes(32).hex() if n % 2 else base64.urlsafe_b64encode(draw.randbytes(122)).decode()[:163]
        at = 1_790_000_000_000 + n * 997
        return (CHANNELS[n % 2], token, "token", at, "de", "Europe/Berlin", "DE", "5.1", "", None, [], {})

    async with instance.linked() as link:
        store = Store(link)
        for first in range(0, subscribers, ROWS):
            await store.subscribers_put([row(n) for n in range(first, min(first + ROWS, subscribers))])


def measure(folder: Path, subscribers: int) -> list[dict[str, Any]]:
    """Fill, back up, restore, start."""
    memory = max(256 << 20, subscribers * MEMORY_A_SUBSCRIBER)
    instance = Instance(folder / "data", list(CHANNELS), memory)
    instance.start()
    restored = Instance(folder / "restored", list(CHANNELS), memory)
    try:
        say(f"{subscribers:,} subscribers")
        trio.run(_fill, instance, subscribers)
        used = admin.ask(folder / "data" / "admin.sock", "measure")["used"]
        resident, times = instance.rss, dict[str, float]()
        with pinged(instance, times):
            began = time.perf_counter()
            made = back_up(folder / "data", folder / "backup", broadside="bench", progress=_silent)
            took = time.perf_counter() - began
        grown = instance.rss - resident
        say("backed up")
        began = time.perf_counter()
        restore(folder / "backup", folder / "restored", go_on=False, progress=_silent)
        back = time.perf_counter() - began
        start = restored.start()
    finally:
        instance.remove()
        restored.remove()
    return [
        {"what": f"backup of {subscribers:,} subscribers", "value": round(took, 2), "unit": "s"},
        {"what": "  a small call meanwhile, p99", "value": round(times["p99"], 2), "unit": "ms"},
        {"what": "  the longest", "value": round(times["worst"], 2), "unit": "ms"},
        {"what": "  Tarantool grows by", "value": round(grown, 1), "unit": "MB"},
        {"what": "rows in memory, a subscriber", "value": round(used / subscribers), "unit": "bytes"},
        {"what": "backup, a subscriber", "value": round(made.bytes / subscribers), "unit": "bytes"},
        {"what": "restoration", "value": round(back, 2), "unit": "s"},
        {"what": "first start after it", "value": round(start, 2), "unit": "s"},
    ]


def _silent(step: str, done: int, total: int) -> None:
    pass


def main() -> None:
    """Measure and print."""
    end_at_sigterm()
    parser = argparse.ArgumentParser(prog="bench backup", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1_000_000, help="size of the base")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        rows = measure(Path(folder), options.subscribers)
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['what']:40} {row['value']:>12,} {row['unit']}")


if __name__ == "__main__":
    main()
