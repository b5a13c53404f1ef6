"""The set of who is settled of a page, as the ledger joins it (``roles/store/settled_ids.lua``)."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from campaigns.id_set import pack_ids, unpack_ids
from storage.tarantool_program import tarantool

pytestmark = pytest.mark.tarantool

LUA = Path(__file__).parents[2] / "storage" / "lua"
SCRIPT = """
package.path = arg[1] .. '/?.lua;' .. package.path
require('newer')
local msgpack = require('msgpack')
local settled_ids = require('roles.store.settled_ids')
local answers = {}
for _, case in ipairs(msgpack.decode(io.read('*a'))) do
    local packed, longest, known = {}, 0, {}
    for _, more in ipairs(case[1]) do
        packed = settled_ids.add(packed, more)
        longest = math.max(longest, #msgpack.encode(packed))
    end
    local blocks = settled_ids.unpack(packed) or {}
    for i, id in ipairs(case[2]) do
        known[i] = settled_ids.has(blocks, id)
    end
    for i, item in ipairs(packed) do
        packed[i] = type(item) == 'string' and item:hex() or item
    end
    table.insert(answers, {longest, packed, known})
end
io.write(msgpack.encode(answers))
os.exit(0)
"""
Packed: TypeAlias = "list[int | bytes]"


class Joined(msgspec.Struct, array_like=True):
    """What the ledger makes of a page's lines."""

    longest: int
    """Octets that the set took at most on the way."""
    packed: list[int | str]
    """Octets as hexadecimal digits."""
    known: list[bool]
    """Whether it has each id that was asked for."""

    @property
    def ids(self) -> frozenset[int]:
        """The set."""
        return unpack_ids(bytes.fromhex(item) if isinstance(item, str) else item for item in self.packed)


def join(folder: Path, cases: list[tuple[list[Packed], list[int]]]) -> list[Joined]:
    """Join the sets of each case, and ask for the ids beside them."""
    script = folder / "join.lua"
    script.write_text(SCRIPT)
    command = [tarantool() or "tarantool", str(script), str(LUA)]
    done = subprocess.run(command, input=msgspec.msgpack.encode(cases), capture_output=True, check=True)
    return msgspec.msgpack.decode(done.stdout, type=list[Joined])


def test_the_set_of_a_page_stays_small_however_its_batches_interleave(tmp_path: Path) -> None:
    """Issue 21, Benches: without joining, a batch at best times cost Tarantool 5 ms; with a number for each block of
    each batch, one of twelve time zones cost it 0.3 ms, and its worker as much."""
    rows = 8_000
    spreads = [(apart, classes) for apart in (1, 50, 5_000) for classes in (24, 96)]
    cases, pages = [], []
    for apart, classes in spreads:
        ids = [7 + apart * n for n in range(rows)]
        random.Random(7).shuffle(ids)
        pages.append(ids)
        cases.append(([pack_ids(ids[start::classes]) for start in range(classes)], ids[:100]))
    for found, ids, (apart, classes) in zip(join(tmp_path, cases), pages, spreads, strict=True):
        assert found.ids == frozenset(ids)
        assert found.known == [True] * 100
        blocks = len({id // 64 for id in ids})
        assert found.longest <= 14 * (blocks + 256 + rows // classes)
        if apart == 1:
            assert len(found.packed) == 2


def test_sets_of_any_form_are_joined_to_their_union(tmp_path: Path) -> None:
    """Runs that overlap, touch or lie apart, single blocks inside and outside of them, in any order."""
    draw = random.Random(21)
    cases, unions, absent = [], [], []
    for _ in range(300):
        sets = []
        for _ in range(draw.randint(0, 6)):
            first, apart = draw.randint(1, 2_000) * draw.choice((1, 1, 1 << 30)), draw.choice((1, 3, 50, 90, 500))
            sets.append(sorted({first + draw.randrange(60 * apart) for _ in range(draw.randint(0, 60))}))
        packed = [pack_ids(ids) for ids in sets]
        for ids in sets[:2]:  # as an earlier version wrote them: a number for each block
            packed.append([number for id in ids for number in (id // 64, 1 << id % 64)])
        union = frozenset[int]().union(*sets)
        others = [id for id in range(1, 3_000) if id not in union][:20]
        cases.append((packed, [*union, *others]))
        unions.append(union)
        absent.append(len(others))
    for found, union, others_count in zip(join(tmp_path, cases), unions, absent, strict=True):
        assert found.ids == union
        assert found.known == [True] * len(union) + [False] * others_count
