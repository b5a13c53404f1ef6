"""A ring of three nodes over real Tarantools: an actor of one crashes at every step, and every page is put once."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from broadside import topology, wire
from campaigns.recipient import unpack_recipients
from storage.link import Link
from storage.store import Store
from storage.tubes import Tubes
from supervision.testing import Report, crash_at_every_step
from tests.conftest import Server
from tests.sweep.campaign import Campaign, rows
from tests.sweep.slices import crash_once
from tests.sweep.test_sweep_tarantool import WatchedLink

ACTORS = ["walker", "batcher", "settler", "shepherd"]
CHANNELS = ["ios", "android"]
SUBSCRIBERS = 60
NAMES = ["n1", "n2", "n3"]
_campaigns = itertools.count(1 << 41)
Puts = dict[tuple[int, int], tuple[str, Counter[tuple[str, int]]]]


class RingLink(WatchedLink):
    """Also writes down which pages were put, and whom with them."""

    def __init__(self, puts: list[Puts], *args: Any) -> None:
        super().__init__(*args)
        self.puts = puts
        self.kept: dict[str, list[bytes]] = {}

    async def call(self, where: str, verb: str, *args: Any, **options: Any) -> list[Any]:
        if verb == "store.page_read" and args[9:] == (True,):  # the page stays there, so look into it first
            (parts,) = await super().call(where, verb, *args[:9], **options)
            answer = await super().call(where, verb, *args, **options)
            self.kept[answer[2]] = [part[2] for part in parts]
            return answer
        if verb != "tubes.page_put":
            return await super().call(where, verb, *args, **options)
        _, _, segment, seq, batches, *_, last = args
        rows_of = (lambda part: self.kept[last][part - 1]) if isinstance(last, str) else bytes
        there = Counter((batch[0], row.id) for batch in batches for row in unpack_recipients(rows_of(batch[3])))
        # who crashes while he waits for the answer may have put it all the same: the ledger says whether
        self.puts[-1].setdefault((segment, seq), ("asked", there))
        answer = await super().call(where, verb, *args, **options)
        if answer[0] == "put":
            assert self.puts[-1][segment, seq][0] != "put", f"page {segment}/{seq} was put twice"
            self.puts[-1][segment, seq] = ("put", there)
        return answer


class Ring:
    """Three nodes in one process, each with a queue of its own; the first one's instance is the store, too."""

    def __init__(self, servers: list[Server], patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.endpoints = [server.embedded.endpoint for server in servers]
        self.servers = [wire.TarantoolLogin(each.uri, each.user, each.password) for each in self.endpoints]
        self.audience: dict[int, str] = {}
        self.puts: list[Puts] = []
        patch.setattr("storage.tubes.POLL", 0.1)
        patch.setattr("actors.settler.HELD_DELAY", 0.02)
        patch.setattr("actors.membership.RENEW_EVERY", 0.2)

    def nodes(self) -> list[Campaign]:
        number = next(_campaigns)
        found = []
        for n, name in enumerate(NAMES):
            peers = {other: self.servers[m] for m, other in enumerate(NAMES) if m != n}
            found.append(
                Campaign(
                    channels=CHANNELS, campaign=number, page_size=6, seconds=0.002, shepherd=0.3, node=name,
                    server=self.servers[0], queue=self.servers[n], peers=peers,
                )
            )  # fmt: skip
            found[n].ledger = found[0].ledger
        return found

    async def scenario(self) -> None:
        nodes = self.nodes()
        first = nodes[0]
        first.wired(self.patch)
        self.puts.append({})
        forgive = first.ledger.forgive
        self.patch.setattr(topology, "Link", lambda ends, greetings: RingLink(self.puts, forgive, ends, greetings))
        async with trio.open_nursery() as outside:
            links = []
            for endpoint in self.endpoints:
                links.append(Link({"store": self.endpoints[0], "queue": endpoint}))
                started = trio.Event()
                outside.start_soon(links[-1].run, started.set)
                await started.wait()
            store = Store(links[0])
            if not self.audience:
                await store.subscribers_put(rows(SUBSCRIBERS, CHANNELS))
                self.audience = {row.id: row.channel for row in await store.subscribers_page(0, 1000)}

            async def state() -> str:
                found = await store.campaign_get(first.id)
                return "" if found is None else found.state

            async with trio.open_nursery() as nursery:
                for node, link in zip(nodes, links, strict=True):
                    nursery.start_soon(node.run_node, link)
                await trio.sleep(0.1)
                await first.fire(store, Tubes(links[0], "console"))
                await first.wait_done(state, 25.0)
                for node in nodes:
                    node.stop()
            found = await store.campaign_get(first.id)
            assert found is not None
            first.judge(set(self.audience), found.tallies)
            pages = await store.campaign_pages(first.id)
            for link in links:
                link.stop()
        put: Counter[tuple[str, int]] = Counter()
        for page in pages:
            there = self.puts[-1].get((page.segment, page.seq), ("", Counter[tuple[str, int]]()))[1]
            assert page.recipients == there.total(), f"the ledger has {page}, and {there} was put"
            put.update(there)
        assert put == Counter((channel, id) for id, channel in self.audience.items()), "each on a tube, exactly once"
        assert len({page.node for page in pages}) > 1, "one node has walked it all"

    def crash(self, actor: str, **options: Any) -> Report:
        return crash_at_every_step(self.scenario, actor=actor, virtual=False, within=60, **options)


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    servers = [Server(tmp_path / name, CHANNELS, memory=64 << 20).start() for name in NAMES]
    yield Ring(servers, monkeypatch)
    for server in servers:
        server.stop()
        server.embedded.remove_runtime()


def test_a_slice_of_the_crashes_in_a_ring_puts_every_page_once(ring: Ring) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    print(f"slice {seed}")
    for actor in ("walker", "batcher"):
        crash_once(ring.crash, actor, chance.randrange(1, 12)).check()


@pytest.mark.sweep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("actor", ACTORS)
def test_a_crash_at_every_step_in_a_ring_puts_every_page_once(ring: Ring, actor: str) -> None:
    print(ring.crash(actor).check())
