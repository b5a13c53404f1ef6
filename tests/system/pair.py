"""One run on two nodes with one store: a campaign on its way over both, and a fault of the second server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import trio

from benchmarks.ring.cluster import ClusterNode, gaps
from broadside.api.campaign_report import FireRequest
from broadside.api.v1 import table
from broadside.demo import samples
from broadside.errors import ApiError, NodeUnreachable
from campaigns.campaign import ENDED
from campaigns.message import Message
from simulators.ledger import Entry, read_ledger
from tests.cluster.base_of import base_of
from tests.cluster.cable import Cable
from tests.cluster.ring import Ring
from tests.cluster.ring import Run as Walk
from tests.system.faults import PLATFORMS
from tests.system.judge import Campaign, Judgement, judge
from tests.system.night_hours import Night
from tests.system.plan import LATENCY, STREAMS
from tests.system.processes import MARK, Failed, marked, rss
from tests.system.trial import BATCH, DEAD_SECONDS, Trial, starts

_ASK = """
import msgspec, pathlib, sys
from broadside.api.api_client import Client
from broadside.datafolder import DataFolder
print(msgspec.json.encode(Client.of(DataFolder(pathlib.Path(sys.argv[1]))).status()).decode())
"""
UNTIL_MORNING = 120.0
"""Seconds from the beginning until the end of a night, at least: for two nodes to start, to be filled, and to fail."""


class Pair(Trial):
    """Two nodes, each with a queue and twins of its own; faults come over the second."""

    ring: Ring
    walk: Walk
    morning: Night | None = None
    """The night that ends during the run, if one does."""

    async def go(self) -> Judgement:
        """All of it (Failed when it cannot be brought to its end)."""
        began = trio.current_time()
        os.environ[MARK] = str(self.folder)
        cable = Cable() if self.kind.parted else None
        base = self.plan.values.get("base", self.plan.subscribers)
        rows = list(self.kind.rows(self.plan)) if self.kind.rows else None
        if self.kind.in_bed:
            self.morning = Night(-(-(time.time() + UNTIL_MORNING) // 60) * 60 - 60)
        self.ring = Ring(
            self.folder / "ring", base, stores=1, workers=self.plan.workers, cable=cable,
            latency_ms=LATENCY, twins=f"streams = {STREAMS}\n", rows=rows,
            quiet="off" if self.morning is None else self.morning.config,
        )  # fmt: skip
        self._scripts(sick=True)
        try:
            self.ring.start()
            await self._campaign()
            await self._end()
        finally:
            self.ring.end()
            del os.environ[MARK]
        return judge(self, round(trio.current_time() - began, 1))

    @property
    def second(self) -> ClusterNode:
        """The server that faults come over."""
        return self.ring.node(2)

    def ledger(self) -> dict[str, list[Entry]]:
        """Platform → what the twins of both nodes accepted."""
        return {
            platform: [
                entry
                for node in self.ring.cluster.nodes
                if (path := node.data.twins / f"{platform}.ledger").exists()
                for entry in read_ledger(path)
            ]
            for platform in ("apns", "fcm")
        }

    def mend(self) -> None:
        """From now on the twins answer as healthy ones do: they end, and their nodes start them again."""
        self._scripts(sick=False)
        for node in self.ring.cluster.nodes:
            for pid in node.children("simulators.twin"):
                os.kill(pid, signal.SIGTERM)

    def _scripts(self, *, sick: bool) -> None:
        if self.kind.answers is not None:
            for node in self.ring.cluster.nodes:
                for platform in PLATFORMS:
                    rules = self.kind.answers(self.plan, platform) if sick else ""
                    script = f"latency_ms = {LATENCY}\nstreams = {STREAMS}\n{rules}\n{samples.TWIN_SCRIPT}"
                    (node.data.twins / f"{platform}.script.toml").write_text(script)

    def cli(self, *arguments: str) -> tuple[int, str]:
        """Ask the first node as an operator would: exit code, and what the command printed."""
        config = str(self.ring.node(1).folder / "broadside.toml")
        command = [sys.executable, "-m", "broadside.cli", *arguments, "--config", config]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout.decode(errors="replace")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the second server's workers, so that its unsettled leases can be counted."""
        with self.walk.frozen():
            self.leased(self.walk.told["leases"])
            yield

    def unreported(self) -> None:
        """What the second queue has settled and not reported yet may be sent again when the queue is lost."""
        with self.second.client() as client:
            lines = client.call(table.TUBES).outbox
        self.bound += BATCH * lines
        self.may_repeat()
        self.note("unreported", lines)

    def sent(self) -> int:
        """What the second node's twins have accepted so far."""
        return _lines(self.second)

    def processes(self) -> list[int]:
        """The processes of the second server: what a pause of the whole machine would stop."""
        return [self.second.pid, *self.second.children("broadside.worker"), *self.second.children("embedded.lua")]

    async def _campaign(self) -> None:
        base = self._export()
        with self.ring.node(1).client() as client:
            fired = client.fire(FireRequest(message=Message(title="disturbed", body="under fire")))
        campaign = Campaign(fired.id, base)
        self.campaigns.append(campaign)
        self.walk = Walk(self.ring, fired.id, self.ring.cluster.pushes())
        share = self.plan.at if self.kind.at is None else self.kind.at
        await self.until(lambda: self._accepted() >= share * len(base), "pushes", 60.0)
        log = self.second.data.root / "logs" / "node.log"
        before_it = len(starts(log))
        await self.kind.act(self, self.plan.values)
        assert self.ended_at is not None
        before = self._accepted()
        await self.until(self.serving, "service of both nodes", 120.0)
        self.note("serving_s", round(trio.current_time() - self.ended_at, 2))
        asleep = 0.0 if self.morning is None else max(0.0, self.morning.ends - time.time())
        await self.until(lambda: self._accepted() > before or self._done(campaign), "push", asleep + 120.0)
        self.note("progress_s", round(trio.current_time() - self.ended_at, 2))
        if len(took := starts(log)) > before_it:  # its twins are its children here: they stand for what does not die
            self.note("tarantool_s", took[-1] + starts(log, "twin-apns")[-1] + starts(log, "twin-fcm")[-1])
        await self.until(lambda: self._done(campaign), "end of the campaign", self.kind.limit)
        if self.kind.finish is not None:
            await self.kind.finish(self, self.plan.values)
        campaign.after = await self._without_the_dead()
        with self.ring.node(1).client() as client:
            self.fired = [each.id for each in client.campaigns()]
        with self.ring.node(1).client() as client:
            campaign.problems = [*client.call(table.VERIFY, id=campaign.id).problems, *gaps(self.walk.pages())]
        self.note("pages", {node.name: self.walked_by(node.name) for node in self.ring.cluster.nodes})

    def walked_by(self, node: str) -> int:
        """How many of the campaign's pages a node has."""
        return sum(page["node"] == node for page in self.walk.pages())

    def _done(self, campaign: Campaign) -> bool:
        with suppress(NodeUnreachable, ApiError), self.ring.node(1).client() as client:
            campaign.report = msgspec.to_builtins(client.call(table.CAMPAIGN, id=campaign.id))
            return campaign.report["state"] in ENDED
        return False

    def serving(self) -> bool:
        """Whether both nodes can fire, with all their workers."""
        for node in self.ring.cluster.nodes:
            if not node.running():
                raise Failed(f"{node.name} ended by itself: {node.last_words()[-600:]}")
            status = self._status(node)
            if status is None:
                return False
            serving = {worker["pid"] for worker in status["workers"] if worker["serving"]} - self.killed
            if not status["ready"] or len(serving) < self.plan.workers:
                return False
        return True

    def _status(self, node: ClusterNode) -> dict[str, Any] | None:
        if node is self.second and self.ring.cable is not None:  # it listens on the loopback of its own network
            command = [*self.ring.cable.places[1].prefix, sys.executable, "-c", _ASK, str(node.data.root)]
            answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
            return json.loads(answer) if answer else None
        with suppress(NodeUnreachable, ApiError), node.client() as client:
            return msgspec.to_builtins(client.status())
        return None

    def _export(self) -> dict[str, str]:
        with self.ring.node(1).client() as client:
            return {row.token: row.channel for row in base_of(client)}

    async def _without_the_dead(self) -> dict[str, str]:
        deadline = trio.current_time() + DEAD_SECONDS
        while True:
            base = self._export()
            if trio.current_time() > deadline or not any(token.startswith(samples.DEAD) for token in base):
                return base
            await trio.sleep(0.5)

    def _accepted(self) -> int:
        return sum(map(_lines, self.ring.cluster.nodes))

    async def until(self, look: Any, what: str, seconds: float) -> None:
        """Wait until ``look`` returns something (Failed when that takes too long)."""
        deadline = trio.current_time() + seconds
        while not look():
            if trio.current_time() > deadline:
                said = "; ".join(node.last_words()[-300:] for node in self.ring.cluster.nodes)
                raise Failed(f"no {what} within {seconds:g} s: {said}")
            await trio.sleep(0.05)

    async def _end(self) -> None:
        nodes = self.ring.cluster.nodes
        self.note("rss_mb", [rss(pid) >> 20 for node in nodes for pid in node.children("broadside.worker")])
        for node in nodes:
            self.ended(node)
        with suppress(Failed):
            await self.until(lambda: not self._left(), "end of the last process", 1.0)
        self.law("ended nodes leave no process", not self._left(), f"left after 1 s: {self._left()}")

    def ended(self, node: ClusterNode) -> None:
        """Stop a node by SIGTERM, and judge how it went."""
        began = trio.current_time()
        node.stop()
        assert node.process is not None
        code = node.process.returncode
        self.note("drained_s", round(trio.current_time() - began, 2))
        self.law(f"SIGTERM ends {node.name} with exit code 0", code == 0, f"exit code {code}: {node.last_words()}")

    def _left(self) -> list[int]:
        return [pid for pid in marked(str(self.folder)) if pid != self.ring.cluster.master.pid and pid != os.getpid()]


def _lines(node: ClusterNode) -> int:
    return sum(path.read_bytes().count(b"\n") for path in node.data.twins.glob("*.ledger"))
