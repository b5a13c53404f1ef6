"""Scheduled campaigns on a real node: each starts by itself, once, also when the node was killed in between."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.broadside.test_node_end_to_end import RUNNER, NodeProcess

pytestmark = pytest.mark.tarantool
ZONED = RUNNER.replace('quiet="off"', 'zone="Europe/Vienna", quiet="off"')
PHONES = 400
START = 120.0
"""Seconds for a node to start on a busy machine."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, PHONES)
    node.runner = ZONED
    node.start()
    node.wait_for("serving;", START)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


def ahead(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def command(node: NodeProcess, *args: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "broadside.cli", *args, "--data", str(node.data)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, cwd=node.folder)


def fire(node: NodeProcess, at: str, *more: str) -> Any:
    done = command(node, "fire", "--title", "later", "--body", "news", "--at", at, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def schedule(node: NodeProcess, seconds: float, **more: Any) -> Any:
    """As `fire`, but without a command's own start, which may take seconds on a busy machine."""
    key = (node.data / "api.key").read_text().strip()
    body = {"message": {"title": "later", "body": "news"}, "when": ahead(seconds), **more}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{node.url()}/v1/campaigns", json=body, headers=headers, timeout=60).raise_for_status().json()


def killed_before(node: NodeProcess, start: int) -> None:
    assert node.process is not None
    node.process.kill()
    node.process.wait(10)
    assert datetime.now(UTC).timestamp() < start / 1000, "this machine took too long to kill the node"


def state(node: NodeProcess, id: str) -> str:
    return str(node.api(f"/v1/campaigns/{id}")["state"])


def reached_once_more(before: Counter[str], node: NodeProcess) -> bool:
    """Whether every phone of the first, whole campaign got exactly one push since."""
    more = node.ledger() - before
    return set(more) == set(before) and set(more.values()) == {1}


@pytest.mark.timeout(600)
def test_a_campaign_two_seconds_ahead_starts_by_itself_and_is_done(node: NodeProcess) -> None:
    before = node.ledger()
    report = fire(node, ahead(2), "--wait")
    assert report["state"] == "done"
    assert report["fired_at"] >= report["start"]
    assert reached_once_more(before, node)
    shown = command(node, "campaign", "show", report["id"]).stdout
    assert " Europe/Vienna (" in shown
    assert " UTC)" in shown
    assert node.end() == 0


@pytest.mark.timeout(600)
def test_a_campaign_whose_node_was_killed_starts_with_the_next_start_and_says_how_late(node: NodeProcess) -> None:
    before = node.ledger()
    report = schedule(node, 15)
    assert report["state"] == "scheduled"
    killed_before(node, report["start"])
    wait = report["start"] / 1000 + 6 - datetime.now(UTC).timestamp()
    subprocess.run(["sleep", str(max(0.0, wait))], check=True)
    node.start()
    node.wait_for("serving;", START)
    node.until(lambda: state(node, report["id"]) == "done", "end of the campaign", START)
    assert "late: it was to start at" in node.api(f"/v1/campaigns/{report['id']}")["notes"][0]
    assert reached_once_more(before, node)
    assert node.end() == 0


@pytest.mark.timeout(600)
def test_a_campaign_that_expired_while_no_node_ran_is_missed_and_alarms(node: NodeProcess) -> None:
    before = node.ledger()
    report, other = schedule(node, 15, expires="1s"), schedule(node, 3600)
    killed_before(node, report["start"])
    subprocess.run(["sleep", "17"], check=True)
    node.start()
    node.wait_for("serving;", START)
    node.until(lambda: state(node, report["id"]) == "missed", "end of the campaign", START)
    (alarm,) = node.until(
        lambda: [each for each in node.api("/v1/status")["alarms"] if each["name"] == "campaign-missed"], "alarm"
    )
    assert alarm["about"] == report["id"]
    assert "nobody gets it" in alarm["text"]
    assert report["id"] in command(node, "doctor").stdout
    listed = command(node, "campaign", "list").stdout
    assert "missed" in listed
    assert "scheduled" in listed
    assert command(node, "campaign", "cancel", other["id"]).returncode == 0
    assert state(node, other["id"]) == "cancelled"
    assert node.ledger() == before
    assert node.end() == 0
