"""What a push costs: ``python -m benchmarks.bench_transport [--json] [--seconds 5] [--quick]``. See docs/benchmarks.md.

Needs Linux with two cores or more, nginx, h2load (nghttp2-client) and taskset; Go is optional. Nothing passes or fails
here: compare the rows of one run with each other. The goals are printed below the table, met or missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.ending import end_at_sigterm
from benchmarks.transport import native
from benchmarks.transport.goals import judge
from benchmarks.transport.meter import Row
from benchmarks.transport.ours import TEXTS
from benchmarks.transport.sinks import STREAMS, counting_sink, nginx

CORE = "1"
SOAK = 2_000_000
TURNS = 5
"""Of each message, in the rows of texts."""
_NAMES = {
    "apns": "ours (APNs)",
    "fcm": "ours (FCM)",
    "webpush": "ours (Web Push, encrypted)",
    "rustore": "ours (RuStore)",
    "huawei": "ours (Huawei)",
    "engine": "bare engine",
    "encryption": "Web Push's encryption alone",
    "go": "go net/http (what apns2 stands on)",
}


def _client(row: Row, port: int, directory: Path, seconds: float, pushes: int | None = None) -> Row:
    """Run one of the clients in Python, in a process of its own on its core."""
    order = {"port": port, "directory": str(directory), "seconds": seconds, "limit": pushes, "row": asdict(row)}
    command = ["taskset", "-c", CORE, sys.executable, "-m", "benchmarks.transport.client", json.dumps(order)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        row.note = f"failed with exit code {done.returncode}"
        return row
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def measure(seconds: float, quick: bool) -> Iterator[Row]:
    """Yield the rows."""
    with tempfile.TemporaryDirectory() as name, nginx(Path(name)) as (files, ports):
        directory = files.directory
        yield _client(Row("engine", 1_000, 1, 0, "none"), 0, directory, seconds)
        yield _client(Row("encryption", 1_000, 1, 0, "none"), 0, directory, seconds)
        for streams in STREAMS:
            port, echoing = ports[streams, "nginx"], ports[streams, "echoing"]
            yield native.h2load(Row("h2load", streams, 1, 0, "nginx"), port, directory, CORE, seconds)
            yield _client(Row("apns", streams, 1, 0, "nginx"), port, directory, seconds)
            yield _client(Row("webpush", streams, 1, 0, "nginx"), port, directory, seconds)
            yield native.go(Row("go", streams, 1, 0, "nginx"), ports[streams, "roomy"], files, CORE, seconds)
            yield _client(Row("apns", streams, 1, 0, "echoing"), echoing, directory, seconds)
            yield _client(Row("aioapns", streams, 1, 0, "echoing"), echoing, directory, seconds)
            yield _client(Row("fcm", streams, 1, 0, "nginx"), port, directory, seconds)
            yield _client(Row("rustore", streams, 1, 0, "nginx"), port, directory, seconds)
            yield _client(Row("httpx", streams, 1, 0, "nginx"), port, directory, seconds)
        for client, connections in (("rustore", 1), ("rustore", 32), ("huawei", 1), ("huawei", 4)):
            row = Row(client, 1, connections, 0, "http1")
            yield _client(row, ports[STREAMS[0], "http1"], directory, seconds)
        for latency in (0, 50):
            for streams in STREAMS:
                with counting_sink(directory, streams, latency) as port:
                    if not latency:  # the sink's own limit
                        yield native.h2load(Row("h2load", streams, 1, 0, "counting"), port, directory, CORE, seconds)
                    for platform in ("apns", "fcm"):
                        for connections in (1, 4):
                            row = Row(platform, streams, connections, latency, "counting")
                            yield _client(row, port, directory, seconds)
        if not quick:
            with counting_sink(directory, 1_000, 50) as port:
                yield _client(Row("apns", 1_000, 10, 50, "counting"), port, directory, seconds)
            with counting_sink(directory, 1_000, 0) as port:
                yield _client(Row("apns", 1_000, 1, 0, "counting"), port, directory, seconds, SOAK)


def measure_texts(seconds: float) -> Iterator[Row]:
    """Yield one platform's rows after the other's: each message in its turn, to the counting sink."""
    with (
        tempfile.TemporaryDirectory() as name,
        nginx(Path(name)) as (files, _),
        counting_sink(files.directory, 1_000, 0) as port,
    ):
        for _ in range(TURNS):
            for platform in ("apns", "fcm"):
                for texts in TEXTS:
                    row = Row(platform, 1_000, 1, 0, "counting", texts)
                    yield _client(row, port, files.directory, seconds)


def medians(rows: list[Row]) -> list[Row]:
    """Of the rows of several turns, one for each message: that with the median of CPU; its note has the ratio."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.client, row.texts), []).append(row)
    found = []
    for (client, texts), turns in alike.items():
        median = sorted(turns, key=lambda row: row.cpu_us_per_push)[len(turns) // 2]
        if texts:
            plain = alike[client, ""]
            ratio = statistics.median(a.cpu_us_per_push / b.cpu_us_per_push for a, b in zip(turns, plain, strict=True))
            median.note = f"{texts}: {ratio:.2f} times one text"
        found.append(median)
    return found


def _line(row: Row) -> str:
    figures = (
        f"{row.pushes_per_second:>10,.0f} {row.cpu_us_per_push:>8.2f} {row.octets_per_push:>6.0f} {row.rss_mb:>7.1f}"
    )
    where = f"{row.streams:>7,} {row.connections:>5} {row.latency_ms:>5} {row.sink:>9}"
    name = _NAMES.get(row.client, row.client)
    return f"{name:<34} {where} {figures}  {row.note}".rstrip()


def main() -> None:
    end_at_sigterm()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="a list of rows instead of a table")
    parser.add_argument("--seconds", type=float, default=5.0, help="of measuring for each row, after one of warming up")
    parser.add_argument("--quick", action="store_true", help="without the soak and without ten connections")
    parser.add_argument(
        "--texts", action="store_true", help="only one text, five locales, and personal fields, in turns"
    )
    options = parser.parse_args()
    rows = []
    if not options.json:
        print(f"{'client':<34} streams conns    ms      sink   pushes/s  CPU µs octets  RSS MB")
    measured = (
        medians(list(measure_texts(options.seconds))) if options.texts else measure(options.seconds, options.quick)
    )
    for row in measured:
        rows.append(row)
        if not options.json:
            print(_line(row), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    if options.texts:
        return
    print()
    for client, (api, decoder) in {row.client: (row.api, row.decoder) for row in rows}.items():
        print(f"{_NAMES.get(client, client)}: {api}; answers' headers read by {decoder}")
    print()
    for met, sentence in judge(rows):
        print(f"{'?     ' if met is None else 'met   ' if met else 'MISSED'} {sentence}")


if __name__ == "__main__":
    main()
