"""CPU and memory of a tree of processes, as the kernel counts them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.transport.meter import peak

KINDS = (
    ("benchmarks.transport.sinks", "sink"),
    ("benchmarks.networks.sink", "sink"),
    ("nginx", "sink"),
    ("simulators.twin", "sink"),
    ("broadside.worker", "workers"),
    ("tarantool", "tarantool"),
    ("broadside.cli", "node"),
)
"""A piece of a command line → the kind of process."""


_CLOCK_OF_PROCESS = 2
"""The kernel's ``CPUCLOCK_SCHED``: with a process's id it makes a clock of the processor time that the process used."""


def descendants(root: int) -> Iterator[tuple[int, str]]:
    """(id, kind) of a process and of all its descendants."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    for pid in parents:
        above: int | None = pid
        while above is not None and above != root:
            above = parents.get(above)
        if above == root:
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                kind = next((kind for piece, kind in KINDS if piece in command), None)
                if kind is not None:
                    yield pid, kind


def cpu(pid: int) -> float:
    """Seconds of processor time of all threads so far, ended ones included; 0 for a process that has ended."""
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | _CLOCK_OF_PROCESS)
    return 0.0


class Usage:
    """What each kind of process has used since the start."""

    def __init__(self, root: int) -> None:
        """Begin to count for ``root`` and its present descendants."""
        self._processes = dict(descendants(root))
        self._before = {pid: cpu(pid) for pid in self._processes}

    def seconds(self) -> dict[str, float]:
        """Kind → seconds of CPU since the start."""
        used: dict[str, float] = {}
        for pid, kind in self._processes.items():
            used[kind] = used.get(kind, 0.0) + cpu(pid) - self._before[pid]
        return used

    def peaks(self) -> dict[str, float]:
        """Kind → peak memory of its largest process, MB."""
        most: dict[str, float] = {}
        for pid, kind in self._processes.items():
            most[kind] = max(most.get(kind, 0.0), peak(pid))
        return most
