"""The bundled tubes keep their contract: the Lua suites beside this file, each in a Tarantool of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SUITES = sorted(path.name for path in HERE.glob("*.lua") if path.name != "support.lua")
TARANTOOL = shutil.which("tarantool") or "tarantool"  # missing, the tests fail: ./dev setup installs it


@pytest.mark.tarantool
@pytest.mark.parametrize("suite", SUITES)
def test_every_law_of_the_suite_holds(suite: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("q")  # short: a Unix socket's path is at most 107 bytes
    done = subprocess.run(
        [TARANTOOL, str(HERE / suite)],
        env={**os.environ, "QUEUE_TEST_DIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    lines = done.stdout.splitlines()
    plan = [line for line in lines if line.startswith("1..")]
    passed = [line for line in lines if line.startswith("ok - ")]
    assert plan == [f"1..{len(passed)}"], done.stdout
    assert not any(line.lstrip().startswith("not ok") for line in lines), done.stdout
