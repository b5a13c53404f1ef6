"""A run under fault that is killed itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.system.processes import marked, until

RUN = "run-1-kill-twin"


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.system", "--fault", "kill-twin", "--seed", "1", "--report", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.mark.tarantool
@pytest.mark.timeout(90)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_a_killed_run_leaves_no_process(
    end: signal.Signals, harness: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    folder = str(tmp_path / RUN)
    # two twins, the node, its Tarantool, a worker
    await until(lambda: len(marked(folder)) >= 5, "whole house", 60)
    harness.send_signal(end)
    assert await trio.to_thread.run_sync(harness.wait) == -end
    await until(lambda: not marked(folder), "end of every process", 15)


@pytest.mark.tarantool
@pytest.mark.timeout(90)
async def test_ctrl_c_ends_the_runs_without_a_traceback(harness: subprocess.Popen[bytes], tmp_path: Path) -> None:
    folder = str(tmp_path / RUN)
    await until(lambda: len(marked(folder)) >= 5, "whole house", 60)
    harness.send_signal(signal.SIGINT)
    _, said = await trio.to_thread.run_sync(harness.communicate)
    assert harness.returncode == 130
    assert said.splitlines()[-1] == b"stopped: 0 of 1 plans were run to their end"
    assert b"Traceback" not in said
    await until(lambda: not marked(folder), "end of every process", 15)
