"""A store that elects its leader (`failover: raft`): whatever becomes of one of three instances, the others go on.

Only with Tarantool 2.11 or later: `TARANTOOL=/path pytest tests/cluster/test_store_elects.py`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from benchmarks.ring.cluster import Cluster, StoreServer
from broadside import cli
from storage.errors import LinkLost, LinkTimeout
from storage.link import Endpoint, Link
from storage.store import Store
from storage.tarantool_program import ELECTS, tarantool, version
from tests.cluster.cable import Cable
from tests.cluster.ring import Ring, Run, until
from tests.cluster.test_store_lost import Importer
from tests.cluster.test_store_lost import tokens as base

TARANTOOL = version(tarantool() or "tarantool")
elects = pytest.mark.skipif(
    TARANTOOL.series < ELECTS, reason=f"{TARANTOOL.text} cannot elect a leader safely: TARANTOOL= names a later one"
)
pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster"), elects]
SERVING_AGAIN = 10.0
"""Seconds after a leader's loss within which a write is acknowledged again."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "ring", nodes=0, stores=3, memory=64 << 20, failover="raft")
    try:
        for store in cluster.stores:
            store.begin()
        until_all_follow(cluster)
        yield cluster
    finally:
        cluster.kill()


def leads(store: StoreServer) -> bool:
    return store.running() and not store.ask("status")["read_only"]


def leader(cluster: Cluster, among: list[StoreServer] | None = None) -> StoreServer:
    """Wait for it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for store in cluster.stores if among is None else among:
            if leads(store):
                return store
        time.sleep(0.05)
    raise AssertionError("nobody leads\n" + "\n".join(store.last_words() for store in cluster.stores))


def others(cluster: Cluster, than: StoreServer) -> list[StoreServer]:
    return [store for store in cluster.stores if store is not than]


@contextmanager
def stopped(*stores: StoreServer) -> Iterator[None]:
    """They are there, and silent."""
    for store in stores:
        os.kill(store.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for store in stores:
            os.kill(store.pid, signal.SIGCONT)


@asynccontextmanager
async def linked(cluster: Cluster) -> AsyncIterator[Store]:
    first, *rest = (f"127.0.0.1:{store.port}" for store in cluster.stores)
    password = (cluster.folder / "store.password").read_text().strip()
    link = Link({"store": Endpoint(first, "broadside", password, tuple(rest), "store.writable")})
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[None]) -> None:
            await link.run(task_status.started)

        await nursery.start(run)
        yield Store(link)
        link.stop()


def row(token: str) -> list[object]:
    return ["ios", token, "token", 1000, "en", "UTC", "AT", "1", "", None, [], {}]


async def written(store: Store, token: str, within: float = 30) -> None:
    """Put until it is acknowledged."""
    with trio.fail_after(within):
        while True:
            try:
                await store.subscribers_put([row(token)])
                return
            except LinkLost:
                await trio.sleep(0.05)


async def tokens(store: Store) -> set[str]:
    with trio.fail_after(30):
        while True:
            try:
                return {row.token for row in await store.subscribers_page(0, 1000)}
            except LinkLost:
                await trio.sleep(0.05)


class Writer:
    """Writes one newcomer after the other, and remembers which were acknowledged."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.acknowledged: list[str] = []
        self.longest = 0.0
        """Seconds between two acknowledged writes."""

    async def run(self) -> None:
        last = time.monotonic()
        for number in range(1_000_000):
            await written(self.store, f"newcomer-{number}")
            self.acknowledged.append(f"newcomer-{number}")
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now
            await trio.sleep(0.01)

    async def more(self, count: int = 20) -> None:
        wanted = len(self.acknowledged) + count
        while len(self.acknowledged) < wanted:  # noqa: ASYNC110 - the writer tells nobody
            await trio.sleep(0.02)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["killed", "silent"])
async def test_when_the_leader_is_lost_another_serves_and_it_comes_back_as_a_replica(
    cluster: Cluster, fault: str
) -> None:
    lost = leader(cluster)
    async with linked(cluster) as store, trio.open_nursery() as nursery:
        writer = Writer(store)
        nursery.start_soon(writer.run)
        await writer.more()
        if fault == "killed":
            lost.kill()
            await writer.more()
            lost.begin()
        else:
            with stopped(lost):
                await writer.more()
        assert writer.longest < SERVING_AGAIN
        await writer.more()
        nursery.cancel_scope.cancel()
    async with linked(cluster) as store:
        assert set(writer.acknowledged) <= await tokens(store)
        print(f"{TARANTOOL.text}: serving again after {writer.longest:.1f} s")
        until_all_follow(cluster)


