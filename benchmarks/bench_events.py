"""How late listeners hear of a push, and what they cost: python -m benchmarks.bench_events [--listeners N] [--json].

With ``--pipeline``: what they cost the pipeline. Campaigns go to a counting sink as fast as it takes them, while the
clients listen to the node, and by turns to a dumb stream of the same bytes, which is a process of its own.

A campaign goes to the whole base at a steady rate. The CPU of the node's parent process is measured for a while without
listeners, and then with them. Then breaking news goes to one phone, again and again: the time is from when its twin has
accepted the push until each listener has the event that counts it, so it has the settlement and the report in it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio
import trustme

from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import MESSAGE, PLAIN, Rig, phone
from benchmarks.progress import say
from broadside.api.api_client import Client
from broadside.api.audience_request import AudienceRequest
from broadside.api.campaign_report import FireRequest
from broadside.api.v1 import table
from simulators.ledger import read_ledger

LATEST, MOST_CPU = 500, 0.1
"""Goals: milliseconds until 99 of 100 listeners know, and cores of the parent process for all listeners."""
LEAST_RATE = 0.95
"""Goal: the pipeline's rate with listeners, in parts of that with as many clients of a dumb stream."""
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
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._life = trio.CancelScope()
        self._thread = threading.Thread(target=trio.run, args=(self._listen,), daemon=True)
        self._thread.start()

    async def _listen(self) -> None:
        self._loop = trio.lowlevel.current_trio_token()
        with self._life:
            async with trio.open_nursery() as nursery:
                for n in range(self._count):
                    nursery.start_soon(self._one, n)

    def close(self) -> None:
        """End all connections."""
        self._loop.run_sync_soon(self._life.cancel)
        self._thread.join()

    async def _one(self, n: int) -> None:
        assert self._address.hostname is not None
        assert self._address.port is not None
        stream: trio.abc.Stream = await trio.open_tcp_stream(self._address.hostname, self._address.port)
        if self._address.scheme == "https":
            stream = trio.SSLStream(stream, self._tls, https_compatible=True)
        asked = f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n\r\n"
        await stream.send_all(asked.encode())
        begun = False
        while part := await stream.receive_some(1 << 16):
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


@contextlib.contextmanager
def dumb_stream(client: Client, key: str) -> Iterator[str]:
    """Run a dumb stream of a node's events; yields its URL."""
    node = urlsplit(client.url)
    command = [sys.executable, "-m", "benchmarks.events.dumb_stream", str(node.hostname), str(node.port)]
    environment = {**os.environ, "BROADSIDE_KEY": key}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


def pipeline(rig: Rig, client: Client, count: int, rounds: int) -> list[dict[str, Any]]:
    """The pipeline's rate with clients of the node, and with clients of a dumb stream, by turns."""
    key = rig.data.read_key()
    assert key is not None
    rates: dict[str, list[float]] = {"listeners": [], "clients of a dumb stream": []}
    rig.campaign(client, "counting")  # the first is slower
    for n in range(rounds):
        with dumb_stream(client, key) as dumb:
            ways = list(zip(rates, (client.url, dumb), strict=True))
            for whom, url in ways if n % 2 else reversed(ways):
                listeners = Listeners(url, key, count)
                _until(lambda listeners=listeners: listeners.connected == count)
                rates[whom].append(rig.campaign(client, "counting").pushes_per_second)
                listeners.close()
    both = [statistics.median(found) for found in rates.values()]
    ratio = round(both[0] / both[1], 3)
    rows: list[dict[str, Any]] = [
        {"what": f"pipeline with {count} {whom}", "value": round(rate), "unit": "pushes/s"}
        for whom, rate in zip(rates, both, strict=True)
    ]
    goal = {"goal": f"≥ {LEAST_RATE}", "met": ratio >= LEAST_RATE}
    return [*rows, {"what": "the first in parts of the second", "value": ratio, "unit": "", **goal}]


def _until(happened: Any) -> None:
    end = time.monotonic() + WITHIN
    while not happened():
        if time.monotonic() > end:
            raise RuntimeError(f"it did not happen within {WITHIN:g} s")
        time.sleep(0.01)


def _certificate(folder: Path) -> str:
    """Write a certificate; return the lines of ``[http]`` that name it."""
    made = trustme.CA().issue_cert("localhost", "127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(str(folder / "api.pem"))
    (folder / "api.pem").chmod(0o600)
    return "\n" + "\n".join(f'{name} = "{folder / "api.pem"}"' for name in ("certificate", "private_key"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench events", description=__doc__)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--subscribers", type=int, default=150_000, help="size of the base")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement of CPU")
    parser.add_argument("--pushes", type=int, default=30, help="pushes whose way to the listeners is timed")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    parser.add_argument("--tls", action="store_true", help="the API is served by TLS")
    parser.add_argument("--pipeline", action="store_true", help="measure what listeners cost the pipeline instead")
    parser.add_argument("--rounds", type=int, default=5, help="of --pipeline")
    options = parser.parse_args()
    end_at_sigterm()
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        rig = Rig(Path(folder), None if options.pipeline else 1)
        rig.rate = None if options.pipeline else RATE
        if options.tls:
            rig.http += _certificate(Path(folder))
        with rig.sink("counting" if options.pipeline else "twins") as sink, rig.node(sink) as client:
            say(f"{options.subscribers:,} subscribers")
            rig.fill(client, options.subscribers)
            if options.pipeline:
                rows = pipeline(rig, client, options.listeners, options.rounds)
            else:
                rows = measure(rig, client, options.listeners, options.seconds, options.pushes).plain()
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        verdict = f"  goal {row['goal']}: {'met' if row['met'] else 'MISSED'}" if "goal" in row else ""
        print(f"{row['what']:44} {row['value']:>9,} {row['unit']}{verdict}")


if __name__ == "__main__":
    main()
