"""The guards on a real node, by the command line, and against its twins' ledgers."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broadside.demo import samples
from tests.broadside.test_node_end_to_end import NodeProcess
from tests.broadside.test_texts_end_to_end import RUNNER, broadside, entries

PHONES = 600
CONFIG = """
[node]
workers = 1
[http]
bind = "127.0.0.1:0"
[newsroom]
quiet = "off"
[guards]
approval_above = 650
[channels.ios]
platform = "apns"
app = "com.example.news"
twin = true
[kinds.sport]
budget = 1
"""
SICK = '[[rules]]\nanswer = "refuse"\nreason = "MissingDeviceToken"\n'


class Node(NodeProcess):
    def begin(self, script: str = "") -> None:
        (self.data / "twins").mkdir(mode=0o700, exist_ok=True, parents=True)
        (self.data / "twins" / "apns.script.toml").write_text(script)
        self.start()
        self.wait_for("serving", 90)

    def fill(self, count: int = PHONES) -> None:
        path = self.folder / "phones.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["channel", "token"])
            rows.writerows(["ios", f"{number:064x}"] for number in range(1, count + 1))
        code, said = broadside(self.folder, "subscribers", "import", str(path))
        assert code == 0, said

    def say(self, *words: str) -> tuple[int, str]:
        return broadside(self.folder, *words)

    def fire(self, *more: str, title: str = "Storm") -> tuple[int, str]:
        return self.say("fire", "--title", title, "--body", "Stay inside.", *more)

    def show(self, id: str) -> dict[str, Any]:
        code, said = self.say("campaign", "show", id, "--json")
        assert code == 0, said
        found: dict[str, Any] = json.loads(said)
        return found

    def got(self, campaign: str) -> set[str]:
        """Who got a campaign, by the twin's ledger."""
        whole = (self.data / "twins" / "apns.ledger").read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines()]
        return {line["token"] for line in lines if line.get("collapse") == campaign}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "broadside.toml").write_text(CONFIG)
    node = Node(tmp_path)
    node.runner = RUNNER
    node.data.mkdir(mode=0o700)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


@pytest.mark.timeout(300)
def test_each_guard_stops_and_goes_on_by_the_command_line(node: Node) -> None:
    node.begin()
    node.fill()
    assert node.fire("--wait")[0] == 0
    code, said = node.fire(title="STORM!")
    assert code == 2
    assert "the same text went out" in said
    assert "fire --again" in said
    assert node.fire("--again", "--wait", title="STORM!")[0] == 0

    code, said = node.say(
        "campaign", "test", "--title", "Trial", "--to", "1", "--to", f"{9999:064x}", "--channel", "ios"
    )
    assert code == 0, said
    assert '"[TEST] Trial"' in said
    assert {token for token in entries(node, "apns") if token not in node.ledger() or int(token, 16) == 9999} == {
        f"{9999:064x}"
    }
    assert node.say("campaign", "test", "--title", "Trial")[0] == 2

    code, said = node.fire("--arm", "--json", title="Verdict")
    armed = json.loads(said)
    assert (code, armed["state"], armed["approval"]) == (0, "armed", None)
    assert node.say("campaign", "fire", armed["id"])[0] == 0
    node.until(lambda: node.show(armed["id"])["state"] == "done", "end of the armed campaign")
    assert len(node.got(armed["id"])) == PHONES
    idle = json.loads(node.fire("--arm", "--json", title="Never")[1])["id"]
    assert node.say("campaign", "disarm", idle)[0] == 0
    assert node.say("campaign", "fire", idle)[0] == 2

    assert node.fire("--kind", "sport", "--wait", title="Goal")[0] == 0
    code, said = node.fire("--kind", "sport", title="Another goal")
    assert code == 2
    assert "600 of 600 phones had 1 or more of the kind sport" in said
    assert node.fire("--kind", "sport", "--over-budget", "--wait", title="Another goal")[0] == 0

    node.fill(700)
    code, said = node.fire(title="For everybody")
    assert code == 2
    assert "above 650 two people let it go" in said
    waits = json.loads(node.fire("--arm", "--json", title="For everybody")[1])
    assert waits["approval"]["phones"] == 700
    assert node.say("campaign", "approve", waits["id"])[0] == 2, "it was asked for with this key"
    assert node.say("campaign", "fire", waits["id"])[0] == 2
    assert node.say("campaign", "fire", waits["id"], "--unapproved")[0] == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed", [False, True])
def test_a_canary_leads_on_to_the_rest_and_each_person_is_in_one_of_both(node: Node, killed: bool) -> None:
    node.begin("latency_ms = 300\n" + samples.TWIN_SCRIPT)
    node.fill()
    if not killed:
        code, said = node.fire("--canary", "0.3", "--wait", "--json")
        assert code == 0, said
        rest = json.loads(said)
        share = node.show(rest["canary_of"])
    else:
        id = json.loads(node.fire("--canary", "0.3", "--json")[1])["id"]
        node.end(signal.SIGKILL)
        node.begin()
        node.until(lambda: node.show(id)["canary"]["rest"], "rest of the canary", 60)
        share = node.show(id)
        rest = node.until(lambda: (now := node.show(share["canary"]["rest"]))["state"] == "done" and now, "its end")
    assert (share["state"], share["canary"]["state"], rest["state"]) == ("done", "on", "done")
    first, second = node.got(share["id"]), node.got(rest["id"])
    assert PHONES * 0.2 < len(first) < PHONES * 0.4
    assert not first & second, "nobody twice"
    assert len(first | second) == PHONES, "and everybody"


@pytest.mark.timeout(300)
def test_a_canary_whose_pushes_a_provider_refuses_stops_and_alarms(node: Node) -> None:
    node.begin(SICK)
    node.fill()
    code, said = node.fire("--canary", "0.3", "--wait", "--json")
    report = json.loads(said.splitlines()[-1]) if code == 0 else None
    assert report is None
    (share,) = node.api("/v1/campaigns")["items"]
    found = node.show(share["id"])
    assert found["canary"]["state"] == "stopped"
    node.until(lambda: [a for a in node.api("/v1/status")["alarms"] if a["name"] == "canary-stopped"], "alarm")
    assert sum(node.ledger().values()) == 0
