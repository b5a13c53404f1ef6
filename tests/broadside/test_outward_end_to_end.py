"""A whole node and the newsroom's other systems: a receiver that ends and returns, a node that is killed, the CLI."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from broadside.outward.webhook_sender import SIGNATURE, sign
from tests.broadside.outward_server import OutwardServer
from tests.broadside.test_node_end_to_end import RUNNER, NodeProcess

pytestmark = [pytest.mark.tarantool, pytest.mark.timeout(300)]
SECRET = "0123456789abcdef0123456789abcdef"
START = 120.0


@pytest.fixture
def receiver() -> Iterator[OutwardServer]:
    server = OutwardServer()
    yield server
    server.end()


@pytest.fixture
def node(tmp_path: Path, receiver: OutwardServer) -> Iterator[NodeProcess]:
    (tmp_path / "secret").write_text(SECRET)
    node = NodeProcess(tmp_path, 600)
    webhook = f'Webhook(name="crm", url="{receiver.url}/hook", secret_file=Path("{tmp_path}/secret"))'
    hook = f'Hook(name="warm", url="{receiver.url}/warm?page={{url}}", within=1.0)'
    node.runner = RUNNER.replace(
        'newsroom=NewsroomConfig(quiet="off"),',
        f'newsroom=NewsroomConfig(quiet="off"), webhooks=({webhook},), hooks=({hook},),',
    ).replace("import sys, msgspec", "import sys, msgspec\nfrom broadside.config.outward_tables import Hook, Webhook")
    node.start()
    node.wait_for("is done", START)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.end(signal.SIGKILL)


def post(node: NodeProcess, path: str, body: dict[str, Any]) -> Any:
    key = (node.data / "api.key").read_text().strip()
    answer = httpx.post(node.url() + path, json=body, headers={"authorization": f"Bearer {key}"}, timeout=60)
    assert answer.is_success, answer.text
    return answer.json()


def command(node: NodeProcess, *args: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "broadside.cli", *args, "--data", str(node.data)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, cwd=node.folder)


def story(number: int) -> dict[str, Any]:
    return {"message": {"title": f"story {number}", "body": "b", "url": f"https://example.com/{number}"}}


def heard(receiver: OutwardServer) -> list[tuple[str, str]]:
    """(campaign, state) of every call, with repeats."""
    calls = [asked for asked in list(receiver.asked) if asked.path == "/hook"]
    for asked in calls:
        at = int(asked.headers[SIGNATURE].split(",")[0].removeprefix("t="))
        assert asked.headers[SIGNATURE] == sign(SECRET, at, asked.body)
    return [(call["campaign"], call["state"]) for call in (json.loads(asked.body) for asked in calls)]


def test_a_receiver_and_a_node_that_are_killed_miss_nothing(node: NodeProcess, receiver: OutwardServer) -> None:
    """Issue 25.9."""
    fired = [post(node, "/v1/campaigns", story(1))["id"]]
    node.until(lambda: (fired[0], "done") in heard(receiver), "call for the first campaign", 60)
    assert any(asked.path == "/warm?page=https%3A%2F%2Fexample.com%2F1" for asked in receiver.asked), "warmed before"
    receiver.end()
    for number in (2, 3):
        fired.append(post(node, "/v1/campaigns", story(number))["id"])

    def shown() -> Any:
        return node.api("/v1/webhooks")["webhooks"][0]

    node.until(lambda: shown()["state"] == "failing", "a failing webhook", 60)
    said = command(node, "webhook", "list")
    assert (said.returncode, "failing" in said.stdout, SECRET in said.stdout) == (1, True, False)
    node.end(signal.SIGKILL)
    node.output.write_text("")
    node.start()
    node.wait_for("serving;", START)
    fired.append(post(node, "/v1/campaigns", story(4))["id"])
    receiver.start()
    wanted = [(id, state) for id in fired for state in ("draft", "firing", "done")]
    node.until(lambda: set(wanted) <= set(heard(receiver)), "every call", 90)
    for id in fired:
        states = list(dict.fromkeys(state for campaign, state in heard(receiver) if campaign == id))
        assert states == ["draft", "firing", "done"], "in order"
    node.until(lambda: shown()["state"] == "heard", "a webhook that has heard all", 60)
    assert command(node, "webhook", "list").returncode == 0
    assert SECRET not in node.output.read_text()
    assert SECRET not in "".join(path.read_text() for path in (node.data / "logs").glob("*.log*"))

    # the feed: who was refused in the first campaign is in it, once, and a cursor goes on behind it
    deadline = time.monotonic() + 60
    lines: list[dict[str, Any]] = []
    while not lines and time.monotonic() < deadline:
        done = command(node, "feed", "--limit", "10000")
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
    dead = [line["token"] for line in lines if line["kind"] == "dead"]
    assert dead
    assert len(dead) == len(set(dead))
    assert command(node, "feed", "--cursor", lines[-1]["cursor"]).stdout == ""

    # the words for people
    assert "the load of the site is not heeded" in command(node, "herd", "show").stdout
    refused = command(node, "herd", "load", "0.5")
    assert (refused.returncode, "posted = true" in refused.stderr) == (2, True), refused.stderr
    slow = command(node, "fire", "--title", "slow", "--body", "b", "--rate", "5", "--ramp", "5s", "--json")
    assert slow.returncode == 0, slow.stderr
    campaign = json.loads(slow.stdout)
    assert (campaign["herd"]["rate"], campaign["herd"]["ramp"]) == (5, 5)
    shown_ = command(node, "campaign", "show", campaign["id"])
    assert "of at most 5 people a second" in shown_.stdout
    faster = command(node, "campaign", "rate", campaign["id"], "5000")
    assert (faster.returncode, "5,000 people" in faster.stdout) == (0, True), faster.stdout
    node.until(lambda: node.api(f"/v1/campaigns/{campaign['id']}")["state"] == "done", "the end", 60)
