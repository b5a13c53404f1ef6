"""Upgrade a ring under load, one server after the other: python -m tests.cluster.rolling_upgrade COMMIT.

Two servers, each with a node and an instance of the store, run the tree of COMMIT; each sees its version through a link
of its own, as an installation under /opt. Then, as docs/backup.md says and while campaigns run: the store's schema on
the master, one node, a while with both versions, the other node, the read replica, the master. Nobody may be lost and
nobody sent to twice. Needs git and a minute and a half.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.ring.cluster import CHANNELS, Cluster, ClusterNode, Place, StoreServer, gaps
from broadside.api.campaign_report import FireRequest
from broadside.api.v1 import table
from broadside.demo import samples
from campaigns.identity import parse_campaign
from campaigns.message import Message

ROOT = Path(__file__).parents[2]
PLATFORMS = {name: platform for name, (platform, _) in CHANNELS.items()}
MIXED = 8.0
"""Seconds for which both versions run."""


class Servers:
    """Two servers, and the link to the version that each has installed."""

    def __init__(self, folder: Path, old: Path) -> None:
        self.links = [folder / "opt-1", folder / "opt-2"]
        for link in self.links:
            link.symlink_to(old)
        places = [Place(prefix=("env", "-C", str(link), f"PYTHONPATH={link}")) for link in self.links]
        self.cluster = Cluster(folder / "ring", places=places, memory=512 << 20)
        for link, store in zip(self.links, self.cluster.stores, strict=True):
            self.point(store, link)
        for node in self.cluster.nodes:
            config = node.folder / "broadside.toml"
            # what an earlier version need not know
            text = re.sub(r"\[(guards|supervision)\]\n.*\n\n", "", config.read_text())
            config.write_text(text)
            node.script(f"latency_ms = 400\n{samples.TWIN_SCRIPT}")

    @staticmethod
    def point(store: StoreServer, link: Path) -> None:
        store.command = [*store.command[:-2], str(link / "storage" / "lua" / "server.lua"), store.command[-1]]

    def install(self, number: int, tree: Path) -> None:
        """What is running goes on as it was."""
        link = self.links[number - 1]
        new = link.with_suffix(".new")
        new.symlink_to(tree)
        new.rename(link)

    def restart(self, process: ClusterNode | StoreServer) -> str:
        """How long it took to stop, and until it served again."""
        if not process.running():
            raise SystemExit(f"{process.name} had ended by itself: {process.last_words()}")
        began = time.monotonic()
        process.stop()
        stopped = time.monotonic()
        process.begin()
        return f"stopped in {stopped - began:.1f} s, and serves {time.monotonic() - stopped:.1f} s later"


class Campaign:
    """One campaign over the whole base, counted by the twins."""

    def __init__(self, cluster: Cluster, live: set[str], title: str) -> None:
        self.cluster, self.live, self.title = cluster, live, title
        with cluster.nodes[0].client() as client:
            self.id = client.fire(FireRequest(message=Message(title=title, body=title))).id

    def accepted(self) -> Counter[str]:
        """Its pushes that the twins accepted, by token: the collapse id is the campaign's."""
        found: Counter[str] = Counter()
        for node in self.cluster.nodes:
            for path in node.data.twins.glob("*.ledger"):
                whole, _, _ = path.read_bytes().rpartition(b"\n")  # the twin may be writing the next line
                lines = map(json.loads, whole.splitlines())
                found.update(line["token"] for line in lines if line["collapse"] == self.id)
        return found

    def pushed(self) -> int:
        return sum(self.accepted().values())

    def ends(self, seconds: float = 180.0) -> tuple[int, int, list[str]]:
        """Lost, sent twice, gaps of the ledger."""
        deadline = time.monotonic() + seconds
        while self._state() != "done":
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.title}: not done after {seconds:g} s: {self.pushed():,} pushes")
            time.sleep(0.2)
        accepted = self.accepted()
        lost, twice = len(self.live - set(accepted)), sum(accepted.values()) - len(accepted)
        return lost, twice, gaps(self.cluster.pages(parse_campaign(self.id)))

    def _state(self) -> str:
        with self.cluster.nodes[0].client() as client:
            return str(client.call(table.CAMPAIGN, id=self.id).state)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.rolling_upgrade", description=__doc__)
    parser.add_argument("commit", help="the version before")
    parser.add_argument("--subscribers", type=int, default=30_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="broadside-upgrade-") as place:
        folder = Path(place).resolve()
        old = folder / "old"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(old), given.commit], check=True)
        try:
            return upgrade(folder, old, given.subscribers)
        finally:
            subprocess.run([*git, "remove", "--force", str(old)], check=True)


def upgrade(folder: Path, old: Path, subscribers: int) -> int:
    servers = Servers(folder, old)
    cluster, wrong = servers.cluster, 0
    try:
        cluster.start()
        rows = list(samples.subscribers(subscribers, 0.02, PLATFORMS))
        cluster.put(rows)
        live = {row.token for row in rows if not row.token.startswith(samples.DEAD)}
        say(f"the old version serves: {schema(cluster)}")

        first = Campaign(cluster, live, "while the nodes are upgraded")
        wait(lambda: first.pushed() > subscribers // 20)
        servers.install(1, ROOT)
        cluster.master.ask("apply")
        say(f"applied on the master, at {first.pushed():,} of {len(live):,} pushes: {schema(cluster)}")
        took = servers.restart(cluster.nodes[0])
        say(f"node-1, now new, {took}, at {first.pushed():,}")
        time.sleep(MIXED)
        say(f"both versions have run for {MIXED:g} s, at {first.pushed():,}")
        mixed = Campaign(cluster, live, "fired by the new node while the other is old")
        wait(lambda: mixed.pushed() > subscribers // 20)
        servers.install(2, ROOT)
        took = servers.restart(cluster.nodes[1])
        say(f"node-2, now new, {took}, at {first.pushed():,}")
        wrong += told(first) + told(mixed)

        second = Campaign(cluster, live, "while the store is restarted")
        wait(lambda: second.pushed() > subscribers // 20)
        say(f"the read replica, now new, {servers.restart(cluster.stores[1])}, at {second.pushed():,}")
        say(f"the master, now new, {servers.restart(cluster.master)}, at {second.pushed():,}")
        wrong += told(second)
    finally:
        cluster.stop()
    return 1 if wrong else 0


def told(campaign: Campaign) -> int:
    lost, twice, holes = campaign.ends()
    say(f"{campaign.title}: {lost} lost, {twice} twice, {holes[0] if holes else 'no gap'}")
    return lost + twice + len(holes)


def schema(cluster: Cluster) -> str:
    said = cluster.master.ask("apply")
    return f"the store has schema {said['schema']}"


def wait(look: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit("nothing moves")
        time.sleep(0.05)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
