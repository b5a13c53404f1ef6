"""How soon an armed campaign reaches the first phone: python -m benchmarks.bench_armed [--subscribers N] [--json].

Campaigns to the whole base are armed, and fired after a pause; beside them the same campaigns are fired at once. The
time is from before the request to Fire until the twin of a channel has accepted the first push, by the twin's own
ledger. Each campaign is cancelled once both channels have one. The node is started anew several times: the first
campaign after a start is an armed one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bench_lanes import FirstPush, _ended, _sizes, _until
from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import MESSAGE, Rig
from benchmarks.progress import say
from broadside.api.api_client import Client
from broadside.api.campaign_report import ArmedFire, FireRequest
from broadside.api.v1 import table

GOAL = 200
"""Milliseconds."""
PAUSE = 3.0
"""Seconds between arming and firing."""
NEWS = FireRequest(message=MESSAGE, kind="breaking")


def measure(rig: Rig, client: Client, *, armed: bool) -> int:
    """Fire one campaign; return the milliseconds until the first push was accepted."""
    id = ""
    if armed:
        id = client.fire(msgspec.structs.replace(NEWS, arm=True)).id
    time.sleep(PAUSE)
    ledgers = _sizes(rig)
    began = time.time_ns() // 1_000_000
    if armed:
        client.call(table.FIRE_ARMED, ArmedFire(), id=id)
    else:
        id = client.fire(NEWS).id
    first = FirstPush(ledgers, id)
    _until(first.everywhere)
    client.call(table.CANCEL, id=id)
    _until(partial(_ended, client, id))
    return min(first.times.values()) - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench armed", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200_000, help="size of the base")
    parser.add_argument("--starts", type=int, default=3, help="of the node")
    parser.add_argument("--rounds", type=int, default=3, help="campaigns of each sort, after each start")
    parser.add_argument("--armed", action="store_true", help="armed campaigns alone")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    found: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        rig = Rig(Path(folder), None)
        for _ in range(options.starts):
            with rig.node(None) as client:
                say(f"{options.subscribers:,} subscribers")
                rig.fill(client, options.subscribers)
                for _ in range(options.rounds):
                    for armed in (True,) if options.armed else (True, False):
                        what = "armed campaign" if armed else "campaign fired at once"
                        found.setdefault(what, []).append(measure(rig, client, armed=armed))
                        say(f"{what}: {found[what][-1]} ms")
    rows: list[dict[str, Any]] = []
    for what, times in found.items():
        goal = {"goal": f"≤ {GOAL}", "met": max(times) <= GOAL} if what == "armed campaign" else {}
        rows += [
            {"what": f"{what}: first push, median", "value": statistics.median(times), "unit": "ms"},
            {"what": f"{what}: longest", "value": max(times), "unit": "ms", **goal},
        ]
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    print(f"{'Fire → first push accepted':44} {'ms':>9}")
    for row in rows:
        verdict = f"  goal {row['goal']}: {'met' if row['met'] else 'MISSED'}" if "goal" in row else ""
        print(f"{row['what']:44} {row['value']:>9,.0f}{verdict}")


if __name__ == "__main__":
    main()
