"""Scheduled campaigns at the store: one start, whoever asks, by one clock; and none once they have expired."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from campaigns.campaign import Campaign
from campaigns.message import Message
from storage.link import Link
from storage.store import Store
from tests.conftest import Server, linked
from tests.storage.test_step_sizes import HEAD, run
from tests.storage.test_walk_verbs import CAMPAIGN, House

pytestmark = pytest.mark.tarantool
HOUR = 3_600_000


def wall() -> int:
    """The clock of the store, which runs on this machine."""
    return time.time_ns() // 1_000_000


@pytest.fixture
async def house(own_link: Link) -> House:
    house = House(own_link)
    await house.join()
    await house.subscribers(100)
    return house


async def schedule(store: Store, start: int, ttl: int = HOUR, id: int = CAMPAIGN) -> dict[str, Any]:
    policy = {"page_size": 10, "ttl_ms": ttl, "start": start, "expires_at": start + ttl}
    await store.campaign_create(id, Message(title="t", body="b"), None, policy, wall())
    assert await store.campaign_fire(id, 2, wall()) == [], "it has no batons before it starts"
    return policy


async def campaign(store: Store, id: int = CAMPAIGN) -> Campaign:
    found = await store.campaign_get(id)
    assert found is not None
    return found


async def test_a_campaign_with_a_start_is_scheduled_and_enqueues_nobody(house: House) -> None:
    start = wall() + HOUR
    policy = await schedule(house.store, start)
    due = await house.store.campaigns_due()
    assert due.campaigns == []
    assert due.wait is not None
    assert HOUR / 1000 - 60 < due.wait <= HOUR / 1000
    assert await house.store.campaign_start(CAMPAIGN, 2, None, policy) == ("scheduled", []), "it is too early"
    found = await campaign(house.store)
    assert (found.state, found.start, found.fired_at, found.tallies) == ("scheduled", start, None, {})
    assert await house.store.campaign_cursors(CAMPAIGN) == []


async def test_of_two_nodes_that_start_it_at_once_one_gets_the_batons(
    house: House, own_tarantool: Server, own_link: Link
) -> None:
    policy = await schedule(house.store, wall() - 10)
    answers = []

    async def start(store: Store) -> None:
        answers.append(await store.campaign_start(CAMPAIGN, 2, None, policy))

    async with linked(own_tarantool) as other, trio.open_nursery() as nursery:
        for link in (own_link, other) * 5:
            nursery.start_soon(start, Store(link))
    assert {state for state, _ in filter(None, answers)} == {"firing"}
    assert sorted(len(batons) for _, batons in filter(None, answers)) == [0] * 9 + [2]
    assert len(await house.store.campaign_cursors(CAMPAIGN)) == 2
    assert await house.store.campaign_fire(CAMPAIGN, 2, wall()) == [], "nor does another Fire begin a second walk"


async def test_a_start_whose_batons_were_lost_is_walked_all_the_same_and_once(house: House) -> None:
    """The node that has started it dies before it puts the batons."""
    policy = await schedule(house.store, wall() - 10)
    assert len((await house.store.campaign_start(CAMPAIGN, 2, None, policy) or ("", []))[1]) == 2
    assert await house.store.campaign_start(CAMPAIGN, 2, None, policy) == ("firing", [])
    lost, _ = await house.store.strays("n1", house.epoch, wall() + 10_000, 5000)
    assert len(lost) == 2, "the shepherd makes them again"
    await house.tubes.baton_put(lost)
    while await house.walk_page() is not None:
        pass
    assert await house.deliver("ios") + await house.deliver("android") == 100
    await house.report()
    assert await house.state() == "done"


async def test_the_audience_and_the_policy_are_those_of_the_start(house: House) -> None:
    policy = await schedule(house.store, wall() - 10)
    with_more = policy | {"left_out": {"android": "why"}, "start": 1, "expires_at": 2}
    assert await house.store.campaign_start(CAMPAIGN, 2, ["ios"], with_more) is not None
    found = await campaign(house.store)
    assert found.audience == ["ios"]
    assert found.policy["left_out"] == {"android": "why"}
    assert (found.policy["start"], found.policy["expires_at"]) == (policy["start"], policy["expires_at"])
    assert {name: sums["audience"] for name, sums in found.tallies.items()} == {"ios": 50}


async def test_a_campaign_that_starts_late_expires_at_its_time(house: House) -> None:
    policy = await schedule(house.store, wall() - HOUR, 2 * HOUR)
    assert await house.store.campaign_start(CAMPAIGN, 2, None, policy) is not None
    found = await campaign(house.store)
    assert found.fired_at is not None
    assert found.fired_at - policy["start"] >= HOUR, "late by an hour"
    assert found.expires_at == policy["start"] + 2 * HOUR


async def test_a_campaign_that_has_expired_is_missed_and_reported_for_a_day(house: House) -> None:
    policy = await schedule(house.store, wall() - 2 * HOUR, HOUR)
    assert (await house.store.campaigns_due()).campaigns == [CAMPAIGN]
    assert await house.store.campaign_start(CAMPAIGN, 2, None, policy) == ("missed", [])
    assert await house.store.campaign_start(CAMPAIGN, 2, None, policy) == ("missed", [])
    due = await house.store.campaigns_due()
    assert (due.campaigns, due.missed) == ([], [(CAMPAIGN, policy["start"], "")])
    assert await house.store.campaign_cursors(CAMPAIGN) == []
    assert await house.store.campaigns_over([CAMPAIGN], wall() + HOUR, 1000) == [CAMPAIGN]


async def test_a_campaign_that_no_node_can_walk_is_missed_with_the_reason(house: House) -> None:
    policy = await schedule(house.store, wall() - 10)
    assert await house.store.campaign_start(CAMPAIGN, 2, ["ios", "gone"], policy) == ("missed", [])
    assert [why for _, _, why in (await house.store.campaigns_due()).missed] == ["no node serves gone: 0 phones"]


async def test_only_a_campaign_that_is_due_can_be_missed(house: House) -> None:
    await schedule(house.store, wall() + HOUR)
    assert await house.store.campaign_miss(CAMPAIGN, "its title is too long") == "scheduled"
    await schedule(house.store, wall() - 10, id=CAMPAIGN + 1)
    assert await house.store.campaign_miss(CAMPAIGN + 1, "its title is too long") == "missed"
    assert (await campaign(house.store, CAMPAIGN + 1)).policy["missed"] == "its title is too long"
    assert await house.store.campaign_miss(CAMPAIGN + 2, "") is None


async def test_a_cancelled_campaign_does_not_start_and_a_started_one_is_cancelled_as_any_other(house: House) -> None:
    policy = await schedule(house.store, wall() - 10)
    assert await house.store.campaign_cancel(CAMPAIGN, wall()) == "cancelled"
    assert await house.store.campaign_start(CAMPAIGN, 2, None, policy) == ("cancelled", [])
    assert await house.store.campaign_cursors(CAMPAIGN) == []
    policy = await schedule(house.store, wall() - 10, id=CAMPAIGN + 1)
    assert await house.store.campaign_start(CAMPAIGN + 1, 2, None, policy) is not None
    assert await house.store.campaign_cancel(CAMPAIGN + 1, wall()) == "cancelling"


async def test_a_schedule_outlives_a_kill_of_the_store(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        house = House(link)
        await house.join()
        await house.subscribers(10)
        policy = await schedule(house.store, wall() - 10)
    own_tarantool.kill()
    own_tarantool.start()
    async with linked(own_tarantool) as link:
        store = Store(link)
        assert (await store.campaigns_due()).campaigns == [CAMPAIGN]
        assert (await store.campaign_start(CAMPAIGN, 1, None, policy) or ("", []))[0] == "firing"
    own_tarantool.kill()
    own_tarantool.start()
    async with linked(own_tarantool) as link:
        assert await Store(link).campaign_start(CAMPAIGN, 1, None, policy) == ("firing", [])
        assert len(await Store(link).campaign_cursors(CAMPAIGN)) == 1


CLOCK = (
    HEAD
    + """
