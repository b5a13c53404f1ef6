"""A paced campaign at a real queue and store: its batches go out at its rate, and never before the rate is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from campaigns.baton import Baton
from campaigns.herd import HERD, START, Herd
from campaigns.message import Message
from storage.link import Link
from storage.records import Lease, Task
from tests.conftest import Server, linked
from tests.storage.test_walk_verbs import BOTH, CAMPAIGN, NOW, House, settlement

pytestmark = pytest.mark.tarantool

PEOPLE = 1000


class Paced(House):
    """A node with a paced campaign."""

    async def fire_paced(self, herd: dict[str, Any], now: int = NOW) -> list[Baton]:
        policy = {"page_size": 200, "ttl_ms": 40_000_000_000, HERD: herd}
        await self.store.campaign_create(CAMPAIGN, Message(title="t", body="b"), None, policy, now)
        batons = await self.store.campaign_fire(CAMPAIGN, 1, now)
        assert batons
        await self.tubes.baton_put(batons)
        while await self.walk_page() is not None:
            pass
        return batons

    async def sent(self, seconds: float) -> int:
        """Deliver what comes out within ``seconds``; returns how many people."""
        people = 0

        async def send(channel: str) -> None:
            nonlocal people
            while True:
                for taken in await self.tubes.batch_take(channel, 1):
                    task = Task.of(*taken)
                    people += task.size
                    with trio.CancelScope(shield=True):  # what is taken is settled: its lease would keep it for long
                        await self.tubes.settle(channel, [settlement(task, delivered=task.size)])

        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for channel in BOTH:
                    nursery.start_soon(send, channel)
        return people


@pytest.fixture
async def house(own_link: Link) -> Paced:
    house = Paced(own_link)
    await house.join()
    await house.subscribers(PEOPLE)
    return house


async def test_nothing_of_it_goes_out_before_its_rate_is_known(house: Paced) -> None:
    await house.fire_paced({"rate": 200.0, "ramp": 0.0, "governed": False})
    assert await house.sent(0.6) == 0, "nobody has said how fast"
    ((campaign, _),) = await house.tubes.paced()
    assert campaign == CAMPAIGN


async def test_it_goes_out_at_its_rate_whatever_the_tubes_hold_and_ends(house: Paced) -> None:
    await house.fire_paced({"rate": 200.0, "ramp": 0.0, "governed": False})
    await house.tubes.pace([(CAMPAIGN, 200.0)])
    began = time.monotonic()
    people = await house.sent(2.0)
    seconds = time.monotonic() - began
    assert 0.7 * 200 * seconds < people < 200 * (seconds + 0.25) + 20, (people, seconds)
    await house.tubes.pace([(CAMPAIGN, 50.0)])
    assert 40 < await house.sent(2.0) < 50 * 2.3 + 70, "it is slower now"
    with trio.fail_after(40):
        while await house.state() != "done":
            await house.tubes.pace([(CAMPAIGN, 1e6)])
            await house.sent(0.2)
            await house.report()


async def test_a_rate_that_is_not_said_again_is_over(house: Paced) -> None:
    """Careful: who is told nothing more, as the store is away, sends nothing more of it."""
    lua = (Path(__file__).parents[2] / "storage/lua/roles/tubes/paced_campaigns.lua").read_text(encoding="utf-8")
    assert "local VALID = 10 -- seconds" in lua, "as long as a lease (storage/lua/roles/store/nodes.lua)"
    await house.fire_paced({"rate": 100.0, "ramp": 0.0, "governed": False})
    await house.tubes.pace([(CAMPAIGN, 100.0)])
    await trio.sleep(10.3)
    first = await house.sent(1.0)
    assert first <= 100 * 0.25 + 10, "what the bucket had, and no more"
    assert await house.sent(0.5) == 0


async def test_a_restarted_queue_waits_for_the_rate_again(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        house = Paced(link)
        await house.join()
        await house.subscribers(PEOPLE)
        await house.fire_paced({"rate": 200.0, "ramp": 0.0, "governed": False})
        await house.tubes.pace([(CAMPAIGN, 200.0)])
        before = await house.sent(0.5)
        assert 0 < before < PEOPLE / 2
    own_tarantool.kill()
    own_tarantool.start()
    async with linked(own_tarantool) as link:
        house = Paced(link)
        await house.join()
        await house.tubes.renew(house.epoch, Lease(30.0, []))
        assert await house.sent(0.5) == 0
        await house.tubes.pace([(CAMPAIGN, 1e6)])
        rest = 0
        for _ in range(10):
            rest += await house.sent(0.5)
            await house.report()
            if await house.state() == "done":
                break
        assert before + rest >= PEOPLE, "nobody is lost"
        assert await house.state() == "done"


async def test_a_paused_and_a_cancelled_campaign_are_not_brought_back(house: Paced) -> None:
    await house.fire_paced({"rate": 100.0, "ramp": 0.0, "governed": False})
    assert await house.sent(0.3) == 0
    await house.store.campaign_pause(CAMPAIGN, NOW)

    async def beat() -> None:
        standing = await house.tubes.standing()
        lease = await house.store.node_renew("n1", house.epoch, NOW, standing.still)
        assert lease is not None
        await house.tubes.renew(house.epoch, lease, standing.asked)

    for _ in range(10):
        await house.report()
        await beat()
    assert await house.state() == "paused"
    await house.tubes.pace([(CAMPAIGN, 1e6)])
    assert await house.sent(0.5) == 0
    await house.store.campaign_resume(CAMPAIGN, NOW)
    await beat()
    await house.tubes.pace([(CAMPAIGN, 1e6)])
    assert await house.sent(1.0) > 0, "it goes on"
    await house.store.campaign_cancel(CAMPAIGN, NOW)
    for _ in range(10):
        await house.report()
        await beat()
        await trio.sleep(0.05)
    assert await house.state() == "cancelled"
    assert await house.tubes.statistics() is not None
    assert (await house.tubes.statistics())["parked"] == 0


async def test_nodes_share_the_rate_by_what_waits_on_them_and_never_have_more(house: Paced) -> None:
    await house.store.node_join("n2", "another-queue", 0, NOW, BOTH)
    await house.fire_paced({"rate": 1000.0, "ramp": 0.0, "governed": False})
    herd = house.store.herd
    assert await herd.rates("n1", [(CAMPAIGN, 0)], NOW) == [(CAMPAIGN, 500.0)], "nobody knows more: halves"
    await herd.rates("n2", [(CAMPAIGN, 10)], NOW)
    ((_, one),) = await herd.rates("n1", [(CAMPAIGN, 30)], NOW)
    ((_, two),) = await herd.rates("n2", [(CAMPAIGN, 10)], NOW)
    assert (round(one), round(two)) == (725, 275)
    ((_, one),) = await herd.rates("n1", [(CAMPAIGN, 30)], NOW)
    ((_, two),) = await herd.rates("n2", [(CAMPAIGN, 0)], NOW)
    assert two == 50, "a node on which nothing waits yet keeps a little"
    await house.store.campaign_cancel(CAMPAIGN, NOW)
    assert await herd.rates("n3", [(CAMPAIGN + 99, 1)], NOW) == [(CAMPAIGN + 99, -1.0)], "of no such campaign"


async def test_the_ramp_rises_from_the_start_and_a_governed_one_has_a_small_share_while_nobody_governs(
    house: Paced,
) -> None:
    await house.fire_paced({"rate": 1000.0, "ramp": 10.0, "governed": True})
    herd = house.store.herd

    async def rate(ms: int) -> float:
        ((_, found),) = await herd.rates("n1", [(CAMPAIGN, 1)], NOW + ms)
        return found

    assert (await herd.state()).governed == [CAMPAIGN]
    assert await rate(0) == pytest.approx(1000 * START * 0.1), "nobody governs: a tenth"
    await herd.steer(1.0, "")
    assert await rate(0) == pytest.approx(1000 * START)
    assert await rate(5000) == pytest.approx(1000 * (START + (1 - START) / 2))
    assert await rate(20_000) == pytest.approx(1000)
    await herd.steer(0.25, '{"load": 0.9}')
    assert await rate(20_000) == pytest.approx(250)
    await herd.note_load(0.4)
    state = await herd.state()
    assert (state.posted, state.share, state.text) == (0.4, 0.25, '{"load": 0.9}')
    assert state.posted_age < 5


async def test_one_node_has_a_duty_until_it_is_silent(house: Paced) -> None:
    herd = house.store.herd
    assert await herd.take_duty("herd", "n1")
    assert not await herd.take_duty("herd", "n2")
    assert await herd.take_duty("herd", "n1")
    assert await herd.take_duty("webhooks", "n2"), "another duty"
    await trio.sleep(10.5)
    assert await herd.take_duty("herd", "n2"), "n1 has been silent for more than ten seconds"
    assert not await herd.take_duty("herd", "n1")


def test_the_store_says_the_same_shares_as_the_rules() -> None:
    lua = (Path(__file__).parents[2] / "storage/lua/roles/store/herd.lua").read_text(encoding="utf-8")
    from campaigns import herd

    assert f"local START, SILENT = {herd.START}, {herd.SILENT} " in lua
    assert set(Herd.__struct_fields__) == {"rate", "ramp", "governed"}