def until_all_follow(cluster: Cluster) -> None:
    """Every instance but the leader follows it, and has all of it: nobody needs a person."""
    deadline = time.monotonic() + 30
    while True:
        said = leader(cluster).ask("status")["instances"]
        if len(said) == len(cluster.stores) - 1 and all(
            each["follows"] and each["followed"] and each["behind"] == 0 for each in said
        ):
            return
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


@pytest.mark.timeout(120)
async def test_what_a_leader_wrote_and_nobody_confirmed_is_taken_back_when_it_returns(cluster: Cluster) -> None:
    """B1, without a person: the old folder is not moved away, and has in the end what all others have."""
    lost = leader(cluster)
    async with linked(cluster) as store:
        await written(store, "first")
        rest = others(cluster, lost)
        for each in rest:
            os.kill(each.pid, signal.SIGSTOP)
        with trio.move_on_after(0.5):
            await store.subscribers_put([row("unconfirmed")])
            raise AssertionError("acknowledged, though nobody else has it")
        with pytest.raises((LinkLost, trio.TooSlowError)), trio.fail_after(0.5):
            print(await store.subscribers_page(0, 10))  # nor does anybody see it
        for each in (*rest, lost):
            each.kill()  # with what the wire has brought them, and they have not read
        for each in rest:
            each.begin()
        await written(store, "second")
        lost.begin()
        until_all_follow(cluster)
        lost.ask("promote")
        await written(store, "third")
        assert leads(lost)
        assert await tokens(store) == {"first", "second", "third"}


@pytest.mark.timeout(120)
async def test_a_leader_that_reaches_nobody_stops_and_its_clients_are_told_nothing_old(cluster: Cluster) -> None:
    async with linked(cluster) as store:
        await written(store, "first")
        with stopped(*others(cluster, leader(cluster))):
            await trio.sleep(5)  # it has given up by then; a read changes nothing, and so waits for nobody
            with pytest.raises((LinkLost, trio.TooSlowError)), trio.fail_after(3):
                print(await store.subscribers_page(0, 10))
        assert await tokens(store) == {"first"}


@pytest.mark.timeout(120)
async def test_a_new_leader_remembers_nothing_of_the_time_when_it_led_before(cluster: Cluster) -> None:
    """Roles keep much in Lua. What a former leader kept is old when it leads again."""
    first = leader(cluster)
    second = others(cluster, first)[0]

    async def holder(node: str) -> bool:
        with trio.fail_after(30):
            while True:
                try:
                    (held,) = await store._link.call("store", "store.duty_take", "alarms", node)
                    return bool(held)
                except LinkLost:
                    await trio.sleep(0.05)

    async with linked(cluster) as store:
        assert await holder("n1")
        assert not await holder("n2")
        second.ask("promote")
        assert await holder("n2"), "n1 is gone, as far as the new leader knows"
        first.ask("promote")
        assert await holder("n2"), "that n1 held it was long ago"
        assert not await holder("n1")


