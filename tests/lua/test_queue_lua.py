"""The bundled tubes keep their contract: the Lua suites beside this file, each in a Tarantool of its own.

``contract_*.lua`` are the contract that the queue rock keeps as well; they run against the rock too where there is one.
"""

import os
import subprocess
from pathlib import Path

import pytest

from storage.tarantool_program import tarantool
from tests.lua.rock import rock_path

HERE = Path(__file__).parent
SUITES = sorted(path.name for path in HERE.glob("*.lua") if path.name != "support.lua")
CONTRACT = [name for name in SUITES if name.startswith("contract_")]
TARANTOOL = tarantool() or "tarantool"  # missing, the tests fail: ./dev setup installs it


@pytest.mark.tarantool
@pytest.mark.parametrize("suite", SUITES)
def test_every_law_of_the_suite_holds(suite: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    run(suite, tmp_path_factory, {})


@pytest.mark.tarantool
@pytest.mark.rock
@pytest.mark.parametrize("suite", CONTRACT)
def test_the_rock_keeps_the_same_contract(suite: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    run(suite, tmp_path_factory, {"QUEUE_LUA": rock_path()})


def run(suite: str, tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> None:
    folder = tmp_path_factory.mktemp("q")  # short: a Unix socket's path is at most 107 bytes
    done = subprocess.run(
        [TARANTOOL, str(HERE / suite)],
        env={**os.environ, "QUEUE_TEST_DIR": str(folder), **env},
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
