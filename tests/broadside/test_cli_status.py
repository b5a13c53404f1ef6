"""``broadside status``: what is wrong comes first, in plain words, with what to do."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.node_status import MemoryUse, NodeStatus, TubeStatus, WorkerStatus
from tests.broadside.fake_node import FakeNode, Said, broadside, folder, node

__all__ = ["broadside", "folder", "node"]

MB = 1 << 20
FINE = NodeStatus(
    node="node-1",
    ready=True,
    rss=80 * MB,
    tasks=45,
    workers=[WorkerStatus(name="worker-1", pid=None, serving=False, rss=None, cpu=None, stages={}, tasks=None)],
    queue=TubeStatus(tubes={}, parked=0, outbox=0, marks=0, memory={}),
    memory={"store": MemoryUse(used=12 * MB, size=1024 * MB)},
    alarms=[],
    channels=[],
)


def alarm(severity: Severity, text: str) -> Alarm:
    return Alarm(name=AlarmName.CHANNEL_REFUSED, severity=severity, text=text, remedy="mend the key", since=1000)


def with_alarms(*alarms: Alarm) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(FINE, alarms=list(alarms)))
    return found


def test_what_is_wrong_comes_first_with_its_remedy(node: FakeNode, broadside: Said) -> None:
    node.status = with_alarms(
        alarm(Severity.CRITICAL, "channel ios: \x1b[31mrefused"), alarm(Severity.NOTICE, "passes by itself")
    )
    code, out, err = broadside("status")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "node-1 serves: one thing is wrong"
    assert lines[1] == "critical [channel-refused]"
    assert lines[2].startswith("  channel ios: ")
    assert "since 1970-01-01" in lines[2]
    assert lines[3] == "    mend the key"
    assert lines[4] == "notice [channel-refused]"
    assert "\x1b" not in out, "a provider's words are harmless"


def test_a_node_with_notices_alone_is_fine(node: FakeNode, broadside: Said) -> None:
    node.status = with_alarms(alarm(Severity.NOTICE, "the channel keeps its rate"))
    code, out, _ = broadside("status")
    assert code == 0
    assert out.startswith("node-1 serves: nothing is wrong\nnotice ")
    assert "worker-1\tno\t-\t-\t-" in out
    code, out, _ = broadside("status", "--json")
    assert code == 0
    assert json.loads(out) == node.status


def test_the_rings_nodes_and_their_channels_come_last(node: FakeNode, broadside: Said) -> None:
    """Issue 23: what fits of the panel."""
    node.status = with_alarms()
    flow = {"channel": "ios", "platform": "apns", "breaker": "open", "rate": 12.5, "connections": 1, "wanted": 2}
    node.ring = [
        {"name": "node-1", "status": "alive", "state": {"version": "1.0", "channels": [flow | {"p99": 0.31}]}},
        {"name": "node-2", "status": "away", "state": {"channels": [flow]}},
        {"name": "node-3", "status": "alive"},
    ]
    code, out, _ = broadside("status")
    assert code == 0
    lines = out.splitlines()
    assert lines[-7:-3] == ["node\tstate\tversion", "node-1\talive\t1.0", "node-2\taway\t", "node-3\talive\t-"]
    assert lines[-1].split("\t") == ["node-1", "ios", "open", "12.5", "1 of 2", "310 ms"], "an old figure is no figure"


def test_no_node_is_exit_code_3(folder: object, broadside: Said) -> None:
    code, _, err = broadside("status")
    assert code == 3
    assert "no node is running" in err