@pytest.mark.timeout(120)
async def test_the_last_of_three_goes_on_when_a_person_says_so(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    dead = others(cluster, leader(cluster))
    survivor = leader(cluster)
    async with linked(cluster) as store:
        await written(store, "first")
        for each in dead:
            each.kill()
        with pytest.raises((LinkLost, LinkTimeout, trio.TooSlowError)), trio.fail_after(12):
            await store.subscribers_put([row("alone")])
        assert cli.run(["store", "promote", str(survivor.socket.parent), "--quorum", "1"]) == 0
        assert "leader, quorum 1" in capfd.readouterr().out
        await written(store, "second")
        for each in dead:
            each.begin()
        assert cli.run(["store", "promote", str(survivor.socket.parent)]) == 0
        assert "leader, quorum 2" in capfd.readouterr().out
        until_all_follow(cluster)
        await written(store, "third")
        assert await tokens(store) >= {"first", "second", "third"}


@pytest.mark.timeout(120)
async def test_a_server_that_lost_its_disk_joins_anew_and_the_old_one_can_be_forgotten(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    lost = cluster.master
    old = lost.ask("status")["uuid"]
    async with linked(cluster) as store:
        await written(store, "first")
        lost.kill()
        lost.socket.parent.rename(lost.folder / "retired")
        lost.begin()  # its settings still say `master: true`, of a base that is yet to be made
        now = leader(cluster)
        folder = str(now.socket.parent)
        assert lost.ask("status")["uuid"] != old
        assert cli.run(["store", "status", folder]) == 0
        assert f"{old}: away" in capfd.readouterr().out
        assert now.ask("status")["quorum"] == 3, "of four"
        assert cli.run(["store", "forget", folder, old]) == 0
        assert "leader, quorum 2" in capfd.readouterr().out
        assert cli.run(["store", "forget", folder, now.ask("status")["uuid"]]) == 1
        assert "is here: stop it first" in capfd.readouterr().err
        until_all_follow(cluster)
        assert await tokens(store) == {"first"}


@pytest.mark.timeout(60)
def test_a_base_that_was_led_by_election_is_not_led_by_hand(cluster: Cluster) -> None:
    store = others(cluster, leader(cluster))[0]
    store.kill()
    settings = store.folder / "settings.json"
    settings.write_text(settings.read_text().replace('"raft"', '"manual"'))
    store.start()
    assert store.process is not None
    assert store.process.wait(30) == 1
    assert "this base was led by election: set failover to raft, on all servers of the store" in store.last_words()


# -- a whole ring ----------------------------------------------------------------------------------------------------


def killed(run: Run, importer: Importer) -> None:
    lost = leader(run.ring.cluster)
    lost.kill()
    more(importer)
    lost.begin()


def parted(run: Run, importer: Importer) -> None:
    """The leader stands at the far end with node 2; node 1 goes on with the two stores at this end."""
    run.ring.cut()
    more(importer)
    time.sleep(SERVING_AGAIN)  # longer than a lease
    run.ring.heal()


def parted_and_killed(run: Run, importer: Importer) -> None:
    """The leader that this end has elected is killed, too, and started again while the ends are still parted."""
    near = run.ring.cluster.stores[::2]
    run.ring.cut()
    more(importer)
    second = leader(run.ring.cluster, near)
    second.kill()
    second.begin()
    more(importer)
    run.ring.heal()


def more(importer: Importer) -> None:
    acknowledged = len(importer.acknowledged)
    until(lambda: len(importer.acknowledged) > acknowledged + 100, "acknowledged write", 3 * SERVING_AGAIN)


def survives(ring: Ring, fault: Callable[[Run, Importer], None]) -> None:
    try:
        ring.start()
        until_all_follow(ring.cluster)
        if ring.cable:
            ring.cluster.stores[1].ask("promote")
        importer = Importer(ring, node=1)
        importer.start()
        until(lambda: len(importer.acknowledged) >= 100, "import", 20.0)
        ring.live |= importer.acknowledged  # they are in the base when it is fired
        run = ring.fire("the only one")
        run.until(lambda: len(run.pages(leader(ring.cluster))) >= 5, "walk", 30.0)
        importer.longest = 0.0
        fault(run, importer)
        run.until(lambda: run.state() == "done", "end of the campaign", 120.0)
        importer.ending.set()
        importer.join(30)
        now = leader(ring.cluster)
        there = base(ring)
        run.judge(0, now, also={token for token in there if token.startswith("live-newcomer")})
        assert importer.acknowledged <= there, "what was acknowledged is there"
        assert ring.live <= there
        assert ring.asked("the only one", node=2) == run.campaign
        until_all_follow(ring.cluster)
        print(f"{TARANTOOL.text}: {fault.__name__}: serving again after {importer.longest:.1f} s")
        assert importer.longest < SERVING_AGAIN
    finally:
        ring.end()


@pytest.mark.timeout(300)
def test_a_campaign_goes_on_and_nothing_is_lost_when_the_leader_is_killed(tmp_path: Path) -> None:
    survives(Ring(tmp_path, 20_000, latency_ms=50, stores=3, failover="raft"), killed)


@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", [parted, parted_and_killed], ids=lambda fault: fault.__name__)
def test_a_campaign_goes_on_and_nothing_is_lost_when_the_leader_is(
    tmp_path: Path, fault: Callable[[Run, Importer], None]
) -> None:
    survives(Ring(tmp_path, 20_000, latency_ms=50, stores=3, failover="raft", cable=Cable()), fault)
