"""Which module gives the tubes is configured, whatever happens to be installed (E9).

`QUEUE_MODULE=rock pytest tests/storage` runs all tests of the roles on the rock, where there is one.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from storage.embedded import Embedded
from tests.conftest import Server, linked
from tests.lua.rock import rock_path
from tests.storage.test_walk_verbs import House

pytestmark = pytest.mark.tarantool


def started(folder: Path, module: str, lua_path: str = "") -> dict[str, object]:
    """What an instance reports, or ``{"refused": …}``."""
    embedded = Embedded(folder, ["ios"], memory=64 << 20, module=module)
    env = os.environ | ({"LUA_PATH": f"{lua_path}/?.lua;{lua_path}/?/init.lua;;"} if lua_path else {})
    with subprocess.Popen(
        embedded.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(embedded.handshake)
        process.stdin.flush()
        line = process.stdout.readline()
        process.stdin.close()
        said = process.stderr.read().decode()
        process.wait(20)
    embedded.remove_runtime()
    return dict(json.loads(line)) if line else {"refused": said.strip().splitlines()[-1]}


def test_the_bundled_module_gives_the_tubes_though_another_is_installed(tmp_path: Path) -> None:
    """E9: it was taken in place of ours, by the look of the machine."""
    (tmp_path / "queue.lua").write_text("error('not this one')")
    assert started(tmp_path / "data", "bundled", str(tmp_path))["tubes"] == "the bundled module"


def test_without_the_rock_an_instance_that_should_run_on_it_says_what_is_missing(tmp_path: Path) -> None:
    if rock_path():
        pytest.skip(f"the rock is installed: {rock_path()}")
    assert started(tmp_path / "data", "rock")["refused"] == (
        'cannot start: queue.module is "rock", and the queue rock is not installed here: tt rocks install queue, or '
        'choose "bundled"'
    )


@pytest.mark.timeout(120)
@pytest.mark.skipif(not rock_path(), reason="no queue rock here: install it, or name its folder by QUEUE_ROCK")
async def test_the_rock_keeps_what_is_put_on_tubes_that_the_bundled_module_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found no time to live in the tube's row, took each new task for expired, and deleted it: pushes were lost."""
    server = Server(tmp_path / "data", ["ios", "android"], memory=64 << 20)
    server.embedded = replace(server.embedded, module="bundled")
    server.start().stop()
    monkeypatch.setenv("LUA_PATH", f"{rock_path()}/?.lua;{rock_path()}/?/init.lua;;")
    server.embedded = replace(server.embedded, module="rock")
    server.start()
    try:
        async with linked(server) as link:
            house = House(link)
            await house.join()
            await house.subscribers(10)
            await house.fire(page_size=100)
            await house.walk_page()
            await trio.sleep(1.5)  # the rock looks for expired tasks meanwhile
            assert await house.deliver("ios") + await house.deliver("android") == 10
    finally:
        server.stop()
        server.embedded.remove_runtime()


@pytest.mark.skipif(not rock_path(), reason="no queue rock here: install it, or name its folder by QUEUE_ROCK")
def test_one_module_goes_on_with_the_data_of_the_other(tmp_path: Path) -> None:
    for module in ("rock", "bundled", "rock"):
        told = {"rock": "the queue rock 1", "bundled": "the bundled module"}[module]
        assert str(started(tmp_path / "data", module, rock_path()).get("tubes")).startswith(told)
