"""What a push costs: ``python -m benchmarks.bench_transport [--json] [--seconds 5] [--quick]``. See docs/benchmarks.md.

Linux with two cores or more; nginx, h2load (nghttp2-client) and taskset must be installed. aioapns is measured where it
can be imported. Nothing passes or fails here: the ratios between rows of one run are what counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.transport.meter import BODY, Row
from benchmarks.transport.sinks import STREAMS, counting_sink, nginx

CORE = "1"
SOAK = 2_000_000


def _client(row: Row, port: int, directory: str, seconds: float, pushes: int | None = None) -> Row:
    """Run one of our client processes on its core."""
    order = {"port": port, "directory": directory, "seconds": seconds, "limit": pushes, **asdict(row)}
    command = ["taskset", "-c", CORE, sys.executable, "-m", "benchmarks.transport.client", json.dumps(order)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        row.note = f"failed with exit code {done.returncode}"
        return row
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def _h2load(row: Row, port: int, directory: str, seconds: float) -> Row:
    """The load generator in C: no outcomes, no accounts, the same request again and again."""
    body = Path(directory) / "push.json"
    body.write_bytes(b"x" * BODY)
    n = int(60_000 * seconds)
    headers = [f"authorization: bearer {'j' * 190}", "apns-topic: com.example.news", "apns-push-type: alert"]
    headers += ["apns-priority: 10", "apns-id: 00000000-0000-0007-0000-0000000003eb"]
    fields = [word for header in headers for word in ("-H", header)]
    url = f"https://localhost:{port}/3/device/{'0123456789abcdef' * 4}"
    command = ["taskset", "-c", CORE, "h2load", "-n", str(n), "-c", "1", "-m", str(row.streams), "-d", str(body)]
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*command, *fields, url], stdout=subprocess.PIPE, text=True, check=True)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    passed = re.search(r"(\d+) 2xx", done.stdout)
    row.pushes = int(passed[1]) if passed else 0
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    row.pushes_per_second = round(row.pushes / wall, 1)
    row.cpu_us_per_push = round(cpu / max(1, row.pushes) * 1e6, 2)
    return row


def measure(seconds: float, quick: bool) -> Iterator[Row]:
    """Row after row."""
    with tempfile.TemporaryDirectory() as directory, nginx(Path(directory)) as (_, ports):
        yield _client(Row("engine", 1_000, 1, 0, "none"), 0, directory, seconds)
        for streams in STREAMS:
            port, echoing = ports[streams, "nginx"], ports[streams, "echoing"]
            yield _h2load(Row("h2load", streams, 1, 0, "nginx"), port, directory, seconds)
            yield _client(Row("apns", streams, 1, 0, "nginx"), port, directory, seconds)
            yield _client(Row("apns", streams, 1, 0, "echoing"), echoing, directory, seconds)
            yield _client(Row("fcm", streams, 1, 0, "nginx"), port, directory, seconds)
            if importlib.util.find_spec("aioapns"):
                yield _client(Row("aioapns", streams, 1, 0, "echoing"), echoing, directory, seconds)
            else:
                yield Row("aioapns", streams, 1, 0, "echoing", note="not installed")
            yield _client(Row("httpx", streams, 1, 0, "nginx"), port, directory, seconds)
        for latency in (0, 50):
            for streams in STREAMS:
                with counting_sink(Path(directory), streams, latency) as port:
                    for platform in ("apns", "fcm"):
                        for connections in (1, 4):
                            row = Row(platform, streams, connections, latency, "counting")
                            yield _client(row, port, directory, seconds)
        if not quick:
            with counting_sink(Path(directory), 1_000, 50) as port:
                yield _client(Row("apns", 1_000, 10, 50, "counting"), port, directory, seconds)
            with counting_sink(Path(directory), 1_000, 0) as port:
                yield _client(Row("apns", 1_000, 1, 0, "counting"), port, directory, seconds, SOAK)


def _line(row: Row) -> str:
    name = {"apns": "ours (APNs)", "fcm": "ours (FCM)", "engine": "bare engine"}.get(row.client, row.client)
    figures = f"{row.pushes_per_second:>10,.0f} {row.cpu_us_per_push:>8.2f} {row.rss_mb:>7.1f}"
    where = f"{row.streams:>7,} {row.connections:>5} {row.latency_ms:>5} {row.sink:>9}"
    return f"{name:<12} {where} {figures}  {row.note}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="a list of rows instead of a table")
    parser.add_argument("--seconds", type=float, default=5.0, help="of measuring for each row, after one of warming up")
    parser.add_argument("--quick", action="store_true", help="without the soak and without ten connections")
    options = parser.parse_args()
    rows = []
    if not options.json:
        print("client       streams conns    ms      sink   pushes/s  CPU µs  RSS MB")
    for row in measure(options.seconds, options.quick):
        rows.append(asdict(row))
        if not options.json:
            print(_line(row), flush=True)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
