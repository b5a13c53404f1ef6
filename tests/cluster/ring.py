"""A ring under test: fire, break something in mid-walk, and look at every ledger afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from broadside import samples
from broadside.cluster import CHANNELS, Cluster, ClusterNode, StoreServer, gaps
from broadside.config import cores
from broadside.errors import ApiError, NodeUnreachable
from broadside.records import FireRequest
from tests.cluster.proxy import Wire
from transports.contract import Message
from transports.identity import parse_campaign

IN_FLIGHT = cores() * 2 * 6 * 500
"""Recipients that a node may have leased: of each worker two channels, six batches each."""
PLATFORMS = {name: platform for name, (platform, _) in CHANNELS.items()}


def until(look: Callable[[], Any], what: str, seconds: float, words: Callable[[], str] = str) -> None:
    """Wait until there is something to see."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s\n{words()}"
        time.sleep(0.1)


class Ring:
    """A cluster whose wires go through proxies, with a base in it."""

    def __init__(
        self, folder: Path, subscribers: int, *, nodes: int = 2, stores: int = 2, latency_ms: int = 100
    ) -> None:
        self.subscribers = subscribers
        self.wires: dict[tuple[str, str], Wire] = {}
        self.cluster = Cluster(folder, nodes=nodes, stores=stores, memory=512 << 20, wires=self._wire)
        for node in self.cluster.nodes:
            node.script(f"latency_ms = {latency_ms}\n\n{samples.TWIN_SCRIPT}")
        tokens = {row.token for row in samples.subscribers(subscribers, 0.02, PLATFORMS)}
        self.live = {token for token in tokens if not token.startswith(samples.DEAD)}

    def _wire(self, node: str, to: str, port: int) -> int:
        if (node, to) == ("node-1", "store"):
            return port  # they stand on one server
        wire = self.wires[node, to] = Wire(port)
        return wire.port

    def start(self) -> Ring:
        self.cluster.start()
        self.cluster.put(samples.subscribers(self.subscribers, 0.02, PLATFORMS))
        return self

    def end(self) -> None:
        self.cluster.kill()
        for wire in self.wires.values():
            wire.close()

    def node(self, number: int) -> ClusterNode:
        return self.cluster.nodes[number - 1]

    def fire(self) -> Run:
        before = self.cluster.pushes()
        with self.node(1).client() as client:
            campaign = client.fire(FireRequest(message=Message(title="t", body="b"))).id
        return Run(self, campaign, before)


class Run:
    """One campaign on the ring."""

    def __init__(self, ring: Ring, campaign: str, before: Counter[str]) -> None:
        self.ring = ring
        self.campaign = campaign
        self.id = parse_campaign(campaign)
        self.before = before

    def pages(self, store: StoreServer | None = None) -> list[Any]:
        return self.ring.cluster.pages(self.id, store)

    def walked(self, pages: int, seconds: float = 60.0) -> int:
        """Wait until so many pages are claimed; answers how many there are."""
        deadline = time.monotonic() + seconds
        while (there := len(self.pages())) < pages:
            assert time.monotonic() < deadline, f"{there} pages after {seconds} s"
            time.sleep(0.005)
        return there

    def done(self, seconds: float = 120.0, asked: int = 1) -> None:
        """Wait for the campaign's end, as node `asked` tells it."""
        self.until(lambda: self.state(asked) == "done", "end", seconds)

    def state(self, asked: int = 1) -> str:
        try:
            with self.ring.node(asked).client() as client:
                return client.campaign(self.campaign).state
        except (NodeUnreachable, ApiError) as error:
            return str(error)

    def until(self, look: Callable[[], Any], what: str, seconds: float) -> None:
        words = lambda: "\n".join(f"{node.name}: {node.last_words()}" for node in self.ring.cluster.nodes)  # noqa: E731
        until(look, what, seconds, words)

    def judge(self, duplicates: int, store: StoreServer | None = None, also: Collection[str] = ()) -> None:
        """Every page exactly once, every live phone at least once, and no more twice than may be."""
        pages = self.pages(store)
        assert gaps(pages) == []
        assert pages[-1]["to_id"] >= len(self.ring.live), "the last page ends with the base"
        accepted = self.ring.cluster.pushes() - self.before
        lost = self.ring.live - set(accepted)
        twice = sum(accepted.values()) - len(accepted)
        assert len(lost) == 0, f"lost {len(lost)} of {len(self.ring.live)}: {sorted(lost)[:3]}"
        assert set(accepted) <= self.ring.live.union(also), "a phone that is gone, or none of ours"
        assert twice <= duplicates, f"{twice} deliveries twice, {duplicates} at most"
        print(f"pages {Counter(page['node'] for page in pages)}, lost 0, twice {twice} of at most {duplicates}")

    # -- faults --------------------------------------------------------------------------------------------------

    def kill_workers(self) -> None:
        self._kill("broadside.worker")

    def kill_queue(self) -> None:
        self._kill("embedded.lua")

    def _kill(self, pattern: str) -> None:
        pids = self.ring.node(2).children(pattern)
        assert pids, f"node-2 has no {pattern}"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def kill_store(self, seconds: float) -> None:
        master = self.ring.cluster.master
        master.kill()
        time.sleep(seconds)
        master.begin()

    def cut(self, seconds: float) -> None:
        for wire in self.ring.wires.values():
            wire.cut()
        time.sleep(seconds)
        for wire in self.ring.wires.values():
            wire.heal()
