"""A clock that can be set, for all processes of a node: libfaketime, as tests/system sets it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from storage.whole_file import write_whole

LIBRARY = "faketime/libfaketimeMT.so.1"
"""Below /usr/lib/ARCHITECTURE, where Debian's package puts it."""
DAY = 86_400
SEEN_WITHIN = 1.0
"""Seconds until every process has seen that the clock was set."""


class SetClock:
    """The wall clock of a node; durations and CPU are counted by the kernel's own clocks, as ever."""

    def __init__(self, folder: Path, minute: int) -> None:
        """Begin tomorrow (UTC) at this minute of the day. Raises ``RuntimeError`` if libfaketime is not installed."""
        self._file = folder / "clock"
        self._library = next((str(path) for path in Path("/usr/lib").glob(f"*/{LIBRARY}")), None)
        if self._library is None:
            raise RuntimeError(f"{LIBRARY} is missing: apt-get install libfaketime")
        now = int(time.time())
        self._ahead = now // DAY * DAY + DAY + minute * 60 - now
        self._write()

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that put a process under this clock."""
        assert self._library is not None
        return {
            "LD_PRELOAD": self._library, "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": f"{SEEN_WITHIN:g}", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

    def next_day(self) -> None:
        """Set it a day forward: the processes see it within a second."""
        self._ahead += DAY
        self._write()

    def _write(self) -> None:
        write_whole(self._file, f"{self._ahead:+d}\n".encode())
