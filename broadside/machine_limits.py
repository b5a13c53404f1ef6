"""What this machine, or a container on it, gives a process: cores and memory; and how much the process has used."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GB = 1 << 30


def cores() -> int:
    """Return the number of cores that this process may use: a node's default number of workers."""
    return min(256, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def memory(root: Path = Path("/")) -> tuple[int, str]:
    """Return how many bytes of memory the processes here may use together, and whose limit that is.

    A machine's are rounded up to whole GB: its system keeps some for itself. ``root``: where /proc and /sys are.
    """
    machine = -(-os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // GB) * GB
    container = min(_limits(root), default=machine)
    return (container, "this container") if container < machine else (machine, "this machine")


def _limits(root: Path) -> Iterator[int]:
    """The memory limits of this process's control groups, and of all groups around them (kernel's cgroups(7)).

    Inside a container the path may be the one that the host sees: then only the outermost folder is there, and has the
    container's own limit.
    """
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":  # version 2
                folder, name = root / "sys/fs/cgroup", "memory.max"
            elif "memory" in controllers.split(","):
                folder, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
            else:
                continue
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(parts) + 1):
                with suppress(OSError, ValueError):  # no such folder, or ``max``: no limit
                    yield int(folder.joinpath(*parts[:depth], name).read_text())


def peak_memory() -> int:
    """Return the most bytes that this process has had in memory at a time."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KB
