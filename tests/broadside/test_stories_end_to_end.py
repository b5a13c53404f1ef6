"""A story on a real node, by the command line, against the twins of Apple and Google."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.ledger import Entry, read_ledger
from tests.broadside.test_node_end_to_end import NodeProcess
from tests.broadside.test_texts_end_to_end import RUNNER, broadside, token

PHONES = 30
LOST = 'bodies = true\n[[rules]]\nanswer = "reset"\ndelivered = true\ntimes = 1\n'
"""Each channel's first broadcast arrives, and its answer is lost; so is that of the first making of a channel."""
CONFIG = """
[node]
workers = 1
[http]
bind = "127.0.0.1:0"
[newsroom]
quiet = "off"
[channels.ios]
platform = "apns"
app = "com.example.news"
origin = "{origin}"
ca = "{ca}"
credentials = {{ key = "{key}", key_id = "{key_id}", team_id = "{team_id}" }}
[channels.android]
platform = "fcm"
app = "example-news"
twin = true
"""


class Match(NodeProcess):
    """A node whose Apple outlives it."""

    def begin(self) -> None:
        self.start()
        self.wait_for("serving", 90)

    def story(self, *words: str) -> Any:
        code, said = broadside(self.folder, "story", *words, "--json")
        assert code == 0, said
        return json.loads(said)

    def broadcasts(self) -> list[Entry]:
        return [each for each in read_ledger(self.folder / "apple.ledger") if each.timestamp is not None]

    def pushes(self) -> list[Entry]:
        return list(read_ledger(self.data / "twins" / "fcm.ledger"))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Match]:
    (tmp_path / "apple.toml").write_text(LOST)
    command = [sys.executable, "-m", "broadside.cli", "twin", "apns", "--directory", "apple", "--script", "apple.toml"]
    apple = subprocess.Popen(
        [*command, "--ledger", "apple.ledger"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert apple.stdout is not None
    with apple.stdout:
        ready = json.loads(apple.stdout.readline())
    (tmp_path / "broadside.toml").write_text(CONFIG.format(**ready, **ready["credentials"]))
    node = Match(tmp_path)
    node.runner = RUNNER
    (node.data / "twins").mkdir(mode=0o700, parents=True)
    node.data.chmod(0o700)
    (node.data / "twins" / "fcm.script.toml").write_text("bodies = true\n")
    yield node
    for process in (node.process, apple):
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(10)


@pytest.mark.timeout(400)
def test_a_story_is_opened_updated_in_order_and_ended_under_lost_answers_and_a_kill(node: Match) -> None:
    node.begin()
    phones = node.folder / "phones.csv"
    with phones.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["channel", "token"])
        rows.writerows(["android", token("android", number)] for number in range(PHONES))
    code, said = broadside(node.folder, "subscribers", "import", str(phones))
    assert code == 0, said

    opened = node.story("open", "--name", "Cup final", "--set", "score=0:0", "--title", "Kick-off", "--key", "o1")
    id = opened["id"]
    again = node.story("open", "--name", "Cup final", "--set", "score=0:0", "--title", "Kick-off", "--key", "o1")
    assert again["id"] == id
    node.until(lambda: node.story("show", id)["updates"][0]["state"] == "sent", "first card", 60)
    (card,) = node.story("show", id)["cards"]
    assert (card["state"], card["channel"]) == ("ready", "ios")
    assert {each.token for each in node.broadcasts()} == {card["broadcast"]}, "the channel of the lost answer is used"

    def goal(number: int) -> None:
        words = ("--set", f"score={number}:0", "--set", f"minute:={number}", "--title", f"{number}:0", "--loud")
        broadside(node.folder, "story", "update", id, *words, "--key", f"goal {number}")

    goal(1)
    both = [threading.Thread(target=goal, args=(number,)) for number in (2, 3)]
    for each in both:
        each.start()
    for each in both:
        each.join()

    late = threading.Thread(target=goal, args=(4,))
    late.start()
    node.until(lambda: len(node.story("show", id)["updates"]) >= 5, "fourth goal", 60)
    node.end(signal.SIGKILL)
    late.join()
    node.begin()
    goal(4)
    shown = node.until(
        lambda: (found := node.story("show", id))["updates"][0]["state"] == "sent" and found, "fourth goal sent", 120
    )
    assert [each["number"] for each in shown["updates"]] == [5, 4, 3, 2, 1], "each goal once"

    ended = node.story("end", id, "--set", "score=4:0", "--title", "Full time", "--body", "4:0", "--dismiss", "15m")
    assert ended["state"] == "ending"
    node.until(lambda: node.story("show", id)["updates"][0]["state"] == "sent", "end", 60)
    code, said = broadside(node.folder, "story", "update", id, "--set", "score=5:0")
    assert code == 2
    assert "has ended" in said

    cards = node.broadcasts()
    assert not any(each.overtaken for each in cards)
    bodies = [json.loads(each.body or "")["aps"] for each in cards]
    assert [bodies[0]["content-state"], bodies[-1]["event"]] == [{"score": "0:0"}, "end"]
    assert bodies[-1]["dismissal-date"] == bodies[-1]["timestamp"] + 900
    assert {"score": "4:0", "minute": 4} in [each["content-state"] for each in bodies]
    stamps: dict[int, set[str]] = {}
    for each in cards:
        stamps.setdefault(each.timestamp or 0, set()).add(each.body or "")
    assert all(len(said) == 1 for said in stamps.values()), "a repeat is word for word the same"

    last = lambda: [each for each in node.pushes() if '"Full time"' in (each.body or "")]  # noqa: E731
    node.until(lambda: len({each.token for each in last()}) == PHONES, "last push to each phone", 60)
    assert {each.collapse for each in node.pushes()} == {id}, "each push takes the place of the one before"
    final = {each.token: each.body for each in node.pushes()}
    assert all("Full time" in (body or "") for body in final.values()), "nothing older came later"


@pytest.mark.timeout(200)
def test_the_command_says_what_it_cannot_do(node: Match) -> None:
    node.begin()
    for words, why in [
        (("open", "--name", "x"), "is empty, and the iPhone app draws the card from it"),
        (("open", "--name", "x", "--set", "score"), "has no name and value"),
        (("open", "--name", "x", "--set", "minute:=x"), "is not JSON"),
        (("open", "--name", "x", "--state", "none.json"), "cannot be read"),
        (("open", "--name", "x", "--set", "a=b", "--channel", "web", "--title", "t"), "unknown channel"),
        (("open", "--name", "x", "--set", "a=b", "--kind", "gossip", "--title", "t"), "unknown kind"),
        (("show", "nothing"), "is not a story's id"),
        (("update", "aaaaaaaaaaaah", "--set", "a=b"), "no story aaaaaaaaaaaah"),
    ]:
        code, said = broadside(node.folder, "story", *words)
        assert (code, why in said) == (2, True), said
    code, said = broadside(node.folder, "story", "list")
    assert (code, said) == (0, "no story yet (broadside story open)\n")
