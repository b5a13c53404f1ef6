"""Backed up in mid-campaign by the command line, lost, and restored: who is sent to again, and who decides.

The commands are those of docs/backup.md, with other folders.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from benchmarks.ring.cluster import Cluster
from broadside import cli
from broadside.demo import samples
from campaigns.tally import ENDS
from storage.endpoint import Endpoint
from storage.link import Link
from storage.store import Store
from tests.broadside.test_node_end_to_end import CHANNELS, NodeProcess, gone, slow

SUBSCRIBERS = 30_000
PAGE = Path(__file__).parents[2] / "docs" / "backup.md"
NODE, STORE, BACKUPS, ID = "/var/lib/broadside/node", "/var/lib/broadside-store", "/backup", "azmm24cxtlbeu"
BACK_UP = f"broadside backup {BACKUPS}/monday --data {NODE}"
RESTORE = f"broadside restore {BACKUPS}/monday --data {NODE}"
LIST = f"broadside campaign list --data {NODE}"
RESUME = f"broadside campaign resume {ID} --data {NODE}"
DOCTOR = f"broadside doctor --data {NODE}"
SUPPORT = f"broadside support help.zip --data {NODE}"
BACK_UP_STORE = f"broadside backup {BACKUPS}/monday-store --server {STORE}"
RESTORE_STORE = f"broadside restore {BACKUPS}/monday-store --server {STORE}"
PROMOTE = f"broadside store promote {STORE} --quorum 2"
APPLY = f"broadside schema apply {STORE}"
RUN = {BACK_UP, RESTORE, LIST, RESUME, DOCTOR, SUPPORT, BACK_UP_STORE, RESTORE_STORE, PROMOTE, APPLY}


def test_every_command_of_the_page_is_run_here() -> None:
    assert set(re.findall(r"^ *(broadside .*)$", PAGE.read_text(), re.M)) == RUN


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    both = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        both.append(NodeProcess(tmp_path / name, SUBSCRIBERS))
    yield both[0], both[1]
    for node in both:
        if node.process is not None and node.process.poll() is None:
            node.process.kill()
            node.process.wait(10)


class Shell:
    """Runs the page's commands in this test's folders."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.places = {BACKUPS: str(folder), "help.zip": str(folder / "help.zip")}

    def __call__(self, line: str, *more: str) -> str:
        for place, here in self.places.items():
            line = line.replace(place, here)
        self._capfd.readouterr()
        code = cli.run([*shlex.split(line)[1:], *more])
        out, err = self._capfd.readouterr()
        assert code == 0, out + err
        return out


@pytest.fixture
def shell(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capfd)


def settled_by(node: NodeProcess) -> int:
    """How many of its campaign's recipients have an outcome, as the node says."""
    (line,) = node.api("/v1/campaigns")["items"]
    tallies = node.api(f"/v1/campaigns/{line['id']}")["channels"].values()
    return sum(tally[outcome] for tally in tallies for outcome in ENDS)


@pytest.mark.timeout(300)
def test_a_node_that_is_lost_in_mid_campaign_comes_back_from_its_backup_paused_and_reaches_everybody(
    nodes: tuple[NodeProcess, NodeProcess], shell: Shell
) -> None:
    first, second = nodes
    shell.places[NODE] = str(first.data)
    slow(first, 700)
    first.start()
    first.wait_for("fired campaign", 90)
    first.until(lambda: settled_by(first) > 1000, "1,000 settled pushes")
    made = json.loads(shell(BACK_UP, "--json"))
    at_backup = sum(first.ledger().values())
    first.until(lambda: sum(first.ledger().values()) > at_backup + 2000, "pushes after the backup")
    assert "ok versions: store schema" in shell(DOCTOR)
    shell(SUPPORT)
    assert first.process is not None
    children = first.children()
    first.end(signal.SIGKILL)
    assert gone(children, 15.0)
    before = first.ledger()
    assert sum(before.values()) < SUBSCRIBERS, "it was in mid-campaign"

    shell.places[NODE] = str(second.data)
    restored = json.loads(shell(RESTORE, "--json"))
    (held,) = restored["held"]
    assert held["state"] == "paused"
    tokens = {s.token for s in samples.subscribers(SUBSCRIBERS, 0.02, CHANNELS)}
    live = {token for token in tokens if not token.startswith(samples.DEAD)}
    assert len(live) <= restored["subscribers"] <= SUBSCRIBERS, "without some dead ones, which the campaign had found"
    assert abs(made["manifest"]["subscribers"] - restored["subscribers"]) < 500, "counted when the checkpoint began"
    (second.data / "twins" / "apns.script.toml").write_text(samples.TWIN_SCRIPT)
    (second.data / "twins" / "fcm.script.toml").write_text(samples.TWIN_SCRIPT)
    second.start()
    second.wait_for("serving;", 90)
    count = second.api("/v1/subscribers/count")["total"]
    assert len(live) <= count <= restored["subscribers"], "lines of the outbox in the backup tell of dead ones, too"
    path = f"/v1/campaigns/{held['id']}"
    second.until(lambda: second.api(path)["state"] == "paused", "pause")
    settled = settled_by(second)
    time.sleep(1.0)
    assert sum(second.ledger().values()) == 0, "nobody gets anything until a person decides"

    assert "paused" in shell(LIST)
    shell.places[ID] = held["id"]
    shell(RESUME)
    second.until(lambda: second.api(path)["state"] == "done", "end of the campaign", 60)
    assert cli.run(["campaign", "verify", held["id"], "--data", str(second.data)]) == 0
    after = second.ledger()
    assert live <= set(before) | set(after), "nobody is lost"
    assert 0 < settled < at_backup + 5000
    again = sum(after[token] for token in before)
    assert again <= sum(before.values()) - settled * 0.97, "who was settled before the backup gets nothing again"
    assert second.end() == 0


