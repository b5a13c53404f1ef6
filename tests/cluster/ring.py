"""A ring under test: fire, break something in mid-walk, and look at every ledger afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.ring.cluster import CHANNELS, Cluster, ClusterNode, StoreServer, gaps
from broadside.api.campaign_report import FireRequest
from broadside.api.subscriber import Subscriber
from broadside.api.v1 import table
from broadside.demo import samples
from broadside.errors import ApiError, NodeUnreachable
from broadside.machine_limits import cores
from broadside.topology import HANDS_A_CONNECTION, LEAST_CONNECTIONS
from campaigns.identity import parse_campaign
from campaigns.message import Message
from tests.cluster.cable import Cable
from tests.cluster.proxy import Wire

IN_FLIGHT = cores() * 2 * LEAST_CONNECTIONS * HANDS_A_CONNECTION * 500
"""Recipients that a node may have leased: of each worker two channels, so many batches each."""
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
        self,
        folder: Path,
        subscribers: int,
        *,
        nodes: int = 2,
        stores: int = 2,
        latency_ms: int = 100,
        twins: str = "",
        workers: int | None = None,
        cable: Cable | None = None,
        rows: Iterable[Subscriber] | None = None,
        quiet: str = "off",
        failover: str = "manual",
        tables: str = "",
    ) -> None:
        """``rows``: the base, in place of a sample of ``subscribers``. ``tables``: more configuration, in TOML."""
        self.rows = list(samples.subscribers(subscribers, 0.02, PLATFORMS) if rows is None else rows)
        self.subscribers = len(self.rows)
        self.cable = cable
        self.wires: dict[tuple[str, str], Wire] = {}
        self.cluster = Cluster(
            folder,
            nodes=nodes,
            stores=stores,
            memory=512 << 20,
            workers=workers,
            wires=self._wire,
            places=(*cable.places, *[cable.places[0]] * (stores - 2)) if cable else (),
            quiet=quiet,
            failover=failover,
            tables=tables,
        )
        for node in self.cluster.nodes:
            node.script(f"latency_ms = {latency_ms}\n{twins}\n{samples.TWIN_SCRIPT}")
        tokens = {row.token for row in self.rows}
        self.live = {token for token in tokens if not token.startswith(samples.DEAD)}

    def _wire(self, node: str, to: str, port: int) -> int:
        if self.cable or (node, to) == ("node-1", "store"):
            return port  # there is a real one; or they stand on one server
        wire = self.wires[node, to] = Wire(port)
        return wire.port

    def start(self) -> Ring:
        self.cluster.start()
        self.cluster.put(self.rows)
        return self

    def end(self) -> None:
        self.cluster.kill()
        for wire in self.wires.values():
            wire.close()
        if self.cable:
            self.cable.close()

    def node(self, number: int) -> ClusterNode:
        return self.cluster.nodes[number - 1]

    def cut(self) -> None:
        """Part the second server from the first."""
        for cable in self._cables():
            cable.cut()

    def heal(self) -> None:
        for cable in self._cables():
            cable.heal()

    def _cables(self) -> list[Cable] | list[Wire]:
        return [self.cable] if self.cable else list(self.wires.values())

    def fire(self, key: str = "") -> Run:
        before = self.cluster.pushes()
        return Run(self, self.asked(key), before)

    def sent(self, request: FireRequest) -> Run:
        """Fire this campaign."""
        with self.node(1).client() as client:
            return Run(self, client.fire(request).id, Counter())

    def far(self, seconds: float) -> None:
        """Let all that goes between the second server and the first take so long."""
        for wire in self.wires.values():
            wire.delay = seconds

    def asked(self, key: str = "", node: int = 1) -> str:
        """Ask a node for the campaign of every run; answers its id."""
        with self.node(node).client() as client:
            return client.fire(FireRequest(message=Message(title="t", body="b")), key).id


class Run:
    """One campaign on the ring."""

    def __init__(self, ring: Ring, campaign: str, before: Counter[str]) -> None:
        self.ring = ring
        self.campaign = campaign
        self.id = parse_campaign(campaign)
        self.before = before
        self.began = time.monotonic()
        self.told: dict[str, Any] = {}
        """What the fault and the judgement have to say."""

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
        self.told["seconds"] = round(time.monotonic() - self.began, 1)

    def state(self, asked: int = 1) -> str:
        try:
            with self.ring.node(asked).client() as client:
                return client.call(table.CAMPAIGN, id=self.campaign).state
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
        owners = Counter(page["node"] for page in pages)
        self.told |= {"pages": dict(sorted(owners.items())), "lost": len(lost), "twice": twice, "at most": duplicates}
        print(self.told)

    # -- faults: each answers how many deliveries it may have repeated ---------------------------------------------

    def kill_workers(self) -> int:
        with self.frozen() as leased:
            self._kill("broadside.worker")
        return leased

    def kill_queue(self) -> int:
        with self.frozen() as leased:
            self._kill("embedded.lua")
        return leased

    @contextmanager
    def frozen(self) -> Iterator[int]:
        """Stop node 2's workers in the midst of their work; answers for how many recipients they hold leases."""
        node = self.ring.node(2)
        workers = node.children("broadside.worker")
        deadline = time.monotonic() + 10
        try:
            while True:
                for pid in workers:
                    os.kill(pid, signal.SIGSTOP)
                time.sleep(0.05)  # what they said last is heard
                with node.client() as client:
                    tubes = client.call(table.TUBES)
                if taken := tubes.unsettled:
                    break
                assert time.monotonic() < deadline, f"node-2 has nothing in hand: {tubes.tubes}"
                for pid in workers:
                    os.kill(pid, signal.SIGCONT)
                time.sleep(0.02)
            self.told["leases"] = taken
            yield taken
        finally:
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _kill(self, pattern: str) -> None:
        pids = self.ring.node(2).children(pattern)
        assert pids, f"node-2 has no {pattern}"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def kill_store(self, seconds: float) -> int:
        master = self.ring.cluster.master
        master.kill()
        time.sleep(seconds)
        master.begin()
        return 0

    def cut(self, seconds: float) -> int:
        self.ring.cut()
        time.sleep(seconds)
        self.ring.heal()
        return 0
