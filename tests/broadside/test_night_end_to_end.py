"""Nobody is woken at night: a real node whose night falls in some of the sample phones' zones, and real twins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broadside.demo import samples
from tests.broadside.test_node_end_to_end import CHANNELS, RUNNER, NodeProcess

PHONES = 2000
NOW = datetime.now(UTC)
# by each zone's own clock; its ends are a quarter of an hour away from where any zone's clock is now
NIGHT = f"{NOW - timedelta(hours=2, minutes=15):%H:%M}-{NOW + timedelta(hours=6, minutes=45):%H:%M}"
DAYTIME = "-".join(reversed(NIGHT.split("-")))
"""The quiet hours of a kind of its own: who is awake by the newsroom's is asleep by these."""
BASE = {phone.token: phone for phone in samples.subscribers(PHONES, 0.02, CHANNELS)}


def is_asleep(token: str, at: float | None = None) -> bool:
    """The model: look at the clock of the phone's zone. ``at``: seconds UTC; None: now."""
    zone = ZoneInfo(BASE[token].tz)
    wall = datetime.now(zone) if at is None else datetime.fromtimestamp(at, zone)
    begin, end = (tuple(map(int, each.split(":"))) for each in NIGHT.split("-"))
    now = (wall.hour, wall.minute)
    return begin <= now < end if begin < end else now >= begin or now < end


LIVING = {token for token in BASE if not token.startswith(samples.DEAD)}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, PHONES)
    kinds = f'kinds=BUILT_IN | {{"late": Kind(quiet_hours="{DAYTIME}")}},'
    node.runner = RUNNER.replace('quiet="off"),', f'quiet="{NIGHT}"), {kinds}').replace(
        "import sys,", "from campaigns.kind import BUILT_IN, Kind\nimport sys,"
    )
    node.start()
    node.wait_for("serving;", 120)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


def entries(node: NodeProcess, campaign: str) -> list[dict[str, Any]]:
    lines = [line for path in node.data.glob("twins/*.ledger") for line in path.read_text().splitlines()]
    return [entry for line in lines if (entry := json.loads(line)).get("collapse") == campaign]


def fire(node: NodeProcess, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "broadside.cli", "fire", "--title", "t", "--body", "b", "--wait", "--json"]
    command += ["--data", str(node.data), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(400)
def test_who_sleeps_waits_or_gets_it_without_a_sound_or_not_at_all(node: NodeProcess) -> None:
    asleep = {token for token in BASE if is_asleep(token)}
    assert 100 < len(asleep) < PHONES - 100, "it is night somewhere, and day elsewhere"
    said = node.output.read_text()
    assert f"{len(asleep):,} asleep, held (next: " in said
    (line, *_) = node.api("/v1/campaigns")["items"]
    first = node.api(f"/v1/campaigns/{line['id']}")
    assert (first["state"], first["held"], first["reached"]) == ("firing", len(asleep), True)
    assert {entry["token"] for entry in entries(node, first["id"])} == LIVING - asleep
    told = {zone: count for each in first["schedule"] for zone, count in each["zones"].items()}
    assert sum(told.values()) == len(asleep)
    assert set(told) == {BASE[token].tz for token in asleep}

    held = fire(node)
    assert held["held"] <= len(asleep)  # the dead have left the base
    got = entries(node, held["id"])
    assert {entry["token"] for entry in got} == LIVING - asleep
    assert not any(entry.get("asleep") for entry in got)
    ends = {token: (datetime.now(UTC) + timedelta(hours=4)).timestamp() for token in BASE}
    assert all(entry["expires"] <= (ends[entry["token"]] + 60) * 1000 for entry in got)

    dropped = fire(node, "--quiet", "drop")
    assert dropped["state"] == "done"
    assert {entry["token"] for entry in entries(node, dropped["id"])} == LIVING - asleep
    reasons = [why for by in dropped["reasons"].values() for why in by]
    assert "quiet hours" in reasons

    loud = fire(node, "--quiet", "break_through")
    assert {entry["token"] for entry in entries(node, loud["id"])} == LIVING

    # a kind's own hours: whoever the newsroom's let sleep gets it, and nobody else (21.2)
    late = fire(node, "--kind", "late")
    assert {entry["token"] for entry in entries(node, late["id"])} == LIVING & asleep
    assert (late["quiet_hours"], late["reached"], late["state"]) == (DAYTIME, True, "firing")
    ends = {entry["token"]: entry["expires"] / 1000 for entry in entries(node, late["id"])}
    assert all(is_asleep(token, at - 60) for token, at in ends.items()), "no longer than its hours allow"
    silent = fire(node, "--quiet", "silent", "--channel", "ios-news")
    assert silent["state"] == "done"
    shown = {entry["token"]: bool(entry.get("asleep")) for entry in entries(node, silent["id"])}
    assert shown == {token: token in asleep for token in LIVING if BASE[token].channel == "ios-news"}
