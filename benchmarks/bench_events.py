"""How late listeners hear of a push, and what they cost: python -m benchmarks.bench_events [--listeners N] [--json].

A campaign goes to the whole base at a steady rate. The CPU of the node's parent process is measured for a while without
listeners, and then with them. Then breaking news goes to one phone, again and again: the time is from when its twin has
accepted the push until each listener has the event that counts it, so it has the settlement and the report in it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio

from benchmarks.pipeline.rig import CHANNELS, MESSAGE, PLAIN, Rig, end_at_sigterm, phone
from benchmarks.progress import say
from broadside.api.api_client import Client
from broadside.api.audience_request import AudienceRequest
from broadside.api.campaign_report import FireRequest
from broadside.api.v1 import table
from simulators.ledger import read_ledger

LATEST, MOST_CPU = 500, 0.1
"""Goals: milliseconds until 99 of 100 listeners know, and cores of the parent process for all listeners."""
RATE = 1_000
WITHIN = 30.0
"""Seconds in which each step must have happened."""


class Listeners:
    """Clients of the event stream, in a thread of their own. Notes when each has heard of a campaign's first push."""

    def __init__(self, url: str, key: str, count: int) -> None:
        self._address = urlsplit(url)
        self._key = key
        self._count = count
        self.connected = 0
        self.watched = b"no title"
        """The title of the campaign whose push is waited for."""
        self.heard: dict[int, int] = {}
        """Listener → ms UTC."""
        self._thread = threading.Thread(target=trio.run, args=(self._listen,), daemon=True)
        self._thread.start()

    async def _listen(self) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(self._count):
                nursery.start_soon(self._one, n)

    async def _one(self, n: int) -> None:
        assert self._address.hostname is not None
        assert self._address.port is not None
        stream = await trio.open_tcp_stream(self._address.hostname, self._address.port)
        asked = f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n\r\n"
        await stream.send_all(asked.encode())
        begun = False
        async for part in stream:
            if not begun:
                begun = True
                self.connected += 1
            if self.watched in part and n not in self.heard:
                _, _, line = bytes(part).partition(self.watched)
                if b'"delivered":1' in line.partition(b"\n")[0]:
                    self.heard[n] = time.time_ns() // 1_000_000


@dataclass
class Figures:
    """What was measured."""

    listeners: int
    alone: float
    """Cores of the node's parent without listeners."""
    with_listeners: float
    latencies: list[int]
    """Sorted, ms: one for each listener and push."""

    def share(self, part: float) -> int:
        """The latency that this part of them does not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * part))]

    def plain(self) -> list[dict[str, Any]]:
        """For ``--json``."""
        cores = round(self.with_listeners - self.alone, 3)
        return [
            {"what": "parent without listeners", "value": round(self.alone, 3), "unit": "cores"},
            {
                "what": f"{self.listeners} listeners",
                "value": cores,
                "unit": "cores",
                "goal": f"≤ {MOST_CPU}",
                "met": cores <= MOST_CPU,
            },
            {"what": "push accepted → listener knows, median", "value": self.share(0.5), "unit": "ms"},
            {
                "what": "push accepted → listener knows, p99",
                "value": self.share(0.99),
                "unit": "ms",
                "goal": f"≤ {LATEST}",
                "met": self.share(0.99) <= LATEST,
            },
        ]


def _cpu(pid: int) -> float:
    """Seconds of CPU of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cores(pid: int, seconds: float) -> float:
    before, began = _cpu(pid), time.monotonic()
    time.sleep(seconds)
    return (_cpu(pid) - before) / (time.monotonic() - began)


def measure(rig: Rig, client: Client, count: int, seconds: float, pushes: int) -> Figures:
    """Fire at everybody, and then at one phone after another."""
    pid = client.status().pid
    key = rig.data.read_key()
    assert key is not None
    everybody = client.fire(PLAIN).id
    time.sleep(2.0)  # until its pages are walked
    alone = _cores(pid, seconds)
    listeners = Listeners(client.url, key, count)
    _until(lambda: listeners.connected == count)
    time.sleep(1.0)
    loaded = _cores(pid, seconds)
    if client.call(table.CAMPAIGN, id=everybody).ended:
        raise RuntimeError("the campaign has ended too early: give --subscribers more")
    latencies: list[int] = []
    for n in range(pushes):
        time.sleep(0.037 * (n % 7))  # not in step with the feed's reads
        title = f"breaking {n}."
        message = msgspec.structs.replace(MESSAGE, title=title)
        listeners.heard.clear()
        listeners.watched = title.encode()
        whom = AudienceRequest(subscribers=[phone(n).token])
        id = client.fire(FireRequest(message=message, kind="breaking", audience=whom)).id
        _until(lambda: len(listeners.heard) == count)
        entries = [entry for ledger in rig.data.twins.glob("*.ledger") for entry in read_ledger(ledger)]
        (accepted,) = [entry.time for entry in entries if entry.collapse == id]
        latencies += [at - accepted for at in listeners.heard.values()]
    return Figures(count, alone, loaded, sorted(latencies))


def _until(happened: Any) -> None:
    end = time.monotonic() + WITHIN
    while not happened():
        if time.monotonic() > end:
            raise RuntimeError(f"it did not happen within {WITHIN:g} s")
        time.sleep(0.01)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench events", description=__doc__)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--subscribers", type=int, default=150_000, help="size of the base")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement of CPU")
    parser.add_argument("--pushes", type=int, default=30, help="pushes whose way to the listeners is timed")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        rig = Rig(Path(folder), 1)
        rig.rate = RATE
        with rig.node(None) as client:
            say(f"{options.subscribers:,} subscribers, {RATE * len(CHANNELS):,} pushes a second")
            rig.fill(client, options.subscribers)
            found = measure(rig, client, options.listeners, options.seconds, options.pushes)
    rows = found.plain()
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        verdict = f"  goal {row['goal']}: {'met' if row['met'] else 'MISSED'}" if "goal" in row else ""
        print(f"{row['what']:44} {row['value']:>9,} {row['unit']}{verdict}")


if __name__ == "__main__":
    main()
