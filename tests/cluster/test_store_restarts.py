"""A replicated store without nodes: what its master wrote last, and nobody had confirmed, holds nothing up."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from benchmarks.ring.cluster import Cluster, ClusterError
from campaigns.recipient import unpack_recipients
from storage.errors import LinkLost
from storage.link import Endpoint, Link
from storage.store import Store

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "ring", nodes=0, memory=64 << 20)
    try:
        for store in cluster.stores:
            store.begin()
        yield cluster
    finally:
        cluster.kill()


@asynccontextmanager
async def linked(cluster: Cluster) -> AsyncIterator[Link]:
    first, second = (f"127.0.0.1:{store.port}" for store in cluster.stores)
    password = (cluster.folder / "store.password").read_text().strip()
    endpoint = Endpoint(first, "broadside", password, (second,), "store.writable")
    link = Link({"store": endpoint, "replica": Endpoint(second, "broadside", password)})
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[None]) -> None:
            await link.run(task_status.started)

        await nursery.start(run)
        yield link
        link.stop()


def row(token: str) -> list[object]:
    return ["ios", token, "token", 1000, "en", "UTC", "AT", "1", "", None, [], {}]


async def written(store: Store, token: str) -> None:
    """Put until it is acknowledged."""
    with trio.fail_after(30):
        while True:
            try:
                await store.subscribers_put([row(token)])
                return
            except LinkLost:
                await trio.sleep(0.1)


async def unconfirmed(cluster: Cluster, link: Link) -> None:
    """A master that is killed while a write waits for its replica, which is stopped."""
    store, (master, replica) = Store(link), cluster.stores
    await written(store, "first")
    os.kill(replica.pid, signal.SIGSTOP)
    with trio.move_on_after(0.5):
        await store.subscribers_put([row("waits")])
        raise AssertionError("acknowledged, though the replica cannot have it")
    master.kill()


async def test_a_master_that_dies_with_unconfirmed_writes_comes_back(cluster: Cluster) -> None:
    async with linked(cluster) as link:
        await unconfirmed(cluster, link)
        os.kill(cluster.stores[1].pid, signal.SIGCONT)
        cluster.master.begin()
        await written(Store(link), "second")
        assert {row.token for row in await Store(link).subscribers_page(0, 10)} >= {"first", "second"}


async def test_a_master_that_comes_back_alone_goes_on_when_its_quorum_is_lowered(cluster: Cluster) -> None:
    async with linked(cluster) as link:
        await unconfirmed(cluster, link)
        cluster.stores[1].kill()
        cluster.master.begin()
        status = cluster.master.ask("promote", quorum=1)
        assert (status["term"], status["quorum"], status["read_only"]) == (1, 1, False)
        await written(Store(link), "second")
        cluster.stores[1].begin()
        cluster.master.ask("promote", quorum=2)
        await written(Store(link), "third")


async def test_a_promoted_replica_has_what_was_acknowledged_and_the_link_finds_it(cluster: Cluster) -> None:
    async with linked(cluster) as link:
        await unconfirmed(cluster, link)
        replica = cluster.stores[1]
        os.kill(replica.pid, signal.SIGCONT)
        assert replica.ask("promote", quorum=1)["term"] == 2
        await written(Store(link), "second")
        assert {row.token for row in await Store(link).subscribers_page(0, 10)} >= {"first", "second"}
        with pytest.raises(ClusterError, match="Move its data folder away"):
            cluster.master.begin()


@pytest.mark.sweep
async def test_a_master_that_lives_on_after_another_was_promoted_acknowledges_nothing(cluster: Cluster) -> None:
    async with linked(cluster) as link:
        await written(Store(link), "first")
        assert cluster.stores[1].ask("promote", quorum=1)["term"] == 2
        with pytest.raises(LinkLost, match="2 instances must have a write before it is acknowledged"):
            await Store(link).subscribers_put([row("second")])
        with pytest.raises(LinkLost, match="2 instances must have a write"):
            await Store(link).subscribers_page(0, 10)  # nor does it show what it has written alone
        await Store(link, "replica").subscribers_put([row("third")])
        assert [row.token for row in await Store(link, "replica").subscribers_page(0, 10)] == ["first", "third"]


async def tokens(store: Store, position: tuple[int, int]) -> list[str]:
    parts = (await store.page_read(0, 10, 10, position)).parts
    return [row.token for part in parts for row in unpack_recipients(part.recipients)]


async def test_a_replica_that_is_behind_says_so_and_the_master_is_asked(cluster: Cluster) -> None:
    master, replica = cluster.stores
    async with linked(cluster) as link:
        master.ask("promote", quorum=1)
        store, on_replica = Store(link, replica="replica"), Store(link, "replica")
        await written(store, "first")
        instance, number = 1, master.ask("status")["lsn"]
        assert await tokens(store, (instance, number)) == ["first"]
        (page,) = await link.call("replica", "store.page_read_at", [instance, number + 1000], 0, 10, None, 10)
        assert page is None, "it waited for a second, then gave up"
        assert await tokens(store, (instance, number + 1000)) == ["first"]
        (page,) = await link.call("replica", "store.page_read_at", [instance, number], 0, 10, None, 10)
        assert b"first" in page[0][2]
        with pytest.raises(LinkLost, match="read-only"):
            await on_replica.subscribers_put([row("second")])
        os.kill(replica.pid, signal.SIGSTOP)
        try:
            with trio.fail_after(10):
                assert await tokens(store, (instance, number)) == ["first"]
        finally:
            os.kill(replica.pid, signal.SIGCONT)
