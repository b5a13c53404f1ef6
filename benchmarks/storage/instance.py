"""The benchmark's own embedded Tarantool, and its cost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from storage.embedded import Embedded
from storage.link import Link

_TICK = os.sysconf("SC_CLK_TCK")


class Instance:
    """Store and queue in one, as ``./dev run-node`` runs it."""

    def __init__(self, folder: Path, channels: list[str], memory: int) -> None:
        """``memory``: bytes of memtx arena."""
        self.embedded = Embedded(folder, channels, memory=memory)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; returns the seconds until it serves."""
        started = time.perf_counter()
        process = subprocess.Popen(
            self.embedded.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(self.embedded.handshake)
        process.stdin.flush()
        line = process.stdout.readline()
        assert b'"ready":true' in line, line
        self._process = process
        return time.perf_counter() - started

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        """Kill it, and remove its socket."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.embedded.remove_runtime()

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    @property
    def rss(self) -> float:
        """Resident memory, MB."""
        line = next(line for line in self._read("status").splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def _read(self, name: str) -> str:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[Link]:
        """A running link to it."""
        link = Link({"store": self.embedded.endpoint, "queue": self.embedded.endpoint})
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: link.run(task_status.started))
            yield link
            link.stop()
