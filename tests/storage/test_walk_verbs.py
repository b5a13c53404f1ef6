"""The walk's clauses at the store and the queue (ARCHITECTURE, §6), one by one, against a real Tarantool."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import trio

from actors.batcher import split
from actors.messages import Page
from campaigns.batch import RECIPIENTS_A_BATCH
from campaigns.baton import Baton
from campaigns.message import Message
from campaigns.recipient import pack_recipients, unpack_recipients
from storage.errors import VerbRefused
from storage.link import Link
from storage.records import Lease, Left, Remainder, Settlement, TakenBaton, Task
from storage.store import Store
from storage.tubes import Tubes

NOW = 1_800_000_000_000
BOTH = ["android", "ios"]
CAMPAIGN = (1 << 60) + 5


PATIENCE = 0.3
"""Seconds for which a tube is asked: the queue counts them, so that on a busy machine nothing is taken for nobody."""


class House:
    """A node's hands on one instance."""

    def __init__(self, link: Link) -> None:
        self.store = Store(link)
        self.tubes = Tubes(link, "worker-1")
        self.epoch = 0

    async def join(self) -> int:
        uuid, held, _ = await self.tubes.epoch()
        granted = await self.store.node_join("n1", uuid, held, NOW, BOTH)
        assert granted is not None
        self.epoch = granted
        if self.epoch != held:
            await self.tubes.adopt(self.epoch)
        await self.tubes.renew(self.epoch, Lease(30.0, []))
        return self.epoch

    async def subscribers(self, count: int, registered_at: int = NOW - 1000) -> None:
        rows = [
            (
                "ios" if n % 2 else "android",
                f"token-{n}",
                "token",
                registered_at,
                "en",
                "UTC",
                "AT",
                "1",
                "",
                None,
                [],
                {},
            )
            for n in range(count)
        ]
        await self.store.subscribers_put(rows)

    async def fire(self, page_size: int = 100) -> list[Baton]:
        policy = {"page_size": page_size, "ttl_ms": 3_600_000}
        await self.store.campaign_create(CAMPAIGN, Message(title="t", body="b"), None, policy, NOW)
        batons = await self.store.campaign_fire(CAMPAIGN, 1, NOW)
        assert batons is not None
        await self.tubes.baton_put(batons)
        return batons

    async def walk_page(self) -> Baton | None:
        """Take a baton, walk its page, pass the next on; answers the baton that was taken."""
        held = await self.take()
        if held is None:
            return None
        claim = await self.store.page_claim("n1", held.epoch, held.baton, NOW)
        if claim.next is not None:
            await self.tubes.baton_put([claim.next])
        if claim.verdict == "claimed":
            assert await self.put(held, claim) in ("put", "marked")
        else:
            assert await self.tubes.baton_ack(held)
        return held.baton

    async def take(self) -> TakenBaton | None:
        with patch("storage.tubes.POLL", PATIENCE):
            return await self.tubes.baton_take()

    async def put(self, held: TakenBaton, claim: Any) -> str:
        campaign = await self.store.campaign_get(CAMPAIGN)
        assert campaign is not None
        read = (await self.store.page_read(claim.from_id, claim.to_id, RECIPIENTS_A_BATCH)).parts
        parts = split(Page(held, claim, campaign, read), {"ios", "android"}, NOW)
        return await self.tubes.page_put(held, *parts)

    async def batches(self, channel: str, most: int = 10) -> list[Task]:
        with patch("storage.tubes.POLL", PATIENCE):
            return [Task.of(*task) for task in await self.tubes.batch_take(channel, most)]

    async def deliver(self, channel: str) -> int:
        """Settle all that is on a channel's tube as delivered; answers the recipients."""
        total = 0
        while tasks := await self.batches(channel):
            for task in tasks:
                recipients = unpack_recipients(task.recipients)
                assert await self.tubes.settle(channel, [settlement(task, delivered=len(recipients))]) == [True]
                total += len(recipients)
        return total

    async def report(self) -> int | None:
        upto, known = None, (0, 0)
        while True:
            epoch, lines = await self.tubes.outbox_read(100, wait=False, known=known)
            if not lines:
                return upto
            upto = await self.store.report("n1", epoch, lines, NOW)
            if upto is None:
                return None
            known = (epoch, upto)

    async def tallies(self) -> dict[str, dict[str, int]]:
        campaign = await self.store.campaign_get(CAMPAIGN)
        assert campaign is not None
        return campaign.tallies

    async def state(self) -> str:
        campaign = await self.store.campaign_get(CAMPAIGN)
        assert campaign is not None
        return campaign.state


