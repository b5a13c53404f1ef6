"""``./dev cluster``: start a ring of two nodes on this machine, fire, show what each node does, count the pushes."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmarks.ring.cluster import CHANNELS, Cluster, ClusterError, gaps
from broadside.api.campaign_report import FireRequest
from broadside.api.v1 import table
from broadside.demo import samples
from broadside.errors import BroadsideError
from campaigns.identity import parse_campaign
from campaigns.message import Message
from storage.errors import AdminRefused

NEWS = Message(title="A ring is alive", body="This push went to every sample phone, each exactly once.")
DEAD_SHARE = 0.02
LOOK_EVERY = 0.25


class Tellers:
    """Counts the pushes that each node's twins have accepted, while their ledgers grow."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(self) -> dict[str, int]:
        """Node → pushes, by the lines of its twins' ledgers."""
        return {
            node.name: sum(path.read_bytes().count(b"\n") for path in node.data.twins.glob("*.ledger"))
            for node in self._cluster.nodes
        }


def main(arguments: list[str] | None = None) -> int:
    """``python -m benchmarks.ring [SUBSCRIBERS] [--nodes N] [--stay]``: 0 when nothing was lost."""
    parser = argparse.ArgumentParser(prog="./dev cluster", description=__doc__)
    parser.add_argument("subscribers", type=int, nargs="?", default=20_000, help="sample phones; default 20,000")
    parser.add_argument("--nodes", type=int, default=2, help="how many nodes; default 2")
    parser.add_argument("--latency", type=float, default=50.0, help="milliseconds that the twins take for an answer")
    parser.add_argument(
        "--stay", action="store_true", help="keep serving until Ctrl-C, so that you can fire again or kill parts of it"
    )
    given = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="broadside-cluster-") as folder:
        cluster = Cluster(Path(folder), nodes=given.nodes)
        try:
            return _show(cluster, given.subscribers, given.latency, stay=given.stay, console=console)
        except KeyboardInterrupt:
            console.print("interrupted: draining and stopping")
            return 130
        except (BroadsideError, AdminRefused, OSError) as error:
            console.print(f"cluster: {error}", markup=False, style="red")
            return 1
        finally:
            try:
                cluster.stop()
            except KeyboardInterrupt:
                cluster.kill()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(cluster: Cluster, subscribers: int, latency: float, *, stay: bool, console: Console) -> int:
    def say(text: str) -> None:
        console.print(text, markup=False)

    started = time.monotonic()
    for node in cluster.nodes:
        node.script(f"latency_ms = {latency}\n\n{samples.TWIN_SCRIPT}")
    names = ", ".join(node.name for node in cluster.nodes)
    say(f"starting {names}, each with a queue and twins of its own; one store with a read replica ({cluster.folder})")
    cluster.start()
    say(f"everything serves after {time.monotonic() - started:.1f} s; importing {subscribers:,} sample phones")
    platforms = {name: platform for name, (platform, _) in CHANNELS.items()}
    cluster.put(samples.subscribers(subscribers, DEAD_SHARE, platforms))
    live = {s.token for s in samples.subscribers(subscribers, DEAD_SHARE, platforms)}
    live = {token for token in live if not token.startswith(samples.DEAD)}
    with cluster.nodes[0].client() as client:
        campaign = client.fire(FireRequest(message=NEWS)).id
        say(f"fired campaign {campaign} through node-1: “{NEWS.title}”")
        pushes = Tellers(cluster)
        with Live(console=console, auto_refresh=False, transient=console.is_terminal) as screen:
            while not client.call(table.CAMPAIGN, id=campaign).ended:
                if console.is_terminal:
                    screen.update(_table(cluster.pages(parse_campaign(campaign)), pushes()), refresh=True)
                time.sleep(LOOK_EVERY)
        report = client.call(table.CAMPAIGN, id=campaign)
    pages = cluster.pages(parse_campaign(campaign))
    console.print(_table(pages, pushes()))
    say(f"{report.state} after {report.seconds or 0:.1f} s")
    wrong = gaps(pages)
    accepted = cluster.pushes()
    lost, twice = len(live - set(accepted)), sum(accepted.values()) - len(accepted)
    say(f"by the twins' ledgers: {len(live):,} live phones, {lost} lost, {twice} twice")
    say(f"by the store's page ledger: {len(pages)} pages, " + (wrong[0] if wrong else "each walked once, no gap"))
    master = cluster.master.ask("status")
    for copy in master["instances"]:
        say(
            f"the read replica follows, {copy['behind']} writes behind"
            if copy["follows"]
            else "the read replica is away"
        )
    if stay:
        _stay(cluster, say)
    return 1 if lost or wrong or any(page["state"] != "settled" for page in pages) else 0


def _stay(cluster: Cluster, say: Callable[[str], None]) -> None:
    for node in cluster.nodes:
        say(f"{node.name}: broadside fire --title hello --body world --wait --data {node.data.root}")
    say("serving; Ctrl-C drains and stops")
    while all(process.running() for process in (*cluster.nodes, *cluster.stores)):
        time.sleep(LOOK_EVERY)
    gone = next(process for process in (*cluster.nodes, *cluster.stores) if not process.running())
    raise ClusterError(f"{gone.name} ended: {gone.last_words()}")


def _table(pages: list[Mapping[str, Any]], pushes: Mapping[str, int]) -> Group:
    table = Table(box=None, pad_edge=False)
    for title in ("node", "pages walked", "settled", "pushes"):
        table.add_column(title, justify="left" if title == "node" else "right")
    walked = Counter(page["node"] for page in pages)
    settled = Counter(page["node"] for page in pages if page["state"] == "settled")
    for node, number in pushes.items():
        table.add_row(node, f"{walked[node]:,}", f"{settled[node]:,}", f"{number:,}")
    return Group(Text(""), table)


if __name__ == "__main__":
    sys.exit(main())
