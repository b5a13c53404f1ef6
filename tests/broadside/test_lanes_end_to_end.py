"""Breaking news overtakes a campaign that is under way, on a channel without a rate and on one with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broadside import wire
from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.datafolder import DataFolder
from broadside.demo import samples
from broadside.errors import ApiError
from broadside.topology import settings
from campaigns.message import Message
from tests.broadside.test_node_end_to_end import RUNNER, NodeProcess

PHONES = 6000
TWINS = {"android-news": "fcm", "ios-news": "apns"}
SLOW = {"apns": "streams = 20\nfirst_streams = 20\nlatency_ms = 100\n\n", "fcm": ""}
RATED = """
channels = {**config.channels, "android-news": msgspec.structs.replace(config.channels["android-news"], rate=200.0)}
node = msgspec.structs.replace(config.node, workers=1)
config = msgspec.structs.replace(config, channels=channels, node=node)
sys.exit"""
MOST_BEFORE = 800
"""Pushes of the other campaign that may go out before the first breaking one: a rate of 200, for four slow seconds."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, PHONES)
    node.runner = RUNNER.replace("sys.exit", RATED.strip())
    (node.data / "twins").mkdir(parents=True)
    node.data.chmod(0o700)
    (node.data / "twins").chmod(0o700)
    for platform, script in SLOW.items():
        (node.data / "twins" / f"{platform}.script.toml").write_text(script + samples.TWIN_SCRIPT)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


def accepted(node: NodeProcess, platform: str) -> list[dict[str, Any]]:
    """The twin's ledger so far, in its order."""
    (path,) = node.data.glob(f"twins/{platform}*.ledger")
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


@pytest.mark.timeout(300)
def test_breaking_news_passes_a_campaign_that_is_on_its_way(node: NodeProcess, capsys: Any) -> None:
    """21.3: its first push goes out while most of the other campaign waits, with a rate and without."""
    node.start()
    node.wait_for("fired campaign", 120)
    node.until(lambda: all(len(accepted(node, twin)) > 100 for twin in TWINS.values()), "the campaign under way", 120)
    before = {twin: len(accepted(node, twin)) for twin in TWINS.values()}
    with Client.of(DataFolder(node.data)) as client:
        with pytest.raises(ApiError, match=r'kind: unknown kind .*"breaking"'):
            client.fire(FireRequest(message=Message(title="Flood", body="Leave"), kind="braking"))
        report = client.fire(FireRequest(message=Message(title="Flood", body="Leave"), kind="breaking"))
        assert isinstance(report, CampaignReport)
        assert (report.kind, report.lane) == ("breaking", "upper")
        assert report.fired_at is not None
    for channel, twin in TWINS.items():
        assert before[twin] < PHONES // 2 - 2 * MOST_BEFORE, "most of the other campaign has not gone out"

        def first(twin: str = twin) -> dict[str, Any] | None:
            return next((entry for entry in accepted(node, twin) if entry["collapse"] == report.id), None)

        entry = node.until(first, f"breaking push on {channel}", 120)
        passed = accepted(node, twin).index(entry) - before[twin]
        with capsys.disabled():
            print(f"\n{channel}: {entry['time'] - report.fired_at} ms after Fire, {passed} other pushes before it")
        assert passed < MOST_BEFORE


def test_each_channel_of_a_worker_has_a_connection_for_the_upper_lane() -> None:
    """21.3: without it the first push waited for the answers to a thousand others on each connection."""
    setup = wire.ChannelSetup(
        name="ios", platform="apns", app="a.b", credentials={}, origin=None, ca=None, connections=2, pace=None,
        dead_limit=1.0,
    )  # fmt: skip
    assert settings(setup).upper_lane