def settlement(
    task: Task,
    *,
    dead: list[tuple[int, str, int, str, str]] | None = None,
    remainders: list[Remainder] | None = None,
    **tallies: int,
) -> Settlement:
    back = {recipient.id for rest in remainders or [] for recipient in unpack_recipients(rest.recipients)}
    ended = [recipient.id for recipient in unpack_recipients(task.recipients) if recipient.id not in back]
    if task.unsure:
        tallies["unsure"] = -len(ended)
    return Settlement(task.id, task.number, tallies, {}, dead or [], ended, remainders or [], texts=task.texts)


@pytest.fixture
async def house(own_link: Link) -> House:
    house = House(own_link)
    await house.join()
    return house


async def test_a_campaign_is_walked_sent_and_done(house: House) -> None:
    await house.subscribers(250)
    await house.fire()
    while await house.walk_page() is not None:
        pass
    assert await house.deliver("ios") + await house.deliver("android") == 250
    assert await house.state() == "firing", "the ledger has not been told yet"
    await house.report()
    assert await house.state() == "done"
    tallies = await house.tallies()
    assert tallies["ios"] == {"audience": 125, "enqueued": 125, "delivered": 125}


async def test_firing_twice_makes_no_second_walk(house: House) -> None:
    await house.subscribers(10)
    await house.fire()
    assert await house.store.campaign_fire(CAMPAIGN, 1, NOW) == []


async def test_a_campaign_over_an_empty_base_is_done_at_once(house: House) -> None:
    assert await house.fire() == []
    assert await house.state() == "done"


async def test_a_base_of_exactly_full_pages_ends(house: House) -> None:
    await house.subscribers(200)
    await house.fire(page_size=100)
    walked = 0
    while await house.walk_page() is not None:
        walked += 1
    assert walked == 2
    assert await house.deliver("ios") + await house.deliver("android") == 200


async def test_the_same_owner_gets_the_same_page_again_and_a_repeated_put_is_a_no_op(house: House) -> None:
    await house.subscribers(100)
    await house.fire()
    held = await house.take()
    assert held is not None
    first = await house.store.page_claim("n1", held.epoch, held.baton, NOW)
    again = await house.store.page_claim("n1", held.epoch, held.baton, NOW)
    assert (first.verdict, first.from_id, first.to_id) == (again.verdict, again.from_id, again.to_id)
    assert await house.put(held, first) == "put"
    assert await house.put(held, again) == "marked"
    assert not await house.tubes.baton_ack(held), "the put has done it"
    assert await house.take() is None
    assert await house.deliver("ios") + await house.deliver("android") == 100


async def test_a_baton_too_many_is_stale(house: House) -> None:
    await house.subscribers(200)
    batons = await house.fire()
    await house.walk_page()
    await house.report()
    claim = await house.store.page_claim("n1", house.epoch, batons[0], NOW)
    assert claim.verdict == "stale"
    claim = await house.store.page_claim("n1", house.epoch, Baton(CAMPAIGN, 0, 1, 55), NOW)
    assert claim.verdict == "stale", "the cursor is not there"


async def test_a_claim_or_report_of_another_epoch_is_fenced(house: House) -> None:
    await house.subscribers(10)
    batons = await house.fire()
    claim = await house.store.page_claim("n1", house.epoch + 1, batons[0], NOW)
    assert claim.verdict == "fenced"
    assert await house.store.report("n1", house.epoch + 1, [], NOW) is None


async def test_nothing_is_put_or_taken_without_a_lease(house: House) -> None:
    await house.subscribers(10)
    await house.fire()
    held = await house.take()
    assert held is not None
    claim = await house.store.page_claim("n1", held.epoch, held.baton, NOW)
    await house.tubes.renew(house.epoch, Lease(0.0, []))
    assert await house.put(held, claim) == "fenced"
    await house.tubes.baton_release(held)
    assert await house.take() is None
    await house.tubes.renew(house.epoch, Lease(30.0, []))
    assert await house.take() is not None


async def test_a_second_queue_under_the_same_name_is_refused(house: House) -> None:
    with pytest.raises(VerbRefused, match='node name "n1" is taken by queue'):
        await house.store.node_join("n1", "another-uuid", 0, NOW, BOTH)


