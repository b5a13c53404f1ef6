"""A bench that is stopped leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHES = sorted(path.name for path in (ROOT / "benchmarks").glob("bench_*.py"))


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_ends_at_sigterm_as_at_ctrl_c(name: str) -> None:
    assert "\n    end_at_sigterm()\n" in (ROOT / "benchmarks" / name).read_text()


def naming(text: str) -> list[int]:
    """The processes whose command names this."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.tarantool
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs Linux")
def test_a_ring_that_is_stopped_leaves_no_node_behind(tmp_path: Path) -> None:
    """Its store, node and twins went on for an hour and a half."""
    command = [sys.executable, "-m", "benchmarks.bench_ring", "--subscribers", "2000", "--turns", "1"]
    bench = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not naming(str(tmp_path)):
            assert time.monotonic() < deadline, "no node was started"
            assert bench.poll() is None
            time.sleep(0.05)
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(60) == 128 + signal.SIGTERM
        assert naming(str(tmp_path)) == []
    finally:
        bench.kill()
        for each in naming(str(tmp_path)):
            os.kill(each, signal.SIGKILL)
