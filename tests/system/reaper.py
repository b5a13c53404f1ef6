"""Ends what a killed run leaves behind: its processes are in sessions of their own, and nobody else would.

``python -m tests.system.reaper FOLDER``, with a pipe as stdin: its other end closes when the run ends, however it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.system.processes import marked


@contextmanager
def reaped(folder: Path) -> Iterator[None]:
    """Inside, the end of this process is the end of all those of the run in ``folder``."""
    command = [sys.executable, "-m", "tests.system.reaper", str(folder)]
    reaper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        assert reaper.stdin is not None
        reaper.stdin.close()
        reaper.wait(20)


def end(folder: str, seconds: float = 10.0) -> None:
    """Kill them, and those that they start meanwhile."""
    deadline = time.monotonic() + seconds
    while (left := marked(folder)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end(sys.argv[1])
