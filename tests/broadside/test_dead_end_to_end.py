"""A wrong key on a real node: nobody is deleted, a person is asked once, the answer is taken up at once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broadside import cli
from broadside.api.dead_records import QUESTIONS
from tests.broadside.test_node_end_to_end import NodeProcess

PHONES = 400
REFUSES = '[[rules]]\nanswer = "refuse"\nreason = "BadDeviceToken"\n'

Command = Callable[..., tuple[int, str, str]]


def questions(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["state"] in QUESTIONS]


class WrongKey(NodeProcess):
    """Apple's twin answers every push as for a key of the other environment."""

    def begin(self, platform: str = "apns", script: str = REFUSES) -> None:
        twins = self.data / "twins"
        self.data.mkdir(mode=0o700)
        twins.mkdir(mode=0o700)
        (twins / f"{platform}.script.toml").write_text(script)
        self.start()
        self.wait_for("fired campaign", 90)

    def mend(self) -> None:
        """The twin starts again as one that accepts."""
        (self.data / "twins" / "apns.script.toml").write_text("")
        (twin,) = self.children("simulators.twin apns")
        os.kill(twin, signal.SIGKILL)

    def tally(self) -> dict[str, int]:
        (campaign,) = self.api("/v1/campaigns")["items"]
        return dict(campaign["channels"].get("ios-news", {}))

    def count(self) -> int:
        return int(self.api("/v1/subscribers/count")["channels"].get("ios-news", 0))

    def question(self) -> dict[str, Any]:
        found: dict[str, Any] = self.until(lambda: questions(self.api("/v1/dead")["items"]), "question")[0]
        return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[WrongKey]:
    node = WrongKey(tmp_path, 2 * PHONES)
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
        return code, out, err

    return run


@pytest.mark.timeout(300)
def test_a_wrong_key_deletes_nobody_and_what_was_held_goes_out_once_it_is_mended(
    node: WrongKey, command: Command
) -> None:
    """A1, A2"""
    node.begin()
    question = node.question()
    assert (question["channel"], question["state"]) == ("ios-news", "stopped")
    assert question["reasons"].keys() == {"BadDeviceToken"}
    assert node.count() == PHONES
    # it stands everywhere that people and programs look
    # a worker's word that it waits may come before the node's next heartbeat, which brings the question
    node.until(lambda: [said for said in node.api("/readyz")["alarms"] if "has stopped" in said["text"]], "alarm")
    (alarm,) = [said for said in node.api("/readyz")["alarms"] if said["name"] == "refused-tokens"]
    assert alarm in node.api("/v1/status")["alarms"]
    assert "ios-news has stopped" in alarm["text"]
    assert {state["reason"] for state in node.api("/v1/status")["channels"]} == {"question"}
    code, out, err = command("dead", "list")
    assert (code, err) == (0, "")
    assert "broadside dead keep ios-news" in out
    code, out, _ = command("campaign", "show", question["campaign"])
    assert "ios-news has stopped" in out
    tally = node.tally()
    assert {word: tally[word] for word in ("delivered", "dead", "rejected")} == {
        "delivered": 0,
        "dead": 0,
        "rejected": 0,
    }
    assert command("dead", "keep", "android-news")[:2] == (2, "")
    node.mend()
    code, out, err = command("dead", "keep", "ios-news")
    assert (code, err) == (0, "")
    node.wait_for("serving;", 90)
    tally = node.tally()
    assert (tally["delivered"], tally["remaining"]) == (PHONES, 0)
    assert node.count() == PHONES
    assert questions(node.api("/v1/dead")["items"]) == []
    node.until(lambda: alarm not in node.api("/readyz")["alarms"], "end of the alarm")


@pytest.mark.timeout(300)
def test_what_a_person_calls_dead_goes_and_can_be_brought_back(node: WrongKey, command: Command) -> None:
    """A1, A2"""
    node.begin()
    campaign = node.question()["campaign"]
    code, out, err = command("dead", "confirm", "ios-news", campaign)
    assert (code, err) == (0, "")
    node.wait_for("serving;", 90)
    tally = node.tally()
    assert (tally["delivered"], tally["rejected"], tally["remaining"]) == (0, PHONES, 0)
    node.until(lambda: node.count() == 0, "deletion of what was confirmed")
    verified = node.api(f"/v1/campaigns/{campaign}/verify")
    assert verified["ok"], verified["problems"]
    code, out, _ = command("dead", "list", "--json")
    removed = json.loads(out)["removed"]
    assert {entry["channel"]: entry["removed"] for entry in removed}["ios-news"] == PHONES
    code, out, err = command("dead", "restore", "ios-news")
    assert (code, out, err) == (0, f"{PHONES} subscribers are back\n", "")
    assert node.count() == PHONES
    code, out, err = command("dead", "restore", "ios-news")
    assert (code, out) == (2, "")
    assert "nothing was deleted as dead in the last day for ios-news" in err
    verified = node.api(f"/v1/campaigns/{campaign}/verify")
    assert verified["ok"], verified["problems"]


@pytest.mark.timeout(300)
def test_an_old_base_goes_through_and_ends_with_a_question(node: WrongKey, command: Command) -> None:
    """A2: a third of it is really dead; deliveries prove the key, so nothing waits."""
    node.begin("fcm", '[[rules]]\nshare = 0.33\nanswer = "dead"\n')
    node.wait_for("serving;", 90)
    (campaign,) = node.api("/v1/campaigns")["items"]
    tally = campaign["channels"]["android-news"]
    assert tally["delivered"] + tally["dead"] == PHONES
    assert tally["dead"] > 0.2 * PHONES
    question = node.question()
    assert (question["channel"], question["state"], question["kept"]) == ("android-news", "asked", tally["dead"])
    counts = node.api("/v1/subscribers/count")["channels"]
    assert counts["android-news"] == PHONES, "nothing is deleted"
    code, _, err = command("dead", "confirm", "android-news")
    assert (code, err) == (0, "")
    left = PHONES - tally["dead"]
    node.until(lambda: node.api("/v1/subscribers/count")["channels"]["android-news"] == left, "deletion")
