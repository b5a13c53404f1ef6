"""The set of who is settled of a page, as the ledger joins it (``roles/store/settled_ids.lua``)."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from campaigns.id_set import pack_ids, unpack_ids

pytestmark = pytest.mark.tarantool

LUA = Path(__file__).parents[2] / "storage" / "lua"
SCRIPT = """
package.path = arg[1] .. '/?.lua;' .. package.path
local json = require('json')
local settled_ids = require('roles.store.settled_ids')
local packed, longest = {}, 0
for _, more in ipairs(json.decode(io.read('*a'))) do
    packed = settled_ids.add(packed, more)
    longest = math.max(longest, #packed)
end
print(json.encode({longest = longest, packed = packed}))
os.exit(0)
"""


@pytest.mark.parametrize("apart", [1, 50], ids=["in a row", "far apart"])
def test_the_set_of_a_page_stays_small_however_its_batches_interleave(tmp_path: Path, apart: int) -> None:
    """Issue 21, Benches: without joining, a batch at best times cost Tarantool 5 ms."""
    rows, classes = 8_000, 96
    ids = [7 + apart * n for n in range(rows)]
    random.Random(7).shuffle(ids)
    batches = [ids[start::classes] for start in range(classes)]
    script = tmp_path / "add.lua"
    script.write_text(SCRIPT)
    command = [shutil.which("tarantool") or "tarantool", str(script), str(LUA)]
    asked = json.dumps([pack_ids(batch) for batch in batches])
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert unpack_ids(found["packed"]) == frozenset(ids)
    blocks = len({id // 64 for id in ids})
    assert found["longest"] <= 2 * blocks + 512 + 2 * rows // classes
