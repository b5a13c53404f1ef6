"""The operator's commands against a real node: what they say, in words and in JSON, and their exit codes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broadside import cli
from storage.embedded import LUA
from storage.tarantool_program import tarantool
from tests.broadside.test_node_end_to_end import NodeProcess, slow

SUBSCRIBERS = 4000
NOBODY = "aaaaaaaaaaaaa"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, SUBSCRIBERS)
    slow(node, 100)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


@pytest.fixture
def command(node: NodeProcess, capfd: pytest.CaptureFixture[str]) -> Command:
    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.run([*words, "--data", str(node.data)])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert "unexpected" not in err
        return code, out, err

    return run


def written(node: NodeProcess, script: str) -> None:
    """Run a script against the stopped node's base, as nobody can who has only the node's rights."""
    file = node.folder / "script.lua"
    head = "package.path = package.path .. (';%s/?.lua;%s/?/init.lua'):format(arg[1], arg[1])\n"
    head += "box.cfg({work_dir = arg[2], log_level = 1, feedback_enabled = box.internal.feedback_daemon and false})\n"
    file.write_text(f"{head}{script}\nos.exit(0)\n")
    folder = node.data / "tarantool"
    command = [tarantool() or "tarantool", str(file), str(LUA), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def fired(command: Command) -> str:
    code, out, _ = command("fire", "--title", "Second", "--body", "B", "--json")
    assert code == 0
    return str(json.loads(out)["id"])


def state(command: Command, id: str) -> Any:
    code, out, _ = command("campaign", "show", id, "--json")
    assert code == 0
    return json.loads(out)


@pytest.mark.timeout(240)
def test_a_campaign_is_paused_resumed_proved_and_cancelled_from_the_command_line(
    node: NodeProcess, command: Command
) -> None:
    node.subscribers = 30_000  # more than can be in hand at once
    node.start()
    node.wait_for("serving;", 90)
    node.judged()
    live = node.api("/v1/subscribers/count")["total"]
    id = fired(command)
    code, out, err = command("campaign", "pause", id)
    assert (code, err) == (0, "")
    assert out.startswith(f"campaign {id} is paused: ")
    before = state(command, id)
    assert sum(tally["remaining"] for tally in before["channels"].values()) > 0, "it was in mid-walk"
    sent = sum(node.ledger().values())
    time.sleep(1.0)
    assert sum(node.ledger().values()) == sent, "nothing goes out while it is paused"
    assert state(command, id)["channels"] == before["channels"]

    assert command("campaign", "pause", id)[:2] == (0, out), "once more changes nothing"

    code, out, err = command("campaign", "resume", id, "--json")
    assert (code, json.loads(out)["id"]) == (0, id)
    node.until(lambda: state(command, id)["state"] == "done", "end of the campaign", 60)
    assert sum(tally["delivered"] for tally in state(command, id)["channels"].values()) == live
    code, out, err = command("campaign", "resume", id)
    assert (code, err) == (0, ""), "it has gone on, and come to its end"
    code, out, err = command("campaign", "pause", id)
    assert (code, err) == (
        2,
        f"campaign {id} is done (only a campaign that is firing can be paused; a later start can be cancelled)\n",
    )
    code, out, err = command("campaign", "cancel", id)
    assert (code, err) == (2, f"campaign {id} is done (it has ended already)\n")

    # the proof: per segment and channel the ranges, by whom, and that there is no gap
    code, out, _ = command("campaign", "show", id, "--coverage")
    lines = out.splitlines()
    assert lines[0].split("\t") == [
        "segment",
        "channel",
        "ids",
        "node",
        "epoch",
        "pages",
        "recipients",
        "skipped",
        "settled",
    ]
    assert lines[-1] == f"campaign {id}, done: no gaps"
    rows = [line.split("\t") for line in lines[1:-2]]
    assert {row[0] for row in rows} == {"0", "1"}, "two workers, two segments"
    assert {row[1] for row in rows} == {"ios-news", "android-news"}
    assert {row[3] for row in rows} == {"node-1"}
    assert sum(int(row[6].replace(",", "")) for row in rows) == live
    code, out, _ = command("campaign", "show", id, "--coverage", "--json")
    assert (code, json.loads(out)["gaps"]) == (0, [])
    code, out, _ = command("campaign", "verify", id)
    assert code == 0
    assert f"campaign {id}, done: OK, " in out
    code, out, _ = command("campaign", "verify", id, "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)

    # each walker had its first page within a second of Fire
    assert node.end() == 0
    written(
        node,
        f"""
        local file = io.open('{node.folder}/claims', 'w')
        for _, page in box.space.store_pages:pairs() do
            if page.seq == 0 then
                file:write(tonumber(page.claimed_at - box.space.store_campaigns:get(page.campaign).fired_at), '\\n')
            end
        end
        file:close()
        """,
    )
    claims = [int(line) for line in (node.folder / "claims").read_text().split()]
    assert len(claims) == 4, "two campaigns of two segments"
    assert max(claims) < 1000, f"ms after Fire: {claims}"

    # a third one is cancelled for good
    node.start()
    node.wait_for("serving;")
    third = fired(command)
    code, out, _ = command("campaign", "cancel", third)
    assert code == 0
    assert out.startswith(f"campaign {third} is cancelled: ")
    assert command("campaign", "resume", third)[0] == 2
    assert command("campaign", "verify", third)[0] == 0, "a cancelled campaign's ledger holds, too"


@pytest.mark.timeout(120)
def test_verify_and_coverage_name_the_range_that_is_missing_from_a_damaged_ledger(
    node: NodeProcess, command: Command
) -> None:
    (node.data / "twins" / "apns.script.toml").unlink()
    (node.data / "twins" / "fcm.script.toml").unlink()
    node.subscribers = 8_000  # two pages a segment
    node.start()
    node.wait_for("serving;")
    (report,) = node.api("/v1/campaigns")["items"]
    id = report["id"]
    assert command("campaign", "verify", id)[0] == 0
    assert node.end() == 0
    written(
        node,
        f"""
        local c = box.space.store_campaigns:pairs():nth(1)
        local page = box.space.store_pages:get({{c.id, 1, 0}})
        local file = io.open('{node.folder}/range', 'w')
        file:write(tonumber(page.from_id), ' ', tonumber(page.to_id))
        file:close()
        box.space.store_pages:delete({{c.id, 1, 0}})
        """,
    )
    first, last = map(int, (node.folder / "range").read_text().split())
    node.start()
    node.wait_for("serving;")
    code, out, err = command("campaign", "verify", id)
    assert (code, err) == (1, "")
    assert f"campaign {id}, done: differs\n" in out
    assert f"  segment 1: ids {first + 1} to {last} are in no page\n" in out
    code, out, _ = command("campaign", "verify", id, "--json")
    assert (code, json.loads(out)["ok"]) == (1, False)
    code, out, _ = command("campaign", "show", id, "--coverage")
    assert out.endswith(f"campaign {id}, done: 1 gap\n  segment 1, ids {first + 1}-{last}: in no page\n")
    code, out, _ = command("campaign", "show", id, "--coverage", "--json")
    gap = {"segment": 1, "from_id": first, "to_id": last, "why": "in no page"}
    assert json.loads(out)["gaps"] == [gap]


@pytest.mark.timeout(120)
def test_peers_tubes_and_single_subscribers_answer_good_and_bad_input(node: NodeProcess, command: Command) -> None:
    node.subscribers = 20
    node.start()
    node.wait_for("serving;")

    code, out, _ = command("peers", "list")
    header, row = (line.split("\t") for line in out.splitlines())
    assert header == ["node", "queue", "epoch", "status", "seen", "lease", "unsettled pages"]
    assert (row[0], row[2], row[3], row[5], row[6]) == ("node-1 (this)", "1", "current", "may run", "0")
    assert json.loads(command("peers", "list", "--json")[1])["peers"][0]["name"] == "node-1"
    assert command("peers", "forget", "node-9") == (
        2, "", 'no node "node-9" has ever joined (known: node-1)\n'
    )  # fmt: skip
    only = "node-1 is the only node: nobody could go on with its pages (start another one first)\n"
    assert command("peers", "forget", "node-1") == (2, "", only)
    assert command("peers", "forget", "node-1", "--force") == (2, "", only)

    code, out, _ = command("subscribers", "put", "ios-news", "f" * 64, "--locale", "de", "--tag", "sport")
    assert (code, out) == (0, "added one subscriber of ios-news\n")
    code, out, _ = command("subscribers", "put", "ios-news", "f" * 64, "--json")
    assert (code, json.loads(out)) == (0, {"inserted": 0, "updated": 1})
    code, out, err = command("subscribers", "put", "ios-news", "f" * 64, "--tz", "Europe/Berlim")
    assert (code, out) == (2, "")
    assert 'tz: "Europe/Berlim"' in err
    assert command("subscribers", "remove", "ios-news", "f" * 64)[:2] == (0, "removed one subscriber of ios-news\n")
    code, out, err = command("subscribers", "remove", "ios-news", "f" * 64)
    assert (code, out, err) == (1, "", "ios-news has no subscriber with that token\n")
    code, out, _ = command("subscribers", "remove", "ios-news", "f" * 64, "--json")
    assert (code, json.loads(out)) == (1, {"removed": False})

    for act in ("pause", "resume", "cancel", "verify", "show"):
        code, out, err = command("campaign", act, NOBODY)
        assert (code, out) == (2, "")
        assert err.removeprefix("id: ") == f"no campaign {NOBODY} (`campaign list` shows the ids)\n"
        code, out, err = command("campaign", act, "nonsense!")
        assert (code, out) == (2, "")
        assert "broadside campaign list shows the ids" in err

    code, out, _ = command("tube", "list")
    assert {line.split("\t")[0] for line in out.splitlines()[1:4]} == {"batons", "push_android-news", "push_ios-news"}
    assert out.endswith("0 batches parked for paused campaigns, 0 reports not yet in the store\n")
    assert set(json.loads(command("tube", "list", "--json")[1])) >= {"tubes", "parked", "outbox"}
    for act in ("buried", "kick"):
        code, out, err = command("tube", act, "nowhere")
        assert (code, out) == (2, "")
        assert err == 'no channel "nowhere" on this node (known: android-news, ios-news)\n'
    assert command("tube", "buried", "ios-news") == (0, "", "no batch is buried on ios-news\n")
    assert command("tube", "kick", "ios-news")[:2] == (0, "0 of ios-news's buried batches are back on the tube\n")
    code, out, err = command("tube", "kick", "ios-news", "--count", "-1")
    assert (code, out) == (2, "")
    assert err

    # what cannot be read is buried by the consumer, shown, and buried again when it is brought back
    assert node.end() == 0
    written(
        node,
        """
        require('roles.store').start()
        require('roles.tubes').start({'ios-news', 'android-news'})
        local queue = require('queue')
        require('fiber').sleep(0.2)
        queue.tube['push_ios-news']:put({'from', 'a', 'newer', 'Broadside'})
        queue.tube['batons']:put({'a', 'baton', 'of', 'S8'})
        """,
    )
    node.start()
    node.wait_for("serving;")
    node.until(lambda: command("tube", "buried", "ios-news")[1], "buried batch")
    code, out, _ = command("tube", "buried", "ios-news")
    assert out.splitlines()[0].split("\t") == [
        "task",
        "campaign",
        "segment",
        "page",
        "attempt",
        "crashes",
        "maybe sent",
        "why",
    ]
    assert "not a batch" in out.splitlines()[1]
    (task,) = json.loads(command("tube", "buried", "ios-news", "--json")[1])["buried"]
    assert (task["campaign"], task["page"]) == (None, None), "it is from a newer Broadside"
    assert command("tube", "kick", "ios-news", "--json")[0] == 2, "nobody can be asked: --yes is missing"
    code, out, _ = command("tube", "kick", "ios-news", "--count", "5", "--json", "--yes")
    assert json.loads(out) == {"kicked": 1}
    node.until(lambda: command("tube", "buried", "ios-news")[1], "batch that is buried again")
    assert command("tube", "bury", "ios-news")[0] == 2, "--end is missing"
    code, out, _ = command("tube", "bury", "--end", "ios-news")
    assert (code, out) == (0, "1 of ios-news's buried batches ended, 0 recipients rejected\n")
    assert command("tube", "buried", "ios-news")[1] == ""
    tubes = json.loads(command("tube", "list", "--json")[1])["tubes"]
    assert tubes["batons"]["buried"] == 1, "S8: what is no baton ends no walker"

    assert node.end() == 0
    code, out, err = command("peers", "list")
    assert (code, out) == (3, "")
    assert "no node is running on the data folder" in err
