"""How one client's run is measured, and what it says."""

from __future__ import annotations

import json
import resource
import time
from dataclasses import asdict, dataclass

BODY = 200
"""Octets of a body, about."""

_WARM_UP = 1.0  # seconds from the first push, before the clock runs


@dataclass
class Row:
    """One line of the table."""

    client: str
    streams: int
    connections: int
    latency_ms: int
    sink: str
    pushes: int = 0
    pushes_per_second: float = 0.0
    cpu_us_per_push: float = 0.0
    rss_mb: float = 0.0
    rss_start_mb: float = 0.0
    note: str = ""

    def text(self) -> str:
        return json.dumps(asdict(self))


class Meter:
    """Counts from ``start`` to ``stop``: wall clock, and CPU of this process with all its threads."""

    def __init__(self, row: Row, seconds: float, pushes: int | None) -> None:
        """Stop after ``seconds``, or after ``pushes``."""
        self.row = row
        self._seconds = seconds
        self._pushes = pushes
        self._counting = False
        self._wall = self._cpu = 0.0
        self._quarter: float | None = None
        self._made = time.perf_counter()

    @property
    def warm(self) -> bool:
        """Whether the client has run long enough to be measured."""
        return time.perf_counter() - self._made > _WARM_UP

    def start(self) -> None:
        self.row.rss_start_mb = resident()
        self._counting = True
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def over(self) -> bool:
        if self._pushes is not None:
            return self.row.pushes >= self._pushes
        return self._counting and time.perf_counter() - self._wall >= self._seconds

    def count(self, n: int) -> None:
        if self._counting:
            self.row.pushes += n
            if self._quarter is None and self._pushes is not None and self.row.pushes >= self._pushes / 4:
                self._quarter = resident()  # the allocator has found its size by then

    def stop(self) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._counting = False
        row = self.row
        row.pushes_per_second = round(row.pushes / wall, 1)
        row.cpu_us_per_push = round(cpu / max(1, row.pushes) * 1e6, 2)
        row.rss_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        if self._pushes is not None:
            row.note = f"RSS {row.rss_start_mb} MB at start, {self._quarter} after a quarter, {resident()} at end"


def resident() -> float:
    """MB of this process that lie in memory now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a file of the kernel
        return round(int(file.read().split()[1]) * resource.getpagesize() / 1024 / 1024, 1)
