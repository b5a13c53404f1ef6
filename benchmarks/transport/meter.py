"""Measures one client's run; its figures are a row of the table."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import struct
import time
from dataclasses import asdict, dataclass
from pathlib import Path

BODY = 200
"""Octets of a body, about."""

_ACKED = 120
"""Where ``tcpi_bytes_acked`` lies in Linux's ``struct tcp_info``."""
_WARM_UP = 1.0  # seconds from the first push, before the clock runs
_OURS = "own: exact, blocks met before by dictionary"
_KINDS = {
    "engine": ("encode/feed of 1,000, in memory", _OURS),
    "encryption": ("encrypted() for 500 browsers in turn, in memory", "nobody"),
    "apns": ("Transport.send, batches of 500", _OURS),
    "fcm": ("Transport.send, batches of 500", _OURS),
    "webpush": ("Transport.send, batches of 500", _OURS),
    "rustore": ("Transport.send, batches of 500", _OURS),
    "huawei": ("Transport.send, a request for 500", "h11"),
    "h2load": ("none: one request repeated", "nghttp2"),
    "go": ("a goroutine a stream", "x/net hpack"),
    "aioapns": ("a task a stream", "hpack by h2"),
    "httpx": ("a task a stream", "hpack by h2"),
}


@dataclass
class Row:
    """One line of the table."""

    client: str
    streams: int
    connections: int
    latency_ms: int
    sink: str
    texts: str = ""
    """What the message says: ``ours.TEXTS`` has the names; empty: one text for everybody."""
    pushes: int = 0
    pushes_per_second: float = 0.0
    cpu_us_per_push: float = 0.0
    octets_per_push: float = 0.0
    """On the wire, with TLS; 0: not known of a program that is not ours."""
    rss_mb: float = 0.0
    rss_start_mb: float = 0.0
    api: str = ""
    """How a push is requested."""
    decoder: str = ""
    """The decoder of the answers' header blocks."""
    note: str = ""

    def __post_init__(self) -> None:
        self.api, self.decoder = _KINDS[self.client]

    def text(self) -> str:
        return json.dumps(asdict(self))


class Meter:
    """Counts from ``start`` to ``stop``: wall clock, and CPU of this process with all its threads."""

    def __init__(self, row: Row, seconds: float, pushes: int | None) -> None:
        """Stop after ``seconds``, or after ``pushes``."""
        self.row = row
        self._seconds = seconds
        self._pushes = pushes
        self._counting = self._stopped = False
        self._wall = self._cpu = 0.0
        self._sent = 0
        self._made = time.perf_counter()

    @property
    def warm(self) -> bool:
        """Whether the client has run long enough to be measured."""
        return time.perf_counter() - self._made > _WARM_UP

    def start(self) -> None:
        self.row.rss_start_mb = resident()
        self._counting = True
        self._sent = sent()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def over(self) -> bool:
        """Whether enough has been measured."""
        if self._stopped:
            return True
        if self._pushes is not None:
            return self.row.pushes >= self._pushes
        return self._counting and time.perf_counter() - self._wall >= self._seconds

    def count(self, n: int) -> None:
        if self._counting:
            self.row.pushes += n

    def stop(self) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._counting, self._stopped = False, True
        row = self.row
        row.pushes_per_second = round(row.pushes / wall, 1)
        row.cpu_us_per_push = round(cpu / max(1, row.pushes) * 1e6, 2)
        row.octets_per_push = round((sent() - self._sent) / max(1, row.pushes), 1)
        row.rss_mb = peak()
        if self._pushes is not None:
            self.row.rss_mb = resident()
            row.note = f"RSS {row.rss_start_mb} MB at start, {row.rss_mb} at end"


def sent() -> int:
    """Octets that this process's open TCP connections have sent and that have arrived."""
    total = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - files of the kernel
        try:
            with socket.socket(fileno=os.dup(int(name))) as copy:
                info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED + 8)
        except OSError:  # no socket, or none of TCP
            continue
        if len(info) == _ACKED + 8:
            total += struct.unpack_from("=Q", info, _ACKED)[0]
    return total


def resident() -> float:
    """Resident memory of this process now, MB."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a file of the kernel
        return round(int(file.read().split()[1]) * resource.getpagesize() / 1024 / 1024, 1)


def peak(process: int | str = "self") -> float:
    """Peak resident memory of a process, MB; 0 once it is gone.

    Not ``ru_maxrss``, which also counts the process as it was before ``exec``.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return round(int(found[1]) / 1024, 1) if found else 0.0
