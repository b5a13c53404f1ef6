"""The store's Lua speaks the words of ``campaigns/``: neither side can change them alone."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from actors.refusals import ENOUGH, HARDLY
from campaigns import personal
from campaigns.campaign import State
from campaigns.channel_state import LONGEST, MOST
from campaigns.lane import Lane
from campaigns.outcome import Outcome
from campaigns.recipient import NEW_APP, Recipient
from campaigns.tally import AUDIENCE, ENDS, ENQUEUED, RETRIED, ROWS, SKIPPED, UNSURE, UNWALKED, Tally
from storage.records import Row
from storage.tarantool_program import tarantool

pytestmark = pytest.mark.tarantool

LUA = Path(__file__).parents[2] / "storage/lua"
STORE = sorted((LUA / "roles/store").glob("*.lua"))
REMOVED = "removed_before"
ASKED = """
package.path = os.getenv('LUA') .. '/?.lua;' .. os.getenv('LUA') .. '/?/init.lua;' .. package.path
box.cfg{work_dir = os.getenv('DIR'), log = os.getenv('DIR') .. '/log', feedback_enabled = false}
require('roles.store.schema').migrate()
local terminal, formats = {}, {}
for _, word in ipairs(require('json').decode(os.getenv('WORDS'))) do
    terminal[word] = require('roles.store.sums').terminal({[word] = 1})
end
for _, space in box.space._space:pairs() do
    if space.name:match('^store_') then
        formats[space.name] = {}
        for i, field in ipairs(space.format) do
            formats[space.name][i] = field.name
        end
    end
end
print(require('json').encode({terminal = terminal, formats = formats}))
os.exit(0)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Which words the store's Lua counts as terminal, and the fields of its spaces."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "ask.lua").write_text(ASKED)
    words = json.dumps([*(outcome.value for outcome in Outcome), AUDIENCE, ENQUEUED, RETRIED, REMOVED, "sent"])
    done = subprocess.run(
        [tarantool() or "tarantool", "ask.lua"],
        cwd=folder,
        env={**os.environ, "LUA": str(LUA), "DIR": str(folder), "WORDS": words},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def source(*paths: Path) -> str:
    return "\n".join(path.read_text() for path in paths)


def test_the_store_counts_the_same_outcomes_as_terminal(said: dict[str, Any]) -> None:
    assert {word for word, counted in said["terminal"].items() if counted} == set(ENDS)


def test_lua_lists_the_outcomes_once() -> None:
    listed = [path.name for path in LUA.rglob("*.lua") if "'delivered'" in path.read_text()]
    assert listed == ["sums.lua"]
    assert re.search(r"TERMINAL = \{'([\w', ]+)'\}", source(LUA / "roles/store/sums.lua"))[1].split("', '") == [*ENDS]  # type: ignore[index]


def test_lua_counts_under_no_word_that_is_not_in_the_vocabulary() -> None:
    text = source(*LUA.rglob("*.lua"))
    counted = set(re.findall(r"\b(?:tallies|sums|known|by|more)\.(\w+) or 0", text))
    counted |= set(re.findall(r"(?:tally\(id, [\w.]+, |channel, )\{(\w+) = ", text))
    ended = set(re.findall(r"settled_line\([^\n']*'(\w+)', ", text))
    assert ended == {"rejected", "expired"}
    assert {"cancelled", "delivered", "enqueued", "audience"} <= counted
    counted.discard("texts")  # the version of a campaign's texts, no count
    assert counted <= {AUDIENCE, ENQUEUED, RETRIED, ROWS, SKIPPED, UNSURE, UNWALKED, *ENDS}


def test_lua_knows_the_states_of_a_campaign_and_no_others() -> None:
    found = re.findall(
        r"\bc\.state [=~]= '(\w+)'|set_state\(id, '(\w+)'|store_campaigns:\w+\([^\n]*?'(\w+)', message", source(*STORE)
    )
    assert {word for words in found for word in words if word} == set(get_args(State))


def test_a_row_of_the_base_has_the_fields_of_its_space(said: dict[str, Any]) -> None:
    assert said["formats"]["store_subscribers"] == [*Row._fields]


def test_a_recipient_is_cut_out_of_its_row_as_it_lies_there(said: dict[str, Any]) -> None:
    fields = said["formats"]["store_subscribers"]
    fields.remove("channel")  # see page_read.lua: the id, and what lies from the token to the locale
    assert fields[: len(Recipient.__struct_fields__)] == [*Recipient.__struct_fields__]


def test_a_tally_counts_every_terminal_outcome_and_no_other() -> None:
    ends = [*ENDS[:2], RETRIED, *ENDS[2:]]
    assert [*Tally.__struct_fields__] == [AUDIENCE, ENQUEUED, *ends, "remaining", SKIPPED, UNWALKED, UNSURE]


def test_both_sides_know_the_same_lanes() -> None:
    found = re.search(r"^local lanes = \{(.*?)\}", source(LUA / "roles/tubes/lanes.lua"), re.MULTILINE)
    assert found
    assert found[1] == ", ".join(f"{lane.name} = {lane.value}" for lane in Lane)


def number(path: str, name: str) -> float:
    """What a constant of the store's Lua is."""
    found = re.search(rf"^(?:local |rows\.){name} = ([\d.]+)", source(LUA / "roles/store" / path), re.MULTILINE)
    assert found, f"{name} is not in {path}"
    return float(found[1])


def test_both_sides_bound_the_state_of_a_channel_alike() -> None:
    assert (number("channels.lua", "MOST"), number("channels.lua", "LONGEST")) == (MOST, LONGEST)


def test_a_worker_and_the_ledger_call_a_campaign_sound_by_the_same_numbers() -> None:
    assert (number("dead_rows.lua", "ENOUGH"), number("dead_rows.lua", "HARDLY")) == (ENOUGH, HARDLY)


def test_both_sides_mark_a_new_app_alike() -> None:
    text = (LUA / "roles/store/page_read.lua").read_text()
    assert f"NEW_APP, OLD_APP = '{NEW_APP}', ''" in text


def test_the_store_carries_no_value_that_a_text_would_not_take() -> None:
    assert number("page_read.lua", "LONGEST_VALUE") == personal.LONGEST