local fiber = require('fiber')
local at = NOW
fiber.time = function()
    return at / 1000
end
local HOUR = 3600 * 1000
local said = {}
local function look(now, id)
    at = now
    local due = store.campaigns_due()
    local state = store.campaign_start(id, 1, EMPTY, {ttl_ms = HOUR})
    table.insert(said, {#due, state})
end
for id = 1, 2 do
    store.campaign_create(id, '{}', EMPTY, {ttl_ms = HOUR, start = NOW, expires_at = NOW + HOUR}, NOW)
    store.campaign_fire(id, 1, NOW)
end
look(NOW - 10 * 60000, 1)             -- ten minutes before its time
look(NOW - 70 * 60000, 1)             -- the clock is set back by an hour: it waits
look(NOW + 50 * 60000, 1)             -- the clock is set forward: it starts (and is done: nobody is in the base)
look(NOW - 10 * 60000, 1)             -- the clock is set back again: it has started, and does not start again
look(NOW + HOUR, 2)                   -- set forward over its end: missed
look(NOW, 2)                          -- set back: missed it stays
print(json.encode(said))
os.exit(0)
"""
)


def test_a_clock_that_is_set_makes_no_second_start(tmp_path: Path) -> None:
    """By the store's clock alone: the nodes' clocks are not asked."""
    assert run(CLOCK, tmp_path) == [
        [0, "scheduled"], [0, "scheduled"], [2, "done"], [0, "done"], [1, "missed"], [0, "missed"],
    ]  # fmt: skip


HOLDS = (
    HEAD
    + """
local DAY = 86400 * 1000
local WHEN = {ttl_ms = DAY, start = NOW - 1, expires_at = NOW + DAY}
store.node_join('n', box.info.uuid, 0, NOW, {'ios'})
-- scheduled a year ago, started an hour ago, and cancelled: a queue that was away may still have batches of it
box.space.store_campaigns:insert({7, 3, 'cancelled', '{}', EMPTY, WHEN, NOW - 366 * DAY, NOW - 3600000, NOW, 0, 0})
-- cancelled before it started: nobody was enqueued
box.space.store_campaigns:insert({8, 3, 'cancelled', '{}', EMPTY, WHEN, NOW - DAY, 0, NOW, 0, 0})
local _, paused = store.node_renew('n', store.node_join('n', box.info.uuid, 1, NOW, {'ios'}), NOW, {}, {})
local ids = {}
for _, each in ipairs(paused) do
    table.insert(ids, each[1])
end
print(json.encode(ids))
os.exit(0)
"""
)


def test_a_cancelled_campaign_is_purged_until_it_expires_however_long_ago_it_was_scheduled(tmp_path: Path) -> None:
    assert run(HOLDS, tmp_path) == [7]