async def test_a_blank_queue_starts_in_a_new_epoch_and_its_pages_are_walked_again(house: House) -> None:
    await house.subscribers(100)
    await house.fire()
    await house.walk_page()
    await house.deliver("ios")
    await house.report()
    # the queue comes back knowing nothing: the store fences the old epoch and reopens what it had not settled
    uuid, held, _ = await house.tubes.epoch()
    epoch = await house.store.node_join("n1", uuid, 0, NOW, BOTH)
    assert epoch is not None
    assert epoch == held + 1
    await house.tubes.adopt(epoch)
    await house.tubes.renew(epoch, Lease(30.0, []))
    house.epoch = epoch
    assert await house.batches("android") == [], "the old epoch's work is purged"
    anyone, own = await house.store.strays("n1", epoch, NOW, 0)
    assert own == []
    assert len(anyone) == 1
    await house.tubes.baton_put(anyone)
    await house.walk_page()
    assert await house.deliver("ios") == 0, "what was settled is not sent again"
    assert await house.deliver("android") == 50
    await house.report()
    assert await house.state() == "done"
    assert (await house.tallies())["ios"]["delivered"] == 50


async def test_a_settlement_of_a_lost_lease_writes_nothing(house: House) -> None:
    await house.subscribers(20)
    await house.fire()
    await house.walk_page()
    (task,) = await house.batches("ios")
    await house.tubes.batch_release_worker("ios")
    assert await house.tubes.settle("ios", [settlement(task, delivered=10)]) == [False]
    (again,) = await house.batches("ios")
    assert again.number != task.number
    assert await house.tubes.settle("ios", [settlement(task, delivered=10)]) == [False], "the old take is over"
    assert await house.tubes.settle("ios", [settlement(again, delivered=10)]) == [True]
    assert await house.tubes.settle("ios", [settlement(again, delivered=10)]) == [False], "once is enough"
    await house.report()
    assert (await house.tallies())["ios"]["delivered"] == 10


async def test_a_part_is_settled_once_and_the_others_stay_taken(house: House) -> None:
    """24.1: and what comes back when the worker dies is those who are left, and nobody else."""
    await house.subscribers(20)
    await house.fire()
    await house.walk_page()
    await house.deliver("android")
    (task,) = await house.batches("ios")
    recipients = unpack_recipients(task.recipients)
    settled, late = recipients[:8], recipients[8:]
    left = Left(10, 2, pack_recipients(late))
    part = Settlement(task.id, task.number, {"delivered": 8}, {}, [], [each.id for each in settled], [], left)
    assert await house.tubes.settle("ios", [part, part]) == [True, True], "the first answer may be lost"
    assert await house.tubes.settle("ios", [part]) == [True]
    assert await house.batches("ios") == [], "the batch is still taken"
    assert (await house.tubes.statistics())["unsettled"] == 2
    await house.report()
    assert (await house.tallies())["ios"]["delivered"] == 8
    assert await house.state() == "firing"
    await house.tubes.batch_release_worker("ios")
    (again,) = await house.batches("ios")
    assert (again.size, unpack_recipients(again.recipients)) == (2, late)
    smaller = Left(2, 1, pack_recipients(late[1:]))
    tallies = {"delivered": 1, "unsure": -1}
    other = Settlement(task.id, task.number, tallies, {}, [], [late[0].id], [], smaller)
    assert await house.tubes.settle("ios", [other]) == [False], "that take is over"
    assert await house.tubes.settle("ios", [replace(other, number=again.number)]) == [True]
    last = replace(other, number=again.number, ended=[late[1].id], left=None)
    assert await house.tubes.settle("ios", [last]) == [True]
    await house.report()
    assert await house.state() == "done"
    assert (await house.tallies())["ios"] == {"audience": 10, "enqueued": 10, "delivered": 10}


async def test_a_remainder_comes_back_with_its_delay_and_its_attempt(house: House) -> None:
    await house.subscribers(20)
    await house.fire()
    await house.walk_page()
    await house.deliver("android")
    (task,) = await house.batches("ios")
    recipients = unpack_recipients(task.recipients)
    rest = pack_recipients(recipients[:3])
    done = settlement(task, delivered=7, retried=3, remainders=[Remainder(0.2, 2, 3, rest)])
    assert await house.tubes.settle("ios", [done]) == [True]
    with trio.fail_after(3):
        found: list[Task] = []
        while not found:
            found = await house.batches("ios")
    assert found[0].attempt == 2
    assert found[0].n < 0
    assert unpack_recipients(found[0].recipients) == recipients[:3]
    await house.report()
    assert await house.state() == "firing", "a delayed remainder holds the campaign open"
    assert await house.tubes.settle("ios", [settlement(found[0], delivered=3)]) == [True]
    await house.report()
    assert await house.state() == "done"
    assert (await house.tallies())["ios"] == {"audience": 10, "enqueued": 10, "delivered": 10, "retried": 3}


