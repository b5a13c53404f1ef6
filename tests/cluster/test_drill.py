"""A drill on a ring, by the timer: the whole base over all nodes, no provider in reach, in no campaign's way."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from benchmarks.ring.cluster import ClusterNode
from broadside import cli
from broadside.api.campaign_report import FireRequest
from broadside.api.drill_records import DrillRecord
from broadside.api.v1 import table
from broadside.demo import samples
from campaigns.drill import drill_channel
from campaigns.identity import parse_campaign
from campaigns.message import Message
from tests.cluster.ring import PLATFORMS, Ring, until

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]
PHONES = 1_200
SLOW = "latency_ms = 1500\nstreams = 2\nfirst_streams = 2\n"


@pytest.fixture
def soon() -> datetime:
    """The first minute that begins once the ring is up and its base is full."""
    return (datetime.now(UTC) + timedelta(seconds=105)).replace(second=0, microsecond=0)


@pytest.fixture
def ring(tmp_path: Path, soon: datetime) -> Iterator[Ring]:
    more = f'\n[drill]\nat = "{soon:%H:%M}"\nevery = "1d"\n'
    rows = samples.subscribers(PHONES, 0.0, PLATFORMS)
    ring = Ring(tmp_path / "ring", PHONES, latency_ms=20, workers=1, rows=rows, tables=more)
    for node in ring.cluster.nodes:
        drill = node.data.twins / "drill"
        drill.mkdir(mode=0o700)
        for platform in ("apns", "fcm"):
            (drill / f"{platform}.script.toml").write_text(SLOW)
    try:
        yield ring.start()
    finally:
        ring.end()


def drills(ring: Ring, node: int) -> list[DrillRecord]:
    with ring.node(node).client() as client:
        return client.call(table.DRILLS).items


def providers(node: ClusterNode) -> list[int]:
    """The processes in the providers' place; not the simulators for drills."""
    drill = str(node.data.twins / "drill").encode()
    pids = node.children("simulators.twin")
    return [pid for pid in pids if drill not in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def no_provider(ring: Ring) -> Iterator[None]:
    """No provider answers anything."""
    pids = [pid for node in ring.cluster.nodes for pid in providers(node)]
    assert len(pids) == 4
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def campaigns_at_the_providers(ring: Ring) -> set[str]:
    lines = b"".join(
        path.read_bytes().rpartition(b"\n")[0] + b"\n"
        for node in ring.cluster.nodes
        for path in node.data.twins.glob("*.ledger")
    )
    return {msgspec.json.decode(line)["collapse"] for line in lines.splitlines() if line}


@pytest.mark.sweep
@pytest.mark.timeout(420)
def test_a_drill_by_the_timer_sends_the_whole_base_to_simulators_and_yields_to_a_campaign(
    ring: Ring, soon: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Issue 25.8."""
    at = round(soon.timestamp() * 1000)
    with ring.node(2).client() as client:
        assert client.call(table.DRILLS).next_at == at, "the ring was ready in time"
    until(lambda: drills(ring, 1), "drill", 150)
    (began,) = drills(ring, 1)
    assert (began.by, began.phones) == ("timer", PHONES)
    assert at <= (began.fired_at or 0) < at + 10_000
    message = Message(title="Now", body="This is real.")
    with ring.node(2).client() as client:
        fired = client.fire(FireRequest(message=message, channels=[*PLATFORMS], kind="breaking"))
        until(lambda: client.call(table.CAMPAIGN, id=fired.id).ended, "end of the campaign", 30)
    then = drills(ring, 1)[0]
    assert then.settled < then.phones, "the campaign has passed the drill"
    assert then.yielded
    until(lambda: drills(ring, 2)[0].state == "done", "end of the drill", 120)

    with ring.node(1).client() as client:
        before = client.call(table.COUNT).channels
        assert client.fire(FireRequest(message=message, channels=[*PLATFORMS])).id, "a drill teaches the guards nothing"
        until(lambda: all(each.state == "done" for each in client.campaigns()), "end", 30)
    node = ["--data", str(ring.node(2).data.root)]
    with no_provider(ring):
        assert cli.run(["drill", *node]) == 1, "slow, as its simulators are"
    assert "\nslow: " in capsys.readouterr().out
    assert cli.run(["drill", "--report", *node]) == 0
    told = capsys.readouterr().out
    second, first = drills(ring, 2)
    assert (first.id, first.settled, first.yielded) == (began.id, PHONES, True)
    assert (second.state, second.settled, second.yielded) == ("done", PHONES, False)
    assert first.id in told
    assert second.id in told
    assert set(second.rates) == {drill_channel(name) for name in before}
    for drill in (first, second):
        with ring.node(1).client() as client:
            report = client.call(table.CAMPAIGN, id=drill.id)
            assert sum(tally.delivered for tally in report.channels.values()) == PHONES
            assert client.call(table.VERIFY, id=drill.id).ok
            assert client.call(table.COUNT).channels == before
            assert client.feed("", 100) == []
        owners = Counter(page["node"] for page in ring.cluster.pages(parse_campaign(drill.id)))
        assert owners.keys() == {"node-1", "node-2"}, "all nodes walk"
    assert campaigns_at_the_providers(ring).isdisjoint({first.id, second.id})
