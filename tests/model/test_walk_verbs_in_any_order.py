"""The law of the walk over the real Lua verbs, in drawn interleavings with crashes, zombies, lost and late calls."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns.where import Share, Where
from storage.link import Link
from storage.store import pack_rows
from tests.conftest import Server
from tests.lua.audiences import is_in
from tests.model.verbs import CHANNEL, NOW, House, Witness, follow

SUBSCRIBERS = 6
_campaigns = itertools.count(1 << 50)
SCHEDULES = st.tuples(st.lists(st.integers(0, 1 << 16), max_size=50), st.integers(0, 1 << 16))


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    yield from two_servers(tmp_path_factory)


def two_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """The first is the store and one node's queue, the second another node's."""
    servers = [Server(tmp_path_factory.mktemp(f"ring-{n}"), [CHANNEL]).start() for n in range(2)]
    yield servers
    for server in servers:
        server.stop()
        server.embedded.remove_runtime()


@asynccontextmanager
async def fired(ring: list[Server]) -> AsyncIterator[tuple[list[House], set[int], int]]:
    """Two nodes in a new epoch, and a campaign of pages of two, for some of the base, that has just been fired."""
    campaign, witness = next(_campaigns), Witness()
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        houses = []
        for n, server in enumerate(ring):
            links = [Link({"store": ring[0].embedded.endpoint, "queue": server.embedded.endpoint}) for _ in range(2)]
            for link in links:
                await nursery.start(_run, link)
                stack.callback(link.stop)
            houses.append(House(f"n{n}", links, campaign, witness))
        for n, house in enumerate(houses):
            house.ring = [houses[1 - n]]
            await house.come_back()
            await house.adopt()
        store = houses[0].link
        if not (await store.call("store", "store.subscribers_count"))[0]:
            new: list[list[object]] = [
                [CHANNEL, f"t{n}", "token", NOW, "en", "", "", "", "", None, [], {}] for n in range(SUBSCRIBERS)
            ]
            await store.call("store", "store.subscribers_put", *pack_rows(new))
        (rows,) = await store.call("store", "store.subscribers_page", 0, 100)
        where = Where(share=Share(0.7, str(campaign)))
        everybody = {row[0] for row in rows if is_in(row[:13], where)}
        audience = {"where": where.plain()}
        await store.call("store", "store.campaign_create", campaign, "{}", audience, {"page_size": 2, "ttl_ms": 1}, NOW)
        batons, *_ = await store.call("store", "store.campaign_fire", campaign, 1, NOW)
        await houses[0].call("baton_put", batons)
        yield houses, everybody, max(row[0] for row in rows)


async def _run(link: Link, task_status: trio.TaskStatus[None]) -> None:
    await link.run(task_status.started)


async def example(ring: list[Server], schedule: tuple[list[int], int]) -> None:
    async with fired(ring) as (houses, everybody, end_id):
        await follow(*schedule, houses, everybody, end_id)


@given(schedule=SCHEDULES)
@settings(max_examples=100, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_verbs_keep_the_law_in_any_order(ring: list[Server], schedule: tuple[list[int], int]) -> None:
    trio.run(example, ring, schedule)