async def test_a_line_reported_twice_counts_once(house: House) -> None:
    await house.subscribers(20)
    await house.fire()
    await house.walk_page()
    await house.deliver("ios")
    _, lines = await house.tubes.outbox_read(100, wait=False)
    assert await house.store.report("n1", house.epoch, lines, NOW) == lines[-1][0]
    assert await house.store.report("n1", house.epoch, lines, NOW) == lines[-1][0]
    assert (await house.tallies())["ios"]["delivered"] == 10


async def test_a_dead_token_goes_unless_it_registered_again(house: House) -> None:
    await house.subscribers(4)
    await house.fire()
    await house.walk_page()
    (task,) = await house.batches("ios")
    first, second = unpack_recipients(task.recipients)
    # the second phone registers again while its push is on the way
    await house.store.subscribers_put(
        [("ios", second.token, "token", NOW + 5, "en", "UTC", "AT", "1", "", None, [], {})]
    )
    dead = [(first.id, first.token, NOW, "certain", "gone"), (second.id, second.token, NOW, "certain", "gone")]
    ends = Settlement(task.id, task.number, {"dead": 2}, {}, dead, [first.id, second.id], [])
    assert await house.tubes.settle("ios", [ends]) == [True]
    await house.report()
    rows = await house.store.subscribers_page(0, 100)
    assert first.token not in {row.token for row in rows}
    assert second.token in {row.token for row in rows}
    assert (await house.store.subscribers_count())["ios"] == 1


async def test_a_re_registration_keeps_its_id(house: House) -> None:
    await house.subscribers(3)
    before = {row.token: row.id for row in await house.store.subscribers_page(0, 10)}
    inserted, updated, *_ = await house.store.subscribers_put(
        [("ios", "token-1", "token", NOW + 1, "de", "", "", "", "", 5, ["a"], {"x": "y"})]
    )
    assert (inserted, updated) == (0, 1)
    after = {row.token: row.id for row in await house.store.subscribers_page(0, 10)}
    assert before == after


async def test_newcomers_after_fire_are_not_walked(house: House) -> None:
    await house.subscribers(50)
    await house.fire(page_size=10)
    await house.store.subscribers_put(
        [("ios", f"new-{n}", "token", NOW, "en", "", "", "", "", None, [], {}) for n in range(30)]
    )
    while await house.walk_page() is not None:
        pass
    assert await house.deliver("ios") + await house.deliver("android") == 50


async def test_the_shepherd_sees_a_lost_baton_and_an_unmarked_page(house: House) -> None:
    await house.subscribers(50)
    await house.fire(page_size=10)
    held = await house.take()
    assert held is not None
    await house.store.page_claim("n1", held.epoch, held.baton, NOW)
    await house.tubes.baton_ack(held)  # lost: neither the next baton was passed on nor the page put
    anyone, own = await house.store.strays("n1", house.epoch, NOW + 6000, 5000)
    assert [baton.seq for baton in anyone] == [1]
    assert [baton.seq for baton in own] == [0]
    assert await house.tubes.marked(own) == [False]
    await house.tubes.baton_put(anyone + own)
    while await house.walk_page() is not None:
        pass
    assert await house.deliver("ios") + await house.deliver("android") == 50


async def test_marks_live_until_the_campaign_is_over_for_long(house: House) -> None:
    await house.subscribers(5)
    await house.fire()
    while await house.walk_page() is not None:
        pass
    assert await house.tubes.marked_campaigns() == [CAMPAIGN]
    assert await house.store.campaigns_over([CAMPAIGN], NOW + 10**9, 1000) == []
    await house.deliver("ios")
    await house.deliver("android")
    await house.report()
    assert await house.store.campaigns_over([CAMPAIGN], NOW + 500, 1000) == []
    assert await house.store.campaigns_over([CAMPAIGN], NOW + 5000, 1000) == [CAMPAIGN]
    await house.tubes.marks_drop(CAMPAIGN)
    assert await house.tubes.marked_campaigns() == []


async def come_back_blank(house: House) -> None:
    """The queue comes back knowing nothing, and its open pages get their batons."""
    uuid, _, _ = await house.tubes.epoch()
    granted = await house.store.node_join("n1", uuid, 0, NOW, BOTH)
    assert granted is not None
    house.epoch = granted
    await house.tubes.adopt(house.epoch)
    await house.tubes.renew(house.epoch, Lease(30.0, []))
    anyone, _ = await house.store.strays("n1", house.epoch, NOW, 0)
    await house.tubes.baton_put(anyone)
    await house.walk_page()


