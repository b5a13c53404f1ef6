"""Broadside compared with a straightforward script: python -m benchmarks.bench_peers [--subscribers N] [--json].

The script, which a user might write instead (asyncio, aioapns, rows from Tarantool by asynctnt, no queue), and a whole
node run one after the other on the same cores, with the same base of iPhones and the same sink: nginx, which echoes
``apns-id``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio

from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import MESSAGE, Rig, phone
from benchmarks.storage.instance import Instance
from benchmarks.transport.sinks import Files
from broadside.api.subscriber import Subscriber
from storage.store import Store

GOAL = 10.0


def iphone(n: int) -> Subscriber:
    """The n-th subscriber, an iPhone."""
    return phone(2 * n)


def script(instance: Instance, files: Files, port: int, subscribers: int) -> dict[str, Any]:
    """Run the straightforward script over the whole base and return its row."""
    endpoint = instance.embedded.endpoint
    order = {
        "uri": endpoint.uri, "user": endpoint.user, "password": endpoint.password, "port": port, "ca": str(files.ca),
        "key": files.apns_key.read_text(), "title": MESSAGE.title, "body": MESSAGE.body,
    }  # fmt: skip
    before = instance.cpu
    command = [sys.executable, "-m", "benchmarks.pipeline.straightforward"]
    done = subprocess.run(command, input=json.dumps(order), stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout)
    return _row(
        "straightforward script", subscribers, said["seconds"], said["cpu"] + instance.cpu - before, said["delivered"]
    )


def _row(client: str, subscribers: int, seconds: float, cpu: float, delivered: float) -> dict[str, Any]:
    return {
        "client": client, "subscribers": subscribers, "seconds": round(seconds, 2),
        "pushes_per_second": round(subscribers / seconds, 1),
        "cpu_us_per_push": round(cpu / subscribers * 1e6, 2), "lost": subscribers - int(delivered),
    }  # fmt: skip


async def fill(instance: Instance, subscribers: int) -> None:
    """Write the base."""
    async with instance.linked() as link:
        store = Store(link)
        for start in range(0, subscribers, 1_000):
            phones = [iphone(n) for n in range(start, min(start + 1_000, subscribers))]
            rows: list[tuple[object, ...]] = [
                (p.channel, p.token, p.kind, 0, p.locale, p.tz, p.country, p.app_version, "", None, [], {})
                for p in phones
            ]
            await store.subscribers_put(rows)


def measure(subscribers: int) -> list[dict[str, Any]]:
    """Both rows."""
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as name:
        folder = Path(name)
        rig = Rig(folder, None, 1, iphone)
        with rig.sink("echoing") as sink:
            assert sink is not None
            instance = Instance(folder / "base", ["ios-news"], 256 << 20)
            try:
                instance.start()
                trio.run(fill, instance, subscribers)
                rows = [script(instance, *sink, subscribers)]
            finally:
                instance.remove()
            with rig.node(sink) as client:
                rig.fill(client, subscribers)
                ours = rig.campaign(client, "echoing")
        cpu = ours.cpu_us_per_push * subscribers / 1e6
        rows.append(_row("broadside", subscribers, ours.seconds, cpu, subscribers - ours.lost))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench peers", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=50_000, help="iPhones in the base")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    rows = measure(options.subscribers)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    print(f"{'':24}{'subscribers':>12}{'seconds':>10}{'pushes/s':>10}{'CPU µs':>10}{'lost':>6}")
    for row in rows:
        print(
            f"{row['client']:24}{row['subscribers']:>12,}{row['seconds']:>10.2f}{row['pushes_per_second']:>10,.0f}"
            f"{row['cpu_us_per_push']:>10.2f}{row['lost']:>6}"
        )
    theirs, ours = rows
    for what, times in (
        ("pushes/s", ours["pushes_per_second"] / theirs["pushes_per_second"]),
        ("CPU a push", theirs["cpu_us_per_push"] / ours["cpu_us_per_push"]),
    ):
        print(f"{'met   ' if times >= GOAL else 'MISSED'} {what}: >= {GOAL:g} times: {times:.1f}")


if __name__ == "__main__":
    main()
