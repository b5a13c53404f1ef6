"""How long other calls wait during a walk: a process that makes small calls, and prints how long they took.

``python -m benchmarks.storage.ping URI USER`` reads the password from its standard input, calls every 2 ms until the
input ends, and prints one JSON object with p50, p99 and the worst, in ms.
"""

from __future__ import annotations

import json
import sys
import time

import trio

from storage.link import Endpoint, Link

EVERY = 0.002


async def _main(uri: str, user: str) -> None:
    password = (await trio.to_thread.run_sync(sys.stdin.readline)).strip()
    link = Link({"queue": Endpoint(uri, user, password)})
    times: list[float] = []
    told = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: link.run(task_status.started))

        async def until_told() -> None:
            await trio.to_thread.run_sync(sys.stdin.read)
            told.set()

        await link.insist("queue", "tubes.epoch")
        print("up", flush=True)
        nursery.start_soon(until_told)
        while not told.is_set():
            started = time.perf_counter()
            await link.call("queue", "tubes.epoch")
            times.append((time.perf_counter() - started) * 1e3)
            await trio.sleep(EVERY)
        link.stop()
    times.sort()
    share = {"p50": 0.5, "p99": 0.99, "worst": 1.0}
    print(json.dumps({name: times[min(len(times) - 1, int(len(times) * s))] for name, s in share.items()}))


if __name__ == "__main__":
    trio.run(_main, sys.argv[1], sys.argv[2])
