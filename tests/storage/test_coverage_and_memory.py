"""The proof of coverage, the segments' bounds, the schema's second step, and a memory that is used up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from actors.batcher import split
from actors.campaign_cache import CampaignCache
from actors.messages import Page
from actors.walker import Walker
from broadside.newsroom.coverage import coverage, verify
from campaigns.campaign import Campaign
from campaigns.message import Message
from storage.errors import OutOfMemory
from storage.link import Link
from storage.records import Lease
from storage.tubes import Tubes
from tests.conftest import Server, linked
from tests.storage.test_pause_and_forget import Ring
from tests.storage.test_retention import NO_SLAB
from tests.storage.test_step_sizes import run
from tests.storage.test_walk_verbs import CAMPAIGN, NOW


@pytest.fixture
async def ring(own_link: Link) -> Ring:
    ring = Ring(own_link)
    await ring.join()
    return ring


async def known(ring: Ring) -> Campaign:
    campaign = await ring.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    return campaign


async def finish(ring: Ring) -> None:
    while await ring.walk_page() is not None:
        pass
    await ring.deliver("ios")
    await ring.deliver("android")
    await ring.report()


async def test_a_walk_to_its_end_is_covered_without_gaps_and_verified(ring: Ring) -> None:
    await ring.subscribers(450)
    await ring.fire(page_size=100)
    await ring.walk_page()
    await ring.report()
    half = await coverage(ring.store, await known(ring))
    assert [(gap.from_id, gap.to_id, gap.why) for gap in half.gaps] == [(100, 450, "not yet claimed")]
    assert not (await verify(ring.store, await known(ring))).ok
    await finish(ring)
    whole = await coverage(ring.store, await known(ring))
    assert [(w.channel, w.from_id, w.to_id, w.node, w.pages, w.recipients, w.settled) for w in whole.walked] == [
        ("android", 0, 450, "n1", 5, 225, 225),
        ("ios", 0, 450, "n1", 5, 225, 225),
    ]
    assert whole.gaps == []
    found = await verify(ring.store, await known(ring))
    assert (found.ok, found.pages, found.problems) == (True, 5, [])
    assert found.channels["ios"].enqueued == found.channels["ios"].base == 225
    # who leaves the base afterwards is no fault of the walk
    rows = await ring.store.subscribers_page(0, 2)
    assert await ring.store.subscribers_remove(rows[0].channel, rows[0].token)
    found = await verify(ring.store, await known(ring))
    assert (found.ok, found.channels[rows[0].channel].left) == (True, 1)


async def test_a_subscriber_whom_the_walk_missed_is_named_by_its_range(ring: Ring) -> None:
    await ring.subscribers(200)
    await ring.fire(page_size=100)
    held = await ring.take()
    assert held is not None
    claim = await ring.store.page_claim("n1", held.epoch, held.baton, NOW)
    assert claim.next is not None
    await ring.tubes.baton_put([claim.next])
    read = (await ring.store.page_read(claim.from_id, claim.to_id, 1)).parts
    parts = split(Page(held, claim, await known(ring), read[1:]), {"ios", "android"}, NOW)  # a walker that loses one
    await ring.tubes.page_put(held, *parts)
    await finish(ring)
    assert await ring.state() == "done"
    found = await verify(ring.store, await known(ring))
    assert not found.ok
    (problem,) = found.problems
    assert problem.startswith("segment 0, page 0 (ids 1 to 100): 1 of the 50 subscribers on")


async def test_more_recipients_than_ever_were_there_are_told(ring: Ring) -> None:
    await ring.subscribers(100)
    await ring.fire()
    held = await ring.take()
    assert held is not None
    claim = await ring.store.page_claim("n1", held.epoch, held.baton, NOW)
    read = (await ring.store.page_read(claim.from_id, claim.to_id, 1)).parts
    parts = split(Page(held, claim, await known(ring), [*read, read[0]]), {"ios", "android"}, NOW)
    await ring.tubes.page_put(held, *parts)
    await finish(ring)
    found = await verify(ring.store, await known(ring))
    assert not found.ok
    assert "somebody was enqueued twice" in found.problems[0]


async def test_segments_of_a_sparse_base_have_about_as_many_rows_each(ring: Ring) -> None:
    await ring.subscribers(4000)
    for n in range(3000):  # the old half has gone almost entirely
        await ring.store.subscribers_remove("ios" if n % 2 else "android", f"token-{n}")
    await ring.store.campaign_create(CAMPAIGN, Message(title="t", body="b"), None, {"page_size": 100, "ttl_ms": 1}, NOW)
    await ring.store.campaign_fire(CAMPAIGN, 4, NOW)
    cursors = await ring.store.campaign_cursors(CAMPAIGN)
    sizes = [sum((await ring.store.subscribers_in(c.after_id, c.end_id)).values()) for c in cursors]
    assert sum(sizes) == 1000
    assert len(sizes) == 4
    assert min(sizes) > 100, "by ids, three of the four would be nearly empty"
    assert [c.after_id for c in cursors[1:]] == [c.end_id for c in cursors[:-1]]


async def test_three_walkers_have_each_a_page_within_a_second_of_fire(ring: Ring, own_link: Link) -> None:
    await ring.subscribers(3000)
    got: dict[int, float] = {}
    async with trio.open_nursery() as nursery:
        walkers = []
        for n in range(3):
            send, receive = trio.open_memory_channel[Page](0)
            walker = Walker(
                node="n1",
                tubes=Tubes(own_link, f"worker-{n}/walker"),
                ring={},
                channels=["ios", "android"],
                store=ring.store,
                cache=CampaignCache(ring.store),
                pages=send,
                clock=lambda: NOW,
            )
            walkers.append(walker)
            await nursery.start(_walk, walker)
            nursery.start_soon(_first, receive, n, got)
        await trio.sleep(0.2)
        started = trio.current_time()
        await ring.store.campaign_create(
            CAMPAIGN, Message(title="t", body="b"), None, {"page_size": 100, "ttl_ms": 10**6}, NOW
        )
        batons = await ring.store.campaign_fire(CAMPAIGN, 3, NOW)
        assert batons
        assert len(batons) == 3
        await ring.tubes.baton_put(batons)
        with trio.fail_after(10):
            while len(got) < 3:  # noqa: ASYNC110 - three tasks, one dict
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert max(got.values()) - started < 1.0


async def _walk(walker: Walker, task_status: trio.TaskStatus[None]) -> None:
    await walker.run(task_status.started)


async def _first(pages: trio.MemoryReceiveChannel[Page], number: int, got: dict[int, float]) -> None:
    await pages.receive()
    got[number] = trio.current_time()
    await trio.sleep_forever()


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path / "small", ["ios", "android"], memory=64 << 20).start()
    yield server
    if server.process is not None:
        server.stop()
    server.embedded.remove_runtime()


async def fill(ring: Ring) -> int:
    """Put subscribers until there is no memory left; answers how many were acknowledged."""
    taken = 0
    for chunk in range(10_000):
        rows = [
            ("ios", f"{chunk}-{n}-" + "x" * 900, "token", NOW, "en", "UTC", "AT", "1", "", None, [], {})
            for n in range(500)
        ]
        try:
            inserted, *_ = await ring.store.subscribers_put(rows)
        except OutOfMemory:
            return taken
        taken += inserted
    raise AssertionError("64 MB never ran full")


@pytest.mark.timeout(120)
async def test_a_full_memory_refuses_subscribers_and_keeps_all_that_it_acknowledged(small: Server) -> None:
    async with linked(small) as link:
        ring = Ring(link)
        await ring.join()
        taken = await fill(ring)
        assert taken > 10_000
        assert await ring.store.subscribers_count() == {"ios": taken}
        memory = await ring.store.memory()
        assert memory.size == 64 << 20
        # the walk waits instead of crashing: the page is not put, and put when there is room
        await ring.fire(page_size=100)
        held = await ring.take()
        assert held is not None
        claim = await ring.store.page_claim("n1", held.epoch, held.baton, NOW)
        verdict = await ring.put(held, claim)
        while verdict == "put":
            # the last of the memory goes to batches; then no more is taken
            assert claim.next is not None
            await ring.tubes.baton_put([claim.next])
            held = await ring.take()
            assert held is not None
            claim = await ring.store.page_claim("n1", held.epoch, held.baton, NOW)
            verdict = await ring.put(held, claim)
        assert verdict == "full"
        assert await ring.deliver("ios") >= 0
        await ring.report()
    small.kill()
    larger = Server(small.embedded.directory, ["ios", "android"], memory=256 << 20).start()
    try:
        async with linked(larger) as link:
            ring = Ring(link)
            await ring.join()
            await ring.tubes.renew(ring.epoch, Lease(30.0, []))
            assert await ring.store.subscribers_count() == {"ios": taken}
            assert await ring.put(held, claim) == "put", "with more memory it goes on"
    finally:
        larger.stop()
        larger.embedded.remove_runtime()


WAITS = (
    NO_SLAB
    + """
tubes.renew(1, 60, nil, {})
take_all_slabs()
local before = tubes.memory().full
local verdict = tubes.page_put(1, 7, 0, 0, {}, 0, {}, {}, {}, 1, 1)
print(json.encode({before, verdict, tubes.memory().full, tubes.memory().used / tubes.memory().size}))
os.exit(0)
"""
)


def test_a_page_that_waits_for_memory_is_what_people_see_as_a_full_memory(tmp_path: Path) -> None:
    """C5: a page that Tarantool itself had refused waited, while the memory was reported as not full."""
    before, verdict, full, share = run(WAITS, tmp_path)
    assert (before, verdict, full) == (False, "full", True)
    assert isinstance(share, float)
    assert share < 0.95, "by its bytes it has room"
