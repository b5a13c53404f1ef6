"""The embedded instance and who started it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from storage.embedded import LUA, Embedded
from storage.tubes import Tubes
from tests.conftest import Server, linked

pytestmark = pytest.mark.tarantool


async def test_an_instance_whose_starter_is_gone_leaves_nothing_but_its_data(own_tarantool: Server) -> None:
    runtime, data = own_tarantool.embedded.runtime, own_tarantool.embedded.directory
    assert runtime.exists()
    own_tarantool.stop()  # as after a kill -9 of the node: its standard input ends
    assert not runtime.exists()
    assert list(data.glob("*.snap"))
    own_tarantool.start()
    async with linked(own_tarantool) as link:
        await Tubes(link, "test").epoch()


CFG_OF = """
package.path = ('%s/?.lua;%s/?/init.lua;'):format(arg[1], arg[1]) .. package.path
local config = require('json').decode(arg[2])
require('instance').start(config)
local daemon = box.internal.feedback_daemon
print(box.cfg.feedback_enabled, daemon ~= nil and daemon.fiber ~= nil)
os.exit(0)
"""


def test_an_instance_reports_nothing_to_the_makers_of_tarantool(tmp_path: Path) -> None:
    """C10: their feedback daemon is on by default in every version, and posts versions, uuids and counts."""
    (tmp_path / "cfg_of.lua").write_text(CFG_OF)
    embedded = Embedded(tmp_path / "base", ["ios"], memory=64 << 20)
    try:
        command = [embedded.command[0], str(tmp_path / "cfg_of.lua"), str(LUA), embedded.handshake.decode().strip()]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    finally:
        embedded.remove_runtime()
    assert said == ["false", "false"]
