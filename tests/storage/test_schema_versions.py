"""A base of an older schema is taken along with all that is in it; one of a newer schema is left alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from broadside.newsroom.coverage import coverage, verify
from storage.embedded import LUA
from storage.store import Store
from tests.broadside.test_node_end_to_end import NodeProcess
from tests.conftest import Server, linked

CAMPAIGN = 7 << 22
OLD = f"""
local lua, directory = arg[1], arg[2]
package.path = package.path .. (';%s/?.lua;%s/?/init.lua'):format(lua, lua)
box.cfg({{work_dir = directory, log_level = 1, feedback_enabled = box.internal.feedback_daemon and false}})
assert(require('roles.store.schema').migrate(1) == 1)
-- as a Broadside of that version wrote it: a campaign that has ended, two pages of it settled, nobody removed
for id = 1, 200 do
    local channel = id % 2 == 0 and 'ios' or 'android'
    box.space.store_subscribers:insert(
        {{box.sequence.store_subscriber_id:next(), channel, 'token-' .. id, 'token', 1, 'de', '', 'AT', '', '', nil,
          {{}}, setmetatable({{}}, {{__serialize = 'map'}})}})
end
box.space.store_counts:insert({{'ios', 100}})
box.space.store_counts:insert({{'android', 100}})
box.space.store_campaigns:insert(
    {{{CAMPAIGN}, 1, 'done', '{{"title":"t","body":"b"}}', {{ios = 100, android = 100}},
      {{page_size = 100, ttl_ms = 1000}}, 1000, 2000, 3000, 0, 0}})
box.space.store_cursors:insert({{{CAMPAIGN}, 0, 1, 100, 200, true, 2500}})
for seq = 0, 1 do
    box.space.store_pages:insert(
        {{{CAMPAIGN}, 0, seq, seq * 100, seq * 100 + 100, 'n1', 1, 2100, 'settled', 100, 100,
          {{ios = {{delivered = 49, rejected = 1}}, android = {{delivered = 50}}}}, {{}}}})
end
for _, channel in ipairs({{'ios', 'android'}}) do
    box.space.store_totals:insert(
        {{{CAMPAIGN}, channel, {{audience = 100, enqueued = 100, delivered = 100}},
          setmetatable({{}}, {{__serialize = 'map'}})}})
end
os.exit(0)
"""
NEWER = """
box.cfg({work_dir = arg[2], log_level = 1, feedback_enabled = box.internal.feedback_daemon and false})
local row = box.space.store_meta:get('schema')
box.space.store_meta:replace({'schema', row.value + 1})
os.exit(0)
"""


def written(folder: Path, directory: Path, script: str) -> None:
    """Run a script against an instance's files while nobody else does."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "script.lua"
    file.write_text(script)
    done = subprocess.run(
        ["tarantool", str(file), str(LUA), str(directory)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_a_base_of_the_first_schema_is_migrated_with_its_data(tmp_path: Path) -> None:
    directory = tmp_path / "tarantool"
    written(tmp_path, directory, OLD)
    server = Server(directory, ["ios", "android"]).start()
    try:
        async with linked(server) as link:
            store = Store(link)
            assert await store.subscribers_count() == {"ios": 100, "android": 100}
            assert [row.token for row in await store.subscribers_page(0, 3)] == ["token-1", "token-2", "token-3"]
            campaign = await store.campaign_get(CAMPAIGN)
            assert campaign is not None
            assert campaign.state == "done"
            # what the second schema added is there for the pages of the first
            walked = (await coverage(store, campaign)).walked
            assert [(w.channel, w.from_id, w.to_id, w.recipients, w.settled) for w in walked] == [
                ("android", 0, 200, 100, 100),
                ("ios", 0, 200, 100, 100),
            ]
            assert (await verify(store, campaign)).ok
            assert await store.removals() == {"ios": 0, "android": 0}
            assert await store.subscribers_remove("ios", "token-2")
            assert await store.removals() == {"ios": 1, "android": 0}
            row = ("ios", "token-new", "token", 5, "de", "", "AT", "", "", None, [], {})
            assert await store.subscribers_put([row]) == (1, 0)
            assert (await store.subscribers_page(200, 10))[0].id == 201, "ids go on where they were"
    finally:
        server.stop()
        server.embedded.remove_runtime()


@pytest.mark.timeout(120)
def test_a_node_refuses_the_base_of_a_newer_broadside_in_one_plain_sentence(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path, 10)
    directory = node.data / "tarantool"
    node.data.mkdir(mode=0o700)
    first = Server(directory, ["ios-news", "android-news"]).start()
    first.stop()
    first.embedded.remove_runtime()
    written(tmp_path, directory, NEWER)
    node.start()
    assert node.process is not None
    assert node.process.wait(60) == 1
    said = node.output.read_text()
    found = re.search(r"the store has schema (\d+), this Broadside knows (\d+): start a newer Broadside", said)
    assert found, said
    assert int(found[1]) == int(found[2]) + 1
    assert "traceback" not in said.lower()
