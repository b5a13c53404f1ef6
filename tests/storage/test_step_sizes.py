"""What takes long is done in small steps: while a transaction runs, Tarantool answers nobody else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from storage.embedded import LUA, Embedded

pytestmark = pytest.mark.tarantool

HEAD = """
package.path = ('%s/?.lua;%s/?/init.lua;'):format(arg[1], arg[1]) .. package.path
local json = require('json')
box.cfg({work_dir = arg[2], log_level = 2, feedback_enabled = box.internal.feedback_daemon and false})
require('roles.store').start()
local NOW = 1800000000000
local EMPTY = setmetatable({}, {__serialize = 'map'})
local sizes, written = {}, 0
local function count()
    if written == 0 then
        box.on_commit(function()
            table.insert(sizes, written)
            written = 0
        end)
    end
    written = written + 1
end
"""
CANCELLED = (
    HEAD
    + """
local epoch = store.node_join('n', box.info.uuid, 0, NOW, {'ios'})
local states = {'claimed', 'enqueued', 'open'}
for seq = 1, 950 do
    -- 100 of the first state, 150 of the second, 700 of the third
    local state = states[seq <= 100 and 1 or seq <= 250 and 2 or 3]
    box.space.store_pages:insert({7, 0, seq, seq, seq + 1, 'gone', 1, NOW, state, 1, 0, EMPTY, {}})
end
box.space.store_campaigns:insert({7, 3, 'cancelling', '{}', EMPTY, {ttl_ms = 1000}, NOW, NOW, 0, 0, 950})
box.space.store_pages:on_replace(count)
store.node_renew('n', epoch, NOW, {{7, 3}}, {})
local ended = box.space.store_pages.index.state:count({'settled'})
print(json.encode({sizes, box.space.store_campaigns:get(7).state, ended}))
os.exit(0)
"""
)


def run(text: str, folder: Path) -> list[object]:
    """What a script on a blank instance prints."""
    (folder / "base").mkdir()
    (folder / "script.lua").write_text(text)
    command = [Embedded(folder, []).command[0], str(folder / "script.lua"), str(LUA), str(folder / "base")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said: list[object] = json.loads(done.stdout)
    return said


def test_a_cancel_never_writes_more_than_a_hundred_pages_in_one_transaction(tmp_path: Path) -> None:
    """C5: the bound held within one state of pages; at 101 pages of two states it never held again."""
    sizes, state, settled = run(CANCELLED, tmp_path)
    assert (sizes, state, settled) == ([100] * 9 + [50], "cancelled", 950)
