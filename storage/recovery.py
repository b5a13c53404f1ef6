"""How long an embedded Tarantool takes to read its data at its start: from their size, and its speed the last time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from storage.whole_file import WholeFile

log = structlog.get_logger(__name__)

CAREFUL = 7e6
"""Bytes of snapshot and log that an instance reads a second, before a start of it has been measured. A busy machine did
that with small rows, so the truth is rather better than what is said."""
SAID_FROM = 2.0
"""Seconds that a start must probably take to be announced."""
LEAST = 1 << 20
"""Bytes that a start must have read to be a measure of the speed."""
SPEED = "recovery.json"
"""The file in the data folder that keeps the speed of the last start."""


class _Speed(msgspec.Struct):
    bytes_per_second: float


def unread(directory: Path) -> int:
    """Bytes that a start has to read: the newest snapshot, and the logs that were written since."""
    snapshots = {int(path.stem): path for path in directory.glob("*.snap") if path.stem.isdecimal()}
    newest = max(snapshots, default=0)
    logs = [path for path in directory.glob("*.xlog") if path.stem.isdecimal() and int(path.stem) >= newest]
    return sum(_size(path) for path in (*logs, *([snapshots[newest]] if snapshots else [])))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed meanwhile
        return 0


class Recovery:
    """One instance's starts. While one is under way, ``told`` says how far it is."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """``directory``: the instance's data folder; ``clock``: seconds."""
        self._directory = directory
        self._clock = clock
        self._bytes = 0
        self.expected = 0.0
        """Seconds that the last start to begin would probably take."""
        self._measured = False
        self._began: float | None = None

    def begin(self) -> None:
        """A start begins: estimate it, and say so in the log if it takes a while."""
        self._bytes = unread(self._directory)
        speed = self._last_speed()
        self._measured = speed is not None
        self.expected = self._bytes / (speed or CAREFUL)
        self._began = self._clock()
        if self.expected >= SAID_FROM:
            log.info("tarantool reads its data", why=self.told())

    def done(self, said: Mapping[str, object]) -> None:
        """The instance serves. ``said``: its first line, with the seconds that it took to read its data."""
        self._began = None
        seconds = said.get("recovered")
        if self._bytes >= LEAST and isinstance(seconds, int | float) and seconds > 0:
            # a full disk: the next start is announced less exactly
            with contextlib.suppress(OSError), WholeFile(self._directory / SPEED) as file:
                file.write(msgspec.json.encode(_Speed(self._bytes / seconds)))

    def told(self) -> str:
        """Say how long the start under way takes; empty: none is, or it takes no time worth a word."""
        if self._began is None or self.expected < SAID_FROM:
            return ""
        passed = self._clock() - self._began
        how = "as fast as at its last start" if self._measured else "by a guess, as no start was measured yet"
        done = f"{passed:.0f} s have passed"
        if passed > self.expected:
            done += ", so it is slower this time"
        return f"it reads {self._bytes / 1e6:,.0f} MB of snapshot and log: about {self.expected:.0f} s, {how}; {done}"

    def _last_speed(self) -> float | None:
        try:
            speed = msgspec.json.decode((self._directory / SPEED).read_bytes(), type=_Speed).bytes_per_second
        except (OSError, msgspec.MsgspecError):
            return None
        return speed if speed > 0 else None
