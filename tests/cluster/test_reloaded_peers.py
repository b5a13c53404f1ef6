"""A peer that a reload adds gets batons, and one that a reload takes out gets none: in the middle of a campaign."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ring.cluster import ClusterNode
from broadside.demo import samples
from tests.cluster.ring import PLATFORMS, Ring

PHONES = 16_000
PEERS = re.compile(r"\n\[\[peers\]\]\n.*?\n(?=\n\[)", re.S)


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    made = Ring(tmp_path, PHONES, stores=1, workers=1, rows=list(samples.subscribers(PHONES, 0.0, PLATFORMS)))
    yield made
    made.end()


def reload(node: ClusterNode, text: str, says: str) -> None:
    (node.folder / "broadside.toml").write_text(text)
    before = len(node.output.read_bytes())
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)
    node.until(lambda: says.encode() in node.output.read_bytes()[before:], says)


@pytest.mark.tarantool
@pytest.mark.sweep
@pytest.mark.timeout(180)
def test_a_peer_comes_and_goes_by_a_reload_and_nobody_is_lost_or_told_twice(ring: Ring) -> None:
    first, second = ring.cluster.nodes
    whole = (first.folder / "broadside.toml").read_text()
    alone = PEERS.sub("", whole)
    assert alone != whole
    (first.folder / "broadside.toml").write_text(alone)
    ring.start()

    run = ring.fire()
    run.done()
    assert not second.pushes(), "node 1 has no peer"

    reload(first, whole, "peers.node-2: added")
    run = ring.fire()
    run.walked(2)
    reload(first, alone, "peers.node-2: removed")
    reload(first, whole, "peers.node-2: added")
    run.done()
    assert second.pushes(), "it walks too"
    run.judge(0)
