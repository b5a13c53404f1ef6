"""How fast files are read, converted and checked: python -m benchmarks.bench_import [--rows N] [--json].

Every row has another token, another time of registration, and attributes that must be converted. The requests go
nowhere in the first part, and into a whole node in the second (--no-node leaves that out).
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import Rig, phone
from benchmarks.pipeline.usage import Usage
from benchmarks.progress import say
from broadside.api.base_records import ImportedLines
from broadside.api.token_rules import DeviceTokens
from broadside.api.v1.table import BULK, COUNT
from broadside.imports.importer import import_file
from broadside.imports.readers.reader_processes import MOST
from broadside.imports.rules import Rules
from broadside.machine_limits import cores

GOAL = 70_000
LINES_GOAL = 50_000
CHANNELS = {"ios-news": "apns", "android-news": "fcm"}
_ZONES = ("GMT+3", "-18000", "W. Europe Standard Time", "Europe/Berlin", "america/sao_paulo", "Etc/Unknown", "NULL")
_LOCALES = ("zh_CN_#Hans", "pt_BR", "en_GB.UTF-8", "de", "iw", "C.UTF-8")
_COUNTRIES = ("DEU", "de", "US", "UK", "")
_TOPICS = ("sport", "weather", "politics", "culture", "local", "science", "cars", "travel", "food", "money")


def record(drawn: random.Random) -> dict[str, Any]:
    """A row as other systems write it."""
    at = datetime.fromtimestamp(drawn.randrange(1_500_000_000, 1_750_000_000), UTC)
    return {
        "channel": "ios-news",
        "token": drawn.randbytes(32).hex(),
        "locale": drawn.choice(_LOCALES),
        "tz": drawn.choice(_ZONES),
        "country": drawn.choice(_COUNTRIES),
        "best_minute": f"{drawn.randrange(24):02}:{drawn.randrange(0, 60, 15):02}",
        "tags": dict.fromkeys(drawn.sample(_TOPICS, drawn.randrange(4)), "1"),
        "registered_at": at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    }


def _csv(records: list[dict[str, Any]]) -> Iterator[str]:
    yield ",".join(records[0]) + "\n"
    for row in records:
        tags = json.dumps(row["tags"]).replace('"', '""')
        yield ",".join([*(row[name] for name in row if name not in ("tags", "registered_at")), f'"{tags}"']) + (
            f",{row['registered_at']}\n"
        )


def files(rows: int) -> dict[str, bytes]:
    """What is read: name → content."""
    drawn = random.Random(20)
    records = [record(drawn) for _ in range(rows)]
    lines = [json.dumps(row) for row in records]
    return {
        "CSV, all conversions": "".join(_csv(records)).encode(),
        "NDJSON, all conversions": "\n".join(lines).encode(),
        "JSON array, all conversions": f"[{','.join(lines)}]".encode(),
        "CSV, channel and token": "".join(
            ["channel,token\n", *(f"{row['channel']},{row['token']}\n" for row in records)]
        ).encode(),
    }


def read(content: bytes, rows: int, processes: int) -> tuple[float, float]:
    """Read a file without a node; returns seconds, and seconds of CPU of all processes."""
    sent = 0

    def upsert(body: bytes) -> ImportedLines:
        nonlocal sent
        found = body.count(b'"channel"')
        sent += found
        return ImportedLines(inserted=found, updated=0)

    gc.collect()
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        used, begun = _cpu(), time.perf_counter()
        rules = Rules(DeviceTokens(CHANNELS))
        import_file(io.BytesIO(content), "base", Path(folder) / "bad", upsert, rules, tell=say, processes=processes)
        seconds, cpu = time.perf_counter() - begun, _cpu() - used
    gc.enable()
    assert sent == rows, sent
    return seconds, cpu


def _cpu() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def into_a_node(content: bytes, rows: int) -> list[dict[str, Any]]:
    """Import a file into a whole node, by the command."""
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as name:
        folder = Path(name)
        (folder / "base.csv").write_bytes(content)
        rig = Rig(folder, None)
        with rig.node(None) as client:
            usage, before = Usage(os.getpid()), _cpu()
            command = [sys.executable, "-m", "broadside.cli", "subscribers", "import", "base.csv", "--json"]
            command += ["--data", str(rig.data.root)]
            found = json.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)
            own, used = _cpu() - before, usage.seconds()
            assert client.call(COUNT).total == rows
    what = "into a node: CSV, all conversions"
    each = 1e6 / rows
    return [
        _row(what, found["rows_per_second"], "1/s"),
        _row("  import, CPU a row", own * each, "µs"),
        _row("  node, CPU a row", used.get("node", 0.0) * each, "µs"),
        _row("  Tarantool, CPU a row", used.get("tarantool", 0.0) * each, "µs"),
    ]


def lines_into_a_node(rows: int) -> list[dict[str, Any]]:
    """Send lines into a whole node in one request, as an app's backend may."""
    body = msgspec.json.Encoder().encode_lines([phone(n) for n in range(rows)])
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as name:
        rig = Rig(Path(name), None)
        with rig.node(None) as client:
            usage, begun = Usage(os.getpid()), time.perf_counter()
            answer = client.call(BULK, body, timeout=600.0)
            seconds, used = time.perf_counter() - begun, usage.seconds()
            assert (answer.inserted, answer.refused) == (rows, 0)
    each, rate = 1e6 / rows, rows / seconds
    return [
        _row("into a node: lines, one request", rate, "1/s", f"≥ {LINES_GOAL:,}", rate >= LINES_GOAL),
        _row("  node, CPU a row", used.get("node", 0.0) * each, "µs"),
        _row("  Tarantool, CPU a row", used.get("tarantool", 0.0) * each, "µs"),
    ]


def measure(rows: int, *, node: bool) -> list[dict[str, Any]]:
    """All figures: one dict each, with what, value, unit and goal."""
    say(f"writing files of {rows:,} rows")
    contents = files(rows)
    several = min(cores(), MOST)
    found = [_row("processes that read", several, "")]
    for what, content in contents.items():
        say(f"reading {what}")
        seconds, cpu = read(content, rows, several)
        rate = rows / seconds
        if "all" in what:
            found.append(_row(what, rate, "1/s", f"≥ {GOAL:,}", rate >= GOAL))
        else:
            found.append(_row(what, rate, "1/s"))
        found.append(_row(f"  {what}: CPU a row", cpu * 1e6 / rows, "µs"))
        if several > 1:
            found.append(_row(f"  {what}, by one process", rows / read(content, rows, 1)[0], "1/s"))
    if node:
        say("importing into a node")
        found += into_a_node(contents["CSV, all conversions"], rows)
        found += lines_into_a_node(rows)
    return found


def _row(what: str, value: float, unit: str, goal: str = "", met: bool | None = None) -> dict[str, Any]:
    return {"what": what, "value": round(value, 2 if value < 100 else 0), "unit": unit, "goal": goal, "met": met}


def main() -> None:
    """Measure and print."""
    end_at_sigterm()
    parser = argparse.ArgumentParser(prog="bench import", description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000, help="rows of each file")
    parser.add_argument("--no-node", action="store_true", help="only read, and send nothing")
    parser.add_argument("--lines", action="store_true", help="only send lines into a node, in one request")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    rows = lines_into_a_node(options.rows) if options.lines else measure(options.rows, node=not options.no_node)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        verdict = "" if row["met"] is None else f"  goal {row['goal']}: {'met' if row['met'] else 'MISSED'}"
        print(f"{row['what']:46}{row['value']:>12,} {row['unit']:4}{verdict}")


if __name__ == "__main__":
    main()
