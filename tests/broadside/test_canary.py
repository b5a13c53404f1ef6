"""Canaries: a share first, then the rest by itself and to nobody twice, unless the share fails."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest
import trio

from actors.batcher import split
from actors.messages import Page
from actors.scheduler import Scheduler
from broadside.newsroom.guards.canary_desk import stopped_alarms
from broadside.newsroom.newsroom import Newsroom
from campaigns.batch import RECIPIENTS_A_BATCH
from campaigns.clock import wall_clock
from campaigns.guards import NO_GUARDS, Guards
from campaigns.identity import parse_campaign
from campaigns.recipient import unpack_recipients
from storage.link import Link
from tests.broadside.guard_parts import client_of, guarded
from tests.conftest import Server, linked
from tests.storage.test_walk_verbs import House, settlement

PHONES = 1000
NEWS = {"title": "t", "body": "b"}


class Birds(House):
    """A node that walks and settles; it notes who got what."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.got: Counter[int] = Counter()

    async def put(self, held: Any, claim: Any) -> str:
        campaign = await self.store.campaign_get(held.baton.campaign)
        assert campaign is not None
        parts = (await self.store.page_read(
            claim.from_id, claim.to_id, RECIPIENTS_A_BATCH, campaign=campaign.id if campaign.planned else None
        )).parts  # fmt: skip
        return await self.tubes.page_put(
            held, *split(Page(held, claim, campaign, parts), {"ios", "android"}, wall_clock())
        )

    async def send(self, refused: float = 0.0, most: int | None = None) -> None:
        """Walk all and settle it (``most``: so many batches); this share of each batch is refused."""
        while await self.walk_page() is not None:
            pass
        left = most
        for channel in ("ios", "android"):
            while left != 0 and (tasks := await self.batches(channel, 1)):
                for task in tasks:
                    who = [recipient.id for recipient in unpack_recipients(task.recipients)]
                    self.got.update(who)
                    failed = round(len(who) * refused)
                    sums = {"delivered": len(who) - failed, "rejected": failed}
                    done = settlement(task, **{word: n for word, n in sums.items() if n})
                    assert await self.tubes.settle(channel, [done]) == [True]
                    left = None if left is None else left - 1
        await self.report()


@pytest.fixture
async def birds(own_link: Link) -> Birds:
    birds = Birds(own_link)
    await birds.join()
    await birds.subscribers(PHONES)
    return birds


def room(link: Link, guards: Guards = NO_GUARDS) -> Newsroom:
    return guarded(link, guards, wall_clock)


async def fire(api: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.post("/v1/campaigns", json={"message": NEWS, "canary": 0.2, **more})).json()
    return found


