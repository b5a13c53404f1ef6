"""The store's predicate chooses whom a slow, obvious model chooses, through the page loop that campaigns use (21.1)."""

from __future__ import annotations

import bisect
import json
import os
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from campaigns.where import Where, version_bounds
from storage.tarantool_program import tarantool
from tests.lua.audiences import draw_row, draw_where, drawn, is_in

pytestmark = pytest.mark.tarantool

AUDIENCES, ROWS, A_PAGE = 10_000, 600, 20
LUA = Path(__file__).parents[2] / "storage/lua"
ASKED = """
package.path = os.getenv('LUA') .. '/?.lua;' .. os.getenv('LUA') .. '/?/init.lua;' .. package.path
require('newer')
box.cfg{work_dir = os.getenv('DIR'), log = os.getenv('DIR') .. '/log', wal_mode = 'none', feedback_enabled = false}
require('roles.store.schema').migrate()
local page_read = require('roles.store.page_read')
local msgpack = require('msgpack')
local file = io.open(os.getenv('DIR') .. '/asked')
local asked = msgpack.decode(file:read('*a'))
for _, row in ipairs(asked.rows) do
    box.space.store_subscribers:insert(row)
end
local MAP, answers = {__serialize = 'map'}, {}
for i, question in ipairs(asked.questions) do
    local where, after, channels = question[1], question[2], question[3]
    box.space.store_campaigns:replace({
        i % 50, i, 'firing', '', setmetatable({channels = channels, where = where}, MAP), setmetatable({}, MAP),
        1, 1, 0, 0, 0,
    })
    local last = box.space.store_subscribers:select({after}, {iterator = 'GT', offset = asked.size - 1, limit = 1})[1]
    local parts, skipped = page_read(after, last and last.id or 2 ^ 53, nil, 7, i % 50)
    local ids = {}
    for _, part in ipairs(parts) do
        for _, row in ipairs((msgpack.decode(part[3]))) do
            table.insert(ids, row[1])
        end
    end
    table.sort(ids)
    answers[i] = {setmetatable(ids, {__serialize = 'seq'}), skipped}
end
local out = io.open(os.getenv('DIR') .. '/answers', 'w')
out:write(msgpack.encode(answers))
out:close()
os.exit(0)
"""


def ask(folder: Path, rows: list[Any], questions: list[Any]) -> list[tuple[list[int], dict[str, int]]]:
    """The ids that page_read gives for each question, and how many rows it skipped."""
    (folder / "ask.lua").write_text(ASKED)
    asked = {"rows": rows, "questions": questions, "size": A_PAGE}
    (folder / "asked").write_bytes(msgspec.msgpack.encode(asked))
    done = subprocess.run(
        [tarantool() or "tarantool", "ask.lua"],
        cwd=folder,
        env={**os.environ, "LUA": str(LUA), "DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[tuple[list[int], dict[str, int]]] = msgspec.msgpack.decode((folder / "answers").read_bytes())
    return answers


def test_ten_thousand_drawn_audiences_are_those_of_the_model(tmp_path: Path) -> None:
    """21.1: and each row of a page's channels is enqueued or skipped."""
    random_ = random.Random(21)
    ids = sorted(random_.sample(range(1, 5000), ROWS - 50)) + sorted(random_.sample(range(2**33, 2**40), 50))
    rows = [draw_row(random_, id) for id in ids]
    questions = []
    for _ in range(AUDIENCES):
        channels = random_.choice([["ios"], ["ios", "android"], ["android"]])
        questions.append((draw_where(random_).plain(), random_.choice([0, *ids[:-A_PAGE]]), channels))
    wrong, chosen = [], 0
    for (where, after, channels), (found, skipped) in zip(questions, ask(tmp_path, rows, questions), strict=True):
        first = bisect.bisect_right(ids, after)
        read = msgspec.convert(where, Where)
        kept: list[int] = []
        left: Counter[str] = Counter()
        for row in rows[first : first + A_PAGE]:
            if row[1] in channels and is_in(row, read):
                kept.append(row[0])
            elif row[1] in channels:
                left[row[1]] += 1
        chosen += len(kept)
        if (found, skipped) != (kept, dict(left)):
            wrong.append((where, after, channels, found, skipped))
    assert not wrong, json.dumps(wrong[:3])
    assert AUDIENCES < chosen < AUDIENCES * A_PAGE / 2, "neither nearly nobody nor nearly everybody"


def test_a_share_is_even_and_another_salt_draws_others() -> None:
    """21.1: by the model, which the store's own hash equals."""
    a, b = ({id: drawn(id, salt) for id in range(1, 10_001)} for salt in "ab")
    first, other = ({id for id, at in each.items() if at < 0.1} for each in (a, b))
    assert 910 < len(first) < 1_090, "1,000 ± 3 deviations"
    assert 60 < len(first & other) < 140, "100 ± 4 deviations: the salts are independent"
    for part in range(0, 10_000, 1_000):
        assert 62 < sum(part < id <= part + 1_000 for id in first) < 138
    assert first < {id for id, at in a.items() if at < 0.2}, "a share grows"


@pytest.mark.parametrize("text", ["", "4.", ">=", ">=4.x", "4.2;5", "1.2.3.4.5.6.7.8.9", "=>4", "<1234567890123456"])
def test_what_is_no_bound_of_a_version_is_refused(text: str) -> None:
    """21.1"""
    with pytest.raises(ValueError, match="is no bound of a version"):
        version_bounds(text)


def test_the_bounds_of_a_version_are_read() -> None:
    """21.1"""
    assert version_bounds(">=4.2, <5,!= v4.10 ,==4.3,4.4") == [
        (">=", [4, 2]), ("<", [5]), ("!=", [4, 10]), ("=", [4, 3]), ("=", [4, 4]),
    ]  # fmt: skip
