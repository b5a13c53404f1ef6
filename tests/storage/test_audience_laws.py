"""Each row of a page is enqueued or skipped: at the store, against a real Tarantool (21.1)."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

from actors.batcher import split
from actors.messages import Page
from broadside.newsroom.coverage import coverage, verify
from broadside.newsroom.reports import report
from campaigns.batch import RECIPIENTS_A_BATCH
from campaigns.campaign import Campaign
from campaigns.message import Message
from campaigns.recipient import pack_recipients, unpack_recipients
from campaigns.where import Share, Where
from storage.link import Link
from storage.records import Remainder
from tests.storage.test_pause_and_forget import Ring
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, settlement

pytestmark = pytest.mark.tarantool


class Choosing(Ring):
    """A node that walks a campaign with an audience."""

    async def base(self, rows: int) -> None:
        """Half on ios; every third in DE, the others in FR; every fifth has the tag ``sport``."""
        await self.store.subscribers_put([self.row(n) for n in range(1, rows + 1)])

    def row(self, n: int, **other: Any) -> tuple[Any, ...]:
        row = {
            "channel": "ios" if n % 2 else "android", "token": f"token-{n}", "kind": "token", "at": NOW - 1000,
            "locale": "de", "tz": "UTC", "country": "FR" if n % 3 else "DE", "version": f"4.{n}", "screen": "",
            "minute": None, "tags": [] if n % 5 else ["news", "sport"], "fields": {},
        }  # fmt: skip
        return tuple((row | other).values())

    async def aim(self, where: Where, page_size: int = 100, listed: list[int] | None = None) -> None:
        policy = {"page_size": page_size, "ttl_ms": 3_600_000}
        message = Message(title="t", body="b")
        await self.store.campaign_create(
            CAMPAIGN, message, None, policy, NOW, where=where.plain(), listed=listed, estimate={"ios": 7}
        )
        batons = await self.store.campaign_fire(CAMPAIGN, 1, NOW)
        await self.tubes.baton_put(batons or [])

    async def put(self, held: Any, claim: Any) -> str:
        campaign = await self.known()
        rows = await self.store.page_read(
            claim.from_id, claim.to_id, RECIPIENTS_A_BATCH, campaign=campaign.id, ended=claim.ended
        )
        parts = split(Page(held, claim, campaign, *rows), {"ios", "android"}, NOW)
        return await self.tubes.page_put(held, *parts)

    async def known(self) -> Campaign:
        campaign = await self.store.campaign_get(CAMPAIGN)
        assert campaign is not None
        return campaign

    async def sums_of(self, channel: str) -> dict[str, int]:
        return {word: n for word, n in (await self.tallies())[channel].items() if n}

    async def finish(self) -> None:
        while await self.walk_page() is not None:
            pass
        await self.deliver("ios")
        await self.deliver("android")
        await self.report()

    async def lose_its_queue(self) -> None:
        """The node comes back with an empty queue, and walks its open pages again."""
        assert await self.store.node_forget("n1") == "fenced"
        await self.tubes.adopt(self.epoch + 7)
        await self.join_again()
        again, _ = await self.store.strays("n1", self.epoch, NOW, 10**6)
        await self.tubes.baton_put(again)

    async def join_again(self) -> None:
        with trio.fail_after(60):
            while True:
                uuid, held, _ = await self.tubes.epoch()
                granted = await self.store.node_join("n1", uuid, held, NOW, ["android", "ios"])
                if granted is not None:
                    break
                await trio.sleep(0.2)
        await self.join()


GERMANS = Where(countries=["DE"])


@pytest.fixture
async def ring(own_link: Link) -> Choosing:
    ring = Choosing(own_link)
    await ring.join()
    await ring.beat()
    return ring


async def test_enqueued_and_skipped_make_up_the_rows_of_every_page_and_channel(ring: Choosing) -> None:
    """21.1"""
    await ring.base(450)
    await ring.aim(GERMANS)
    await ring.finish()
    assert await ring.state() == "done"
    assert await ring.sums_of("ios") == {"rows": 225, "enqueued": 75, "skipped": 150, "delivered": 75}
    for page in await ring.store.campaign_pages(CAMPAIGN):
        for channel, rows in (await ring.store.subscribers_in(page.from_id, page.to_id)).items():
            tally = page.tallies[channel]
            assert tally["enqueued"] + tally["skipped"] == rows
    walked = (await coverage(ring.store, await ring.known())).walked
    assert [(each.channel, each.recipients, each.skipped) for each in walked] == [
        ("android", 75, 150),
        ("ios", 75, 150),
    ]
    found = await verify(ring.store, await ring.known())
    assert (found.ok, found.problems) == (True, [])
    assert (found.channels["ios"].enqueued, found.channels["ios"].skipped) == (75, 150)


async def test_a_page_without_anybody_of_the_audience_ends_at_once(ring: Choosing) -> None:
    """21.1"""
    await ring.base(200)
    await ring.aim(Where(countries=["JP"]))
    await ring.walk_page()
    await ring.walk_page()
    assert await ring.on_tubes() == 0
    await ring.report()
    assert {page.state for page in await ring.store.campaign_pages(CAMPAIGN)} == {"settled"}
    assert await ring.state() == "done"
    assert await ring.sums_of("android") == {"rows": 100, "skipped": 100}
    assert (await verify(ring.store, await ring.known())).ok


async def test_a_page_that_is_put_again_replaces_its_skipped_and_counts_nobody_twice(ring: Choosing) -> None:
    """21.1: who was settled, and has left the audience since, is neither skipped nor enqueued again."""
    await ring.base(60)
    await ring.aim(GERMANS)
    await ring.walk_page()
    await ring.report()
    assert await ring.sums_of("ios") == {"rows": 30, "enqueued": 10, "skipped": 20}
    (task,) = await ring.batches("ios")
    recipients = unpack_recipients(task.recipients)
    settled, rest = recipients[:4], recipients[4:]
    back = [Remainder(60.0, 2, len(rest), pack_recipients(rest))]
    assert await ring.tubes.settle("ios", [settlement(task, delivered=4, retried=6, remainders=back)]) == [True]
    await ring.report()
    gone = [settled[0].id, rest[0].id]  # both move to France; and a Frenchman of the page moves to Germany
    await ring.store.subscribers_put([ring.row(n, country="FR") for n in gone] + [ring.row(1, country="DE")])
    await ring.lose_its_queue()
    while await ring.walk_page() is not None:
        pass
    await ring.report()
    assert await ring.sums_of("ios") == {"rows": 30, "enqueued": 10, "skipped": 20} | {
        "delivered": 4, "retried": 6, "unsure": 6  # whatever was lost with the queue
    }  # fmt: skip
    await ring.finish()
    assert await ring.state() == "done"
    assert await ring.sums_of("ios") == {"rows": 30, "enqueued": 10, "skipped": 20, "delivered": 10, "retried": 6}
    found = await verify(ring.store, await ring.known())
    assert (found.ok, found.problems) == (True, [])


async def test_cancel_cancels_whom_the_walk_had_enqueued_and_tells_the_rest_in_rows(ring: Choosing) -> None:
    """21.1"""
    await ring.base(300)
    await ring.aim(GERMANS)
    await ring.walk_page()
    (task,) = await ring.batches("ios")
    assert await ring.tubes.settle("ios", [settlement(task, delivered=task.size)]) == [True]
    assert await ring.store.campaign_cancel(CAMPAIGN, NOW) == "cancelling"
    await ring.settle_down()
    assert await ring.state() == "cancelled"
    assert await ring.sums_of("ios") == {"rows": 150, "enqueued": 17, "skipped": 33, "delivered": 17, "unwalked": 100}
    assert await ring.sums_of("android") == {
        "rows": 150, "enqueued": 16, "skipped": 34, "cancelled": 16, "unwalked": 100
    }  # fmt: skip
    told = report(await ring.known(), NOW, ()).channels["android"]
    assert (told.audience, told.cancelled, told.remaining, told.unwalked) == (16, 16, 0, 100)
    assert (await verify(ring.store, await ring.known())).ok


async def test_until_the_walk_is_over_the_audience_is_the_estimate_and_then_the_ledgers_sum(ring: Choosing) -> None:
    """21.1"""
    await ring.base(150)
    await ring.aim(GERMANS)
    told = report(await ring.known(), NOW, ()).channels["ios"]
    assert (told.audience, told.remaining) == (7, 7)
    await ring.walk_page()
    await ring.report()
    assert report(await ring.known(), NOW, ()).channels["ios"].audience == 17
    await ring.finish()
    assert report(await ring.known(), NOW, ()).channels["ios"].audience == 25


async def test_verify_names_who_was_missed_and_who_was_reached_though_outside(ring: Choosing) -> None:
    """21.1"""
    await ring.base(90)
    await ring.aim(GERMANS)
    held = await ring.take()
    assert held is not None
    claim = await ring.store.page_claim("n1", held.epoch, held.baton, NOW)
    rows = await ring.store.page_read(claim.from_id, claim.to_id, 500, campaign=CAMPAIGN)
    wrong = Page(held, claim, await ring.known(), rows.parts[:1], dict.fromkeys(("ios", "android"), 30))
    (left_out,) = {"ios", "android"} - {rows.parts[0].channel}
    await ring.tubes.page_put(held, *split(wrong, {"ios", "android"}, NOW))
    await ring.finish()
    found = await verify(ring.store, await ring.known())
    where = "segment 0, page 0 (ids 1 to 90): 15 of the subscribers on"
    assert found.problems == [
        f"{where} {left_out} were neither enqueued nor skipped",
        f"{where} {left_out} are in the audience and were not enqueued",
    ]


async def test_who_changed_since_the_claim_explains_a_difference_and_nobody_else_does(ring: Choosing) -> None:
    """21.1"""
    await ring.base(90)
    await ring.aim(GERMANS)
    await ring.finish()
    await ring.store.subscribers_put([ring.row(n, country="DE") for n in (1, 2, 4)])
    await ring.store.subscribers_put([ring.row(n, country="FR") for n in (3, 6)])
    await ring.store.subscribers_put([ring.row(n, at=NOW) for n in range(10, 60)])  # nothing that a condition reads
    found = await verify(ring.store, await ring.known())
    assert (found.ok, found.problems) == (True, [])
    (page,) = await ring.store.campaign_pages(CAMPAIGN)
    counts = await ring.store.audience_in(CAMPAIGN, 0, 90, page.first_claimed_at)
    assert sum(rows.inside_changed for rows in counts.values()) == 3
    assert sum(rows.outside_changed for rows in counts.values()) == 2


async def test_who_leaves_the_base_afterwards_is_no_fault_of_the_walk(ring: Choosing) -> None:
    """21.1"""
    await ring.base(90)
    await ring.aim(GERMANS)
    await ring.finish()
    for n in (3, 5):  # one of the audience, one that was skipped
        assert await ring.store.subscribers_remove("ios", f"token-{n}")
    found = await verify(ring.store, await ring.known())
    assert (found.ok, found.channels["ios"].left) == (True, 2)


async def test_a_list_of_subscribers_is_looked_up_and_not_walked_for(ring: Choosing) -> None:
    """21.1"""
    await ring.base(1000)
    await ring.aim(GERMANS, listed=[3, 4, 6, 900, 998, 7777])
    await ring.finish()
    assert await ring.state() == "done"
    (page,) = await ring.store.campaign_pages(CAMPAIGN)
    assert (page.from_id, page.to_id) == (0, 1000)
    assert await ring.sums_of("android") == {"rows": 4, "enqueued": 2, "skipped": 2, "delivered": 2}
    assert await ring.sums_of("ios") == {"rows": 1, "enqueued": 1, "delivered": 1}
    found = await verify(ring.store, await ring.known())
    assert (found.ok, found.problems) == (True, [])
    assert found.channels["android"].base == 4


async def test_a_share_and_its_rest_are_everybody_and_nobody_twice(ring: Choosing) -> None:
    """21.1"""
    await ring.base(2000)
    first = await ring.store.audience_count(None, Where(share=Share(0.05, "story")).plain())
    rest = await ring.store.audience_count(None, Where(share=Share(0.05, "story", rest=True)).plain())
    for name in ("ios", "android"):
        assert first[name].inside + rest[name].inside == 1000
        assert 20 < first[name].inside < 90
    where = Where(share=Share(0.05, "story"))
    await ring.aim(where)
    await ring.finish()
    assert (await ring.sums_of("ios"))["enqueued"] == first["ios"].inside


async def test_a_campaign_that_starts_later_keeps_its_audience(ring: Choosing) -> None:
    """21.1: the node that starts it knows the channels only."""
    await ring.base(90)
    start = int(time.time() * 1000) - 1000
    policy = {"page_size": 100, "ttl_ms": 3_600_000}
    message = Message(title="t", body="b")
    later = policy | {"start": start}
    await ring.store.campaign_create(CAMPAIGN, message, None, later, NOW, where=GERMANS.plain(), estimate={"ios": 7})
    assert await ring.store.campaign_fire(CAMPAIGN, 1, NOW) == []
    started = await ring.store.campaign_start(CAMPAIGN, 1, ["ios"], policy)
    assert started is not None
    state, batons = started
    campaign = await ring.known()
    assert (state, campaign.where, campaign.estimate) == ("firing", GERMANS.plain(), {"ios": 7})
    await ring.tubes.baton_put(batons)
    await ring.finish()
    assert await ring.sums_of("ios") == {"rows": 45, "enqueued": 15, "skipped": 30, "delivered": 15}