async def test_a_page_that_changes_hands_twice_is_still_walked_less_what_is_settled(house: House) -> None:
    await house.subscribers(20)
    await house.fire()
    await house.walk_page()
    await house.deliver("android")
    (task,) = await house.batches("ios")
    recipients = unpack_recipients(task.recipients)
    for delivered, left in [(recipients[3:], recipients[:3]), (recipients[1:3], recipients[:1])]:
        rest = pack_recipients(left)
        done = settlement(task, delivered=len(delivered), remainders=[Remainder(60.0, 2, len(left), rest)])
        assert await house.tubes.settle("ios", [done]) == [True]
        await house.report()
        await come_back_blank(house)
        (task,) = await house.batches("ios")
        assert unpack_recipients(task.recipients) == left
    assert await house.tubes.settle("ios", [settlement(task, delivered=1)]) == [True]
    await house.report()
    assert (await house.tallies())["ios"]["delivered"] == 10
    assert await house.state() == "done"


async def test_lines_of_an_epoch_that_is_over_are_not_reported_in_the_next(house: House) -> None:
    await house.subscribers(20)
    await house.fire()
    await house.walk_page()
    epoch, lines = await house.tubes.outbox_read(100, wait=False)
    assert epoch == house.epoch
    await come_back_blank(house)  # while the reporter has the old lines in hand
    assert await house.store.report("n1", epoch, lines, NOW) is None
    assert (await house.tubes.outbox_read(100, wait=False, known=(epoch, lines[-1][0])))[0] > epoch
    await house.deliver("ios")
    await house.deliver("android")
    await house.report()
    assert await house.state() == "done", "the new epoch's lines are all there, and counted from their beginning"


async def test_a_queue_that_enters_another_epoch_gives_nothing_out_until_its_lease_is_renewed(house: House) -> None:
    await house.subscribers(20)
    await house.fire()
    held = await house.take()
    assert held is not None
    claim = await house.store.page_claim("n1", held.epoch, held.baton, NOW)
    await house.tubes.adopt(house.epoch + 1)
    assert (await house.tubes.epoch())[2] is False, "the old epoch's lease is not the new one's"
    assert await house.put(held, claim) == "fenced"


async def kept_page(house: House) -> tuple[Page, list[list[int]]]:
    """A page that its instance keeps, not put yet, and the ids of its parts."""
    await house.join()
    await house.subscribers(40)
    await house.fire()
    held = await house.take()
    assert held is not None
    claim = await house.store.page_claim("n1", held.epoch, held.baton, NOW)
    campaign = await house.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    read = await house.store.page_read(claim.from_id, claim.to_id, 15)
    kept = await house.store.page_read(claim.from_id, claim.to_id, 15, keep=True)
    assert [part.size for part in kept.parts] == [part.size for part in read.parts] == [15, 15, 5, 5]
    ids = [[each.id for each in unpack_recipients(part.recipients)] for part in read.parts]
    return Page(held, claim, campaign, *kept), ids


async def test_a_kept_page_goes_to_the_tubes_whole_without_leaving_the_instance(house: House) -> None:
    page, ids = await kept_page(house)
    assert not any(part.recipients for part in page.parts)
    parts = split(page, BOTH, NOW)
    assert await house.tubes.page_put(page.taken, *parts, kept=page.kept) == "put"
    taken = [task for channel in BOTH for task in await house.batches(channel)]
    assert sorted([each.id for each in unpack_recipients(task.recipients)] for task in taken) == sorted(ids)
    # the answer was lost: the page is on the tubes, and is kept no more
    assert await house.tubes.page_put(page.taken, *parts, kept=page.kept) == "marked"


async def test_of_a_page_that_is_kept_no_more_nothing_is_put_and_its_baton_stays_ours(house: House) -> None:
    page, ids = await kept_page(house)
    parts = split(page, BOTH, NOW)
    lost = f"{page.kept}0"
    assert await house.tubes.page_put(page.taken, *parts, kept=lost) == "gone"
    assert await house.batches("ios") == []
    assert await house.tubes.marked([page.taken.baton]) == [False]
    await house.tubes.baton_release(page.taken)
    assert await house.walk_page() == page.taken.baton
    assert await house.deliver("ios") + await house.deliver("android") == sum(map(len, ids))
