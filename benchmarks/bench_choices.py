"""How the sizes were chosen: python -m benchmarks.bench_choices [--rounds N] [--choice NAME] [--json].

Fires the same base through a whole node to the counting sink, once for each value of each choice, round after round, so
that a machine that slows down slows all of them down. The figure to look at is the ratio to the value in the code.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import STREAMS, Rig, Row
from benchmarks.progress import say
from broadside.config.config import CONNECTIONS

CAMPAIGNS = 3
"""Campaigns with one value in a round; the first, over new connections, is not counted."""
_RECORDS = """
import transports.tls.stream as stream
whole = stream.TlsStream._encrypt
def encrypt(self, data):
    for start in range(0, len(data), {size}):
        whole(self, memoryview(data)[start : start + {size}])
stream.TlsStream._encrypt = encrypt
"""
_COLLECTOR = """
import gc
gc.set_threshold({threshold}, 10, 10)
"""


@dataclass(frozen=True)
class Value:
    """One value of a choice: its name, and what it changes."""

    name: str
    code: str = ""
    """Run at the start of each of the node's processes."""
    connections: int = CONNECTIONS
    streams: int = STREAMS
    latency_ms: int = 0


def _set(where: str, value: object) -> str:
    module, _, name = where.rpartition(".")
    return f"import {module}\n{module}.{name} = {value!r}\n"


CHOICES: dict[str, list[Value]] = {
    "subscribers a page": [
        Value(f"{n:,}", _set("broadside.newsroom.newsroom.PAGE_SIZE", n)) for n in (500, 1_000, 2_000, 4_000)
    ],
    "recipients a batch": [
        Value(f"{n:,}", _set("actors.walker.RECIPIENTS_A_BATCH", n)) for n in (100, 250, 500, 1_000)
    ],
    "batches a connection": [
        Value(str(n), _set("broadside.topology.HANDS_A_CONNECTION", n)) for n in (3, 5, 7, 10)
    ],
    "batches a take": [Value(str(n), _set("actors.consumer.TASKS_A_TAKE", n)) for n in (1, 2, 4, 8)],
    "streams a connection": [Value(f"{n:,}", streams=n) for n in (100, 300, 1_000, 3_000)],
    "connections": [Value(str(n), connections=n) for n in (2, 4, 32)],
    "… answers after 50 ms": [Value(str(n), connections=n, latency_ms=50) for n in (2, 4, 32)],
    "octets a TLS record": [
        Value(f"{n:,}", _RECORDS.format(size=n)) for n in (1_400, 4_096, 8_192)
    ] + [Value("16,384")],
    "collector's threshold": [Value("700")]
    + [Value(f"{n:,}", _COLLECTOR.format(threshold=n)) for n in (5_000, 50_000)],
}  # fmt: skip
CHOSEN = {
    "subscribers a page": "2,000", "recipients a batch": "500", "batches a connection": "7", "batches a take": "4",
    "streams a connection": "1,000", "connections": "32", "… answers after 50 ms": "32",
    "octets a TLS record": "16,384", "collector's threshold": "700",
}  # fmt: skip
"""The values in the code, or the defaults of the configuration."""


@dataclass
class Found:
    """All campaigns with one value."""

    choice: str
    value: str
    rows: list[Row] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "choice": self.choice, "value": self.value, "chosen": CHOSEN[self.choice] == self.value,
            "cpu_us_per_push": self.cpu, "pushes_per_second": self.rate, "rss_mb": self.memory,
        }  # fmt: skip

    @property
    def cpu(self) -> float:
        """µs a push, workers and Tarantool: the median."""
        return round(statistics.median(row.cpu_us_per_push for row in self.rows), 2)

    @property
    def rate(self) -> float:
        """Pushes a second: the median."""
        return round(statistics.median(row.pushes_per_second for row in self.rows))

    @property
    def memory(self) -> float:
        """MB of the largest worker."""
        return max(row.rss_mb for row in self.rows)


@contextlib.contextmanager
def changed(folder: Path, value: Value) -> Iterator[None]:
    """Processes that are started inside run the value's code first."""
    (folder / "sitecustomize.py").write_text(value.code)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def measure(subscribers: int, rounds: int, wanted: list[str]) -> list[Found]:
    """Measure every value of every choice, ``rounds`` times."""
    found = {(choice, value.name): Found(choice, value.name) for choice in wanted for value in CHOICES[choice]}
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as name:
        folder = Path(name)
        rig = Rig(folder, None)
        for number in range(rounds):
            for choice in wanted:
                for value in CHOICES[choice]:
                    say(f"round {number + 1} of {rounds}: {choice}: {value.name}")
                    rig.connections = value.connections
                    with contextlib.ExitStack() as stack:
                        sink = stack.enter_context(rig.sink("counting", value.streams, value.latency_ms))
                        stack.enter_context(changed(folder, value))
                        client = stack.enter_context(rig.node(sink))
                        rig.fill(client, subscribers)
                        rows = [rig.campaign(client, "counting") for _ in range(CAMPAIGNS)]
                    found[choice, value.name].rows += rows[1:]
    return list(found.values())


def table(found: list[Found]) -> str:
    """The table, for a person."""
    lines = [f"{'':22} {'value':>8} {'CPU µs':>7} {'ratio':>6} {'pushes/s':>9} {'RSS MB':>7}"]
    for each in found:
        chosen = CHOSEN[each.choice]
        base = next(other.cpu for other in found if (other.choice, other.value) == (each.choice, chosen))
        mark = " ← chosen" if each.value == chosen else ""
        lines.append(
            f"{each.choice:22} {each.value:>8} {each.cpu:>7.2f} {each.cpu / base:>6.2f} {each.rate:>9,.0f}"
            f" {each.memory:>7.1f}{mark}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench choices", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200_000, help="size of the base")
    parser.add_argument("--rounds", type=int, default=3, help="how often each value has its turn")
    parser.add_argument("--choice", choices=list(CHOICES), action="append", help="this one only (may be repeated)")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    found = measure(options.subscribers, options.rounds, options.choice or list(CHOICES))
    if options.json:
        print(json.dumps([each.plain() for each in found], ensure_ascii=False))
        return
    print(table(found))


if __name__ == "__main__":
    main()