async def rows_of(cluster: Cluster, number: int, put: int = 0) -> int:
    """How many subscribers an instance of the store has, after ``put`` were written to it."""
    password = (cluster.folder / "store.password").read_text().strip()
    link = Link({"store": Endpoint(f"127.0.0.1:{cluster.stores[number].port}", "broadside", password)})
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: link.run(task_status.started))
        store = Store(link)
        if put:
            rows = [("ios", f"{n:064x}", "token", 5, "en", "", "AT", "", "", None, [], {}) for n in range(put)]
            await store.subscribers_put(rows)
        count = await store.subscribers_count()
        link.stop()
    return sum(count.values())


@pytest.mark.tarantool
@pytest.mark.timeout(120)
def test_a_store_whose_servers_are_all_lost_comes_back_from_the_backup_of_a_read_replica(
    tmp_path: Path, shell: Shell
) -> None:
    cluster = Cluster(tmp_path / "ring", nodes=0, memory=128 << 20)
    master, replica = cluster.stores
    at = [server.folder / "data" for server in cluster.stores]
    try:
        for server in cluster.stores:
            server.begin()
        assert trio.run(rows_of, cluster, 0, 50) == 50
        shell.places[STORE] = str(at[1])
        assert json.loads(shell(BACK_UP_STORE, "--json"))["manifest"]["subscribers"] == 50
        assert trio.run(rows_of, cluster, 0, 60) == 60
        for number, server in enumerate(cluster.stores):
            server.kill()
            at[number].rename(tmp_path / f"lost-{number}")

        shell.places[STORE] = str(at[0])
        assert "restored 50 subscribers" in shell(RESTORE_STORE)
        master.begin()
        assert master.ask("status")["read_only"] is False
        assert master.ask("status")["quorum"] == 1
        assert trio.run(rows_of, cluster, 0) == 50
        replica.begin()
        master.until(lambda: any(each["follows"] for each in master.ask("status")["instances"]), "replica")
        shell(PROMOTE)
        shell(APPLY)
        assert trio.run(rows_of, cluster, 0, 55) == 55
        assert trio.run(rows_of, cluster, 1) == 55, "acknowledged by both"

        # what is left of the old store meets the new one, and is refused
        replica.kill()
        shutil.rmtree(at[1])
        (tmp_path / "lost-1").rename(at[1])
        replica.start()
        time.sleep(2.0)
        assert not any(each["follows"] for each in master.ask("status")["instances"])
        assert trio.run(rows_of, cluster, 0) == 55
    finally:
        cluster.kill()


def test_what_is_asked_for_wrongly_is_refused_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def refused(code: int, *words: str) -> str:
        capfd.readouterr()
        assert cli.run(words) == code
        out, err = capfd.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        return err

    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    assert "no node is running on the data folder" in refused(3, "backup", str(tmp_path / "b"), "--data", str(data))
    assert not (tmp_path / "b").exists()
    assert "admin.sock: no such file" in refused(2, "backup", str(tmp_path / "b"), "--server", str(data))
    (data / "queue").mkdir()
    assert "the base is in the store" in refused(2, "backup", str(tmp_path / "b"), "--data", str(data))
    assert "is not empty, it has queue" in refused(2, "restore", str(tmp_path / "b"), "--data", str(data))
    assert "manifest.json: no such file" in refused(2, "restore", str(tmp_path / "b"), "--server", str(tmp_path / "s"))
    for _ in range(2):  # the first has left nothing that stops the second
        assert "manifest.json: no such file" in refused(
            2, "restore", str(tmp_path / "b"), "--data", str(tmp_path / "n")
        )