async def one(api: httpx.AsyncClient, id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/v1/campaigns/{id}")).json()
    return found


def node(newsroom: Newsroom, birds: Birds) -> Scheduler:
    return Scheduler(store=birds.store, start=newsroom.start, canaries=newsroom.canaries.look)


async def test_the_rest_follows_by_itself_and_everybody_gets_it_once(own_link: Link, birds: Birds) -> None:
    newsroom = room(own_link)
    async with client_of(own_link, newsroom) as api:
        first = await fire(api, ttl_seconds=600)
        assert (first["state"], first["canary"]["state"], first["canary"]["share"]) == ("firing", "open", 0.2)
        assert 120 < sum(each["audience"] for each in first["channels"].values()) < 280
        await node(newsroom, birds).look()
        assert (await one(api, first["id"]))["canary"]["state"] == "open", "nobody has an answer yet"
        await birds.send()
        share = set(birds.got)
        assert 120 < len(share) < 280
        await node(newsroom, birds).look()
        found = (await one(api, first["id"]))["canary"]
        assert found["state"] == "on"
        await node(newsroom, birds).look()
        rest = await one(api, found["rest"])
        assert (rest["state"], rest["canary_of"], rest["canary"]) == ("firing", first["id"], None)
        assert rest["conditions"]["share"] == {"share": 0.2, "salt": first["id"], "rest": True}
        await birds.send()
        assert (await one(api, found["rest"]))["state"] == "done"
    assert set(birds.got) - share == set(range(1, PHONES + 1)) - share
    assert set(birds.got.values()) == {1}, "nobody twice"
    assert len(birds.got) == PHONES, "and everybody"


async def test_it_stops_by_itself_when_the_share_fails_and_an_editor_may_let_it_go(
    own_link: Link, birds: Birds
) -> None:
    newsroom = room(own_link)
    async with client_of(own_link, newsroom) as api:
        first = await fire(api, canary_limit=0.3)
        await birds.send(refused=0.5, most=1)
        await node(newsroom, birds).look()
        report = await one(api, first["id"])
        assert (report["canary"]["state"], report["canary"]["rest"]) == ("stopped", None)
        assert "failed" in report["canary"]["why"]
        assert report["state"] == "pausing", "what is left of the share waits, too"
        scheduler = node(newsroom, birds)
        await scheduler.look()
        (alarm,) = stopped_alarms(scheduler.stopped)
        assert first["id"] in alarm.text
        assert report["canary"]["why"] in alarm.text
        assert len((await api.get("/v1/campaigns")).json()["items"]) == 1
        rest = (await api.post(f"/v1/campaigns/{first['id']}/rest")).json()
        assert rest["canary_of"] == first["id"]
        again = (await api.post(f"/v1/campaigns/{first['id']}/rest")).json()
        assert again["id"] == rest["id"], "once"
        report = await one(api, first["id"])
        assert (report["state"], report["canary"]["state"]) == ("firing", "on")
        assert report["canary"]["why"] == "an editor has let it go"
        await scheduler.look()
        assert scheduler.stopped == []
        await node(newsroom, birds).look()
        await birds.send()
        assert {(await one(api, id))["state"] for id in (first["id"], rest["id"])} == {"done"}
        entries = (await api.get("/v1/audit")).json()["entries"]
        assert [entry["action"].rpartition("/")[2] for entry in entries] == ["rest", "rest", "campaigns"]
    assert len(birds.got) == PHONES
    assert set(birds.got.values()) == {1}


async def test_a_few_failures_do_not_stop_it(own_link: Link, birds: Birds) -> None:
    newsroom = room(own_link)
    async with client_of(own_link, newsroom) as api:
        first = await fire(api)
        await birds.send(refused=0.05)
        await node(newsroom, birds).look()
        assert (await one(api, first["id"]))["canary"]["state"] == "on"


async def test_one_channel_that_fails_stops_it_though_the_others_are_well(own_link: Link, birds: Birds) -> None:
    newsroom = room(own_link)
    async with client_of(own_link, newsroom) as api:
        first = await fire(api, canary_limit=0.6)
        while await birds.walk_page() is not None:
            pass
        for channel, word in (("ios", "delivered"), ("android", "rejected")):
            for task in await birds.batches(channel):
                count = len(unpack_recipients(task.recipients))
                assert await birds.tubes.settle(channel, [settlement(task, **{word: count})]) == [True]
        await birds.report()
        await node(newsroom, birds).look()
        found = (await one(api, first["id"]))["canary"]
        assert found["state"] == "stopped"
        assert found["why"].startswith("android: ")


async def test_of_many_nodes_that_see_the_end_of_the_share_one_sends_the_rest(
    own_tarantool: Server, own_link: Link, birds: Birds
) -> None:
    async with linked(own_tarantool) as other, client_of(own_link, room(own_link)) as api:
        first = await fire(api)
        await birds.send()
        nodes = [room(link) for link in (own_link, other) * 4]
        async with trio.open_nursery() as nursery:
            for newsroom in nodes:
                nursery.start_soon(newsroom.canaries.look)
        rest = parse_campaign((await one(api, first["id"]))["canary"]["rest"])
        assert len(await birds.store.campaign_list()) == 2
        async with trio.open_nursery() as nursery:
            for newsroom in nodes:
                nursery.start_soon(newsroom.start, rest)
        await birds.send()
    assert len(birds.got) == PHONES
    assert set(birds.got.values()) == {1}


@pytest.mark.parametrize("when", ["while the share is under way", "when it has it", "when the rest is made"])
async def test_the_rest_follows_whenever_the_node_that_fired_dies(
    own_tarantool: Server, own_link: Link, birds: Birds, when: str
) -> None:
    async with linked(own_tarantool) as dies, client_of(dies, room(dies)) as api:
        first = await fire(api)
        if when != "while the share is under way":
            await birds.send()
        if when == "when the rest is made":
            await room(dies).canaries.look()
    await birds.send()
    newsroom = room(own_link)
    for _ in range(2):
        await node(newsroom, birds).look()
    await birds.send()
    async with client_of(own_link, newsroom) as api:
        assert (await one(api, first["id"]))["canary"]["state"] == "on"
    assert len(birds.got) == PHONES
    assert set(birds.got.values()) == {1}


async def test_a_share_that_is_cancelled_takes_its_rest_along(own_link: Link, birds: Birds) -> None:
    newsroom = room(own_link)
    async with client_of(own_link, newsroom) as api:
        first = await fire(api)
        await api.post(f"/v1/campaigns/{first['id']}/cancel")
        refused = await api.post(f"/v1/campaigns/{first['id']}/rest")
        assert (refused.status_code, refused.json()["status"]) == (409, 409)
        for _ in range(20):
            await birds.store.node_renew(
                "n1", birds.epoch, wall_clock(), [(parse_campaign(first["id"]), n) for n in range(9)]
            )
        await node(newsroom, birds).look()
        report = await one(api, first["id"])
        assert (report["state"], report["canary"]["state"]) == ("cancelled", "stopped")
        assert len((await api.get("/v1/campaigns")).json()["items"]) == 1


async def test_a_list_of_people_is_shared_too(own_link: Link, birds: Birds) -> None:
    newsroom = room(own_link)
    people = list(range(1, 201))
    async with client_of(own_link, newsroom) as api:
        await fire(api, audience={"subscribers": people}, canary=0.5)
        await birds.send()
        for _ in range(2):
            await node(newsroom, birds).look()
        assert 50 < len(birds.got) < 150
        await birds.send()
    assert sorted(birds.got) == people
    assert set(birds.got.values()) == {1}


async def test_the_approval_is_for_the_whole_audience(own_link: Link, birds: Birds) -> None:
    async with client_of(own_link, room(own_link, Guards(repeat=0, approval_above=PHONES - 1))) as api:
        assert (await fire(api))["confirm"] == "unapproved"
        armed = await fire(api, arm=True)
        assert armed["approval"]["phones"] == PHONES
        fired = (await api.post(f"/v1/campaigns/{armed['id']}/fire", json={"unapproved": True})).json()
        assert (fired["state"], fired["canary"]["state"]) == ("firing", "open")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"audience": {"share": 0.1}}, "canary"),
        ({"when": "best"}, "canary"),
        ({"canary": 0}, "canary"),
        ({"canary": 0.9}, "canary"),
        ({"canary_limit": 2}, "canary_limit"),
    ],
)
async def test_what_cannot_be_meant_is_refused(own_link: Link, birds: Birds, more: dict[str, Any], field: str) -> None:
    async with client_of(own_link, room(own_link)) as api:
        problem = await fire(api, **more)
        assert (problem["status"], problem["field"]) == (400, field)
        refused = await api.post("/v1/campaigns", json={"message": NEWS, "canary_limit": 0.5})
        assert (refused.status_code, refused.json()["field"]) == (400, "canary_limit")
        plain = (await api.post("/v1/campaigns", json={"message": NEWS})).json()
        assert (await api.post(f"/v1/campaigns/{plain['id']}/rest")).status_code == 409
