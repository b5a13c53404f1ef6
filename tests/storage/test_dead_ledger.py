"""The dead ledger at the store: what is deleted, when, what waits for a person, and how it is undone."""

from __future__ import annotations

import pytest
import trio

from actors.breaker import Breaker
from actors.dead_judge import asking
from actors.refusals import Refusals
from broadside.newsroom.coverage import verify
from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Death, Outcome
from campaigns.recipient import Recipient, unpack_recipients
from storage.link import Link
from storage.records import DeadRow, Settlement, Task
from tests.storage.test_pause_and_forget import Ring
from tests.storage.test_walk_verbs import CAMPAIGN, NOW
from transports.contract import Exceptional, Outcomes

HOUR = 3_600_000
DAY = 24 * HOUR
LIMITS = {"ios": 0.2, "android": 0.2}


class Judged(Ring):
    """A node whose provider refuses some."""

    async def refuse(self, channel: str, kind: str, n: int) -> list[Recipient]:
        """Settle all on a channel's tube: the first ``n`` of all refused, the others delivered; answers the refused."""
        refused: list[Recipient] = []
        while tasks := await self.batches(channel, 10):
            for task in tasks:
                recipients = unpack_recipients(task.recipients)
                bad = recipients[: max(0, n - len(refused))]
                refused += bad
                assert await self.tubes.settle(channel, [ends(task, recipients, bad, kind)]) == [True]
        await self.report()
        return refused

    async def walk(self) -> None:
        while await self.walk_page() is not None:
            pass

    async def judge(self, now: int = NOW, limits: dict[str, float] | None = None) -> list[str]:
        """Judge until there is nothing more to do; answers the verdicts."""
        words = []
        more = True
        while more:
            more, verdicts = await self.store.dead_judge(limits or LIMITS, now)
            words += [verdict.verdict for verdict in verdicts]
        return words

    async def count(self, channel: str = "ios") -> int:
        counted = (await self.store.subscribers_count())[channel]
        rows = await self.store.subscribers_page(0, 5000)
        assert counted == sum(row.channel == channel for row in rows), "counter and rows agree"
        return counted

    async def removals(self) -> int:
        return (await self.store.removals())["ios"]

    async def row(self, channel: str = "ios") -> DeadRow:
        (row,) = [row for row in await self.store.dead_list() if row.channel == channel]
        return row

    async def verified(self, id: int = CAMPAIGN) -> list[str]:
        campaign = await self.store.campaign_get(id)
        assert campaign is not None
        return (await verify(self.store, campaign)).problems


def ends(task: Task, recipients: list[Recipient], bad: list[Recipient], kind: str) -> Settlement:
    dead = [(each.id, each.token, each.registered_at, kind, "Word") for each in bad]
    word = "rejected" if kind == "doubtful" else "dead"
    tallies = {"delivered": len(recipients) - len(bad), word: len(bad)}
    ended = [recipient.id for recipient in recipients]
    return Settlement(task.id, task.number, tallies, {"Word": len(bad)}, dead, ended, [])


@pytest.fixture
async def ring(own_link: Link) -> Judged:
    ring = Judged(own_link)
    await ring.join()
    await ring.beat()
    return ring


async def fired(ring: Judged, subscribers: int) -> None:
    await ring.subscribers(subscribers)
    await ring.fire(page_size=500)
    await ring.walk()
    await ring.deliver("android")


@pytest.mark.parametrize("kind", ["likely", "doubtful"])
async def test_nobody_is_deleted_with_the_report_for_what_a_wrong_key_could_cause(ring: Judged, kind: str) -> None:
    """A1"""
    await fired(ring, 800)
    await ring.refuse("ios", kind, 400)
    assert await ring.state() == "done"
    assert await ring.count() == 400
    assert await ring.judge() == ["asked"]
    assert await ring.count() == 400
    row = await ring.row()
    assert (row.state, row.kept, row.removed, row.reasons) == ("asked", 400, 0, {"Word": 400})
    assert 0 < len(row.examples) <= 5
    assert await ring.judge(NOW + 10 * DAY) == [], "a question stands until a person answers"
    assert (await ring.row()).kept == 400
    assert await ring.count() == 400


async def test_a_certain_death_goes_with_the_report(ring: Judged) -> None:
    """A2"""
    await fired(ring, 800)
    await ring.refuse("ios", "certain", 300)
    assert await ring.count() == 100
    assert await ring.judge() == [], "what no wrong key can cause is not counted in the share"
    assert await ring.verified() == []


@pytest.mark.parametrize("kind", ["likely", "doubtful"])
async def test_below_the_limit_what_is_refused_is_deleted_when_the_campaign_ends(ring: Judged, kind: str) -> None:
    """A1"""
    await ring.subscribers(800)
    await ring.fire(page_size=500)
    await ring.walk()
    refused = await ring.refuse("ios", kind, 60)
    assert await ring.judge() == [], "android is still on its tube"
    assert await ring.count() == 400
    # one of them registers again before the verdict
    again = refused[0]
    await ring.store.subscribers_put([("ios", again.token, "token", NOW + 5, "", "", "", "", "", None, [], {})])
    await ring.deliver("android")
    await ring.report()
    assert await ring.judge() == ["deleting"]
    assert await ring.count() == 400 - 59
    assert again.token in {row.token for row in await ring.store.subscribers_page(0, 5000)}
    assert (await ring.row()).removed == 59
    assert await ring.verified() == []


async def test_a_long_campaign_is_judged_after_an_hour_and_again_at_its_end(ring: Judged) -> None:
    """A1"""
    await ring.subscribers(800)
    await ring.fire(page_size=500)
    await ring.walk()
    await ring.refuse("ios", "likely", 60)
    assert await ring.judge(NOW + HOUR - 1) == []
    assert await ring.judge(NOW + HOUR) == ["deleting"]
    assert await ring.count() == 340
    await ring.refuse("android", "likely", 60)
    assert await ring.judge(NOW + HOUR + 1) == ["deleting"], "and again at the end"
    assert await ring.count("android") == 340


@pytest.mark.parametrize(("phones", "refused"), [(60, 15), (38, 1)])
async def test_of_too_few_nobody_is_deleted_and_nobody_is_asked(ring: Judged, phones: int, refused: int) -> None:
    """A1: above the limit with fewer than 20 refused; below it with fewer than 20 delivered."""
    await fired(ring, phones)
    await ring.refuse("ios", "likely", refused)
    assert await ring.judge() == ["few"]
    assert await ring.count() == phones // 2
    assert (await ring.row()).kept == refused
    lease = await ring.beat()
    assert lease is not None
    assert lease.dead == []
    assert await ring.judge(NOW + DAY + 1) == []
    assert await ring.store.dead_list() == [], "after a day they are forgotten"
    assert await ring.count() == phones // 2


async def test_a_deletion_is_undone_under_the_old_id_and_every_proof_still_agrees(ring: Judged) -> None:
    """A1"""
    await fired(ring, 800)
    refused = await ring.refuse("ios", "likely", 60)
    before = {row.token: row for row in await ring.store.subscribers_page(0, 5000)}
    await ring.judge()
    assert await ring.removals() == 60
    # a campaign goes out between the deletion and the undo
    other = CAMPAIGN + 1
    await ring.store.campaign_create(
        other, Message(title="t", body="b"), None, {"page_size": 500, "ttl_ms": HOUR}, NOW + 5
    )
    batons = await ring.store.campaign_fire(other, 1, NOW + 5)
    assert batons
    await ring.tubes.baton_put(batons)
    await ring.walk()
    await ring.deliver("ios")
    await ring.deliver("android")
    await ring.report()
    assert await ring.verified(other) == []
    # one of the phones has registered anew: it is another subscriber now
    newer = refused[3]
    await ring.store.subscribers_put([("ios", newer.token, "token", NOW + 6, "de", "", "", "", "", None, [], {})])
    assert await ring.store.dead_restore("ios", None, NOW + 10) == (59, 1)
    assert await ring.store.dead_restore("ios", None, NOW + 10) == (0, 0)
    after = {row.token: row for row in await ring.store.subscribers_page(0, 5000)}
    assert after.keys() == before.keys()
    assert {token for token, row in after.items() if row != before[token]} == {newer.token}
    assert await ring.count() == 400
    assert await ring.removals() == 1
    assert await ring.store.dead_list() == []
    assert await ring.verified() == []
    assert await ring.verified(other) == []


@pytest.mark.parametrize("where", [None, {"locales": ["en"]}])
async def test_who_is_restored_into_a_claimed_page_takes_nobodys_place(
    ring: Judged, where: dict[str, list[str]] | None
) -> None:
    """Issue 21: a page was read up to its size at the claim, and its last rows got no push if others had come back."""
    await fired(ring, 400)
    assert len(await ring.refuse("ios", "certain", 30)) == 30
    other, policy = CAMPAIGN + 1, {"page_size": 100, "ttl_ms": HOUR}
    await ring.store.campaign_create(other, Message(title="t", body="b"), None, policy, NOW + 5, where=where)
    await ring.tubes.baton_put(await ring.store.campaign_fire(other, 1, NOW + 5) or [])
    held = await ring.take()
    assert held is not None
    claim = await ring.store.page_claim("n1", held.epoch, held.baton, NOW + 5)
    before = {row.id for row in await ring.store.subscribers_page(0, 100)}
    assert await ring.store.dead_restore("ios", CAMPAIGN, NOW + 10) == (30, 0)
    chosen = other if where is not None else None
    parts = (await ring.store.page_read(claim.from_id, claim.to_id, 500, campaign=chosen)).parts
    read = [recipient.id for part in parts for recipient in unpack_recipients(part.recipients)]
    assert len(read) == len(set(read)) == 130
    assert before <= set(read)


async def test_a_campaign_can_be_undone_alone_and_only_within_a_day(ring: Judged) -> None:
    """A1"""
    await fired(ring, 800)
    await ring.refuse("ios", "certain", 30)
    assert await ring.store.dead_restore(None, CAMPAIGN + 1, NOW) == (0, 0)
    assert await ring.store.dead_restore(None, CAMPAIGN, NOW) == (30, 0)
    assert await ring.count() == 400
    assert await ring.judge(NOW + 2 * DAY) == []
    assert await ring.store.dead_restore(None, CAMPAIGN, NOW) == (0, 0)


async def test_after_a_day_a_deletion_is_final(ring: Judged) -> None:
    """A1"""
    await fired(ring, 1600)
    await ring.refuse("ios", "certain", 250)
    assert (await ring.row()).removed == 250
    await ring.judge(NOW + DAY + 1)
    assert await ring.store.dead_list() == []
    assert await ring.store.dead_restore("ios", None, NOW) == (0, 0)
    assert await ring.count() == 550
    assert await ring.verified() == []


async def test_a_person_says_they_are_dead_and_they_go(ring: Judged) -> None:
    """A2"""
    await fired(ring, 800)
    await ring.refuse("ios", "doubtful", 250)
    assert await ring.judge() == ["asked"]
    lease = await ring.beat()
    assert lease is not None
    (standing,) = lease.dead
    assert (standing.state, standing.refused, standing.delivered, standing.reason) == ("asked", 250, 150, "Word")
    assert await ring.store.dead_answer("android", None, "confirmed", NOW + 1) == ([], 0)
    assert await ring.store.dead_answer("ios", None, "confirmed", NOW + 1) == ([CAMPAIGN], 250)
    await ring.judge()
    assert await ring.count() == 150
    assert await ring.store.dead_restore(None, CAMPAIGN, NOW + 2) == (250, 0)
    assert await ring.count() == 400
    lease = await ring.beat()
    assert lease is not None
    assert lease.dead == [], "the campaign has ended: nothing stands of it"


async def test_a_person_says_the_key_was_wrong_and_nobody_goes(ring: Judged) -> None:
    """A2"""
    await fired(ring, 800)
    await ring.refuse("ios", "doubtful", 250)
    await ring.judge()
    assert await ring.store.dead_answer("ios", CAMPAIGN, "denied", NOW + 1) == ([CAMPAIGN], 250)
    await ring.judge()
    assert await ring.count() == 400
    assert await ring.store.dead_answer("ios", None, "confirmed", NOW + 2) == ([], 0), "nothing is kept any more"
    assert await ring.judge(NOW + 2 * DAY) == []
    assert await ring.store.dead_list() == []


async def doubt(ring: Judged, held: int) -> str:
    return await ring.store.dead_doubt(CAMPAIGN, "ios", {"BadDeviceToken": held}, [1, 2, 3], 0.2, NOW)


async def test_workers_that_hold_everything_raise_one_question_over_the_ring(ring: Judged) -> None:
    """A1: each of several workers sees too few to know; the ledger knows of all."""
    await fired(ring, 800)
    assert await doubt(ring, 15) == "few"
    assert await doubt(ring, 50) == "stopped"
    assert await doubt(ring, 40) == "stopped"
    row = await ring.row()
    assert (row.state, row.postponed, row.reasons, row.examples) == ("stopped", 50, {"BadDeviceToken": 50}, [1, 2, 3])
    lease = await ring.beat()
    assert lease is not None
    assert [(each.state, each.refused) for each in lease.dead] == [("stopped", 50)]
    assert await ring.judge() == []
    assert await ring.store.dead_answer("ios", None, "denied", NOW + 10) == ([CAMPAIGN], 0)
    assert await doubt(ring, 50) == "denied", "nobody is asked again: what is held waits for the mended key"
    await ring.deliver("ios")
    await ring.report()
    assert await doubt(ring, 50) == "sound", "the key is mended"


async def test_what_a_person_calls_dead_may_be_settled(ring: Judged) -> None:
    """A2"""
    await fired(ring, 800)
    assert await doubt(ring, 50) == "stopped"
    assert await ring.store.dead_answer("ios", None, "confirmed", NOW + 30) == ([CAMPAIGN], 0)
    assert await doubt(ring, 50) == "confirmed"
    await ring.refuse("ios", "doubtful", 400)
    await ring.judge()
    assert await ring.count() == 0
    assert (await ring.row()).removed == 400


async def test_what_is_delivered_proves_the_key_and_withdraws_the_question(ring: Judged) -> None:
    """S4"""
    await fired(ring, 800)
    assert await doubt(ring, 50) == "stopped"
    await ring.deliver("ios")
    await ring.report()
    assert await doubt(ring, 50) == "sound"
    assert await doubt(ring, 50_000) == "stopped"
    assert await ring.judge() == ["asked"], "the campaign has ended, and the question stands"
    assert await ring.judge() == []


async def test_of_two_judges_one_wins_and_each_step_is_small(ring: Judged) -> None:
    """A1"""
    await fired(ring, 4000)
    await ring.refuse("ios", "likely", 390)
    words: list[str] = []
    steps: list[int] = []

    async def judge() -> None:
        more = True
        while more:
            more, verdicts = await ring.store.dead_judge(LIMITS, NOW)
            words.extend(verdict.verdict for verdict in verdicts)
            steps.append((await ring.store.subscribers_count())["ios"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(judge)
        nursery.start_soon(judge)
    assert words == ["deleting"]
    assert await ring.count() == 2000 - 390
    assert len(steps) > 4, "in steps"


async def test_two_thousand_phones_on_eight_workers_lose_nobody_to_a_wrong_key(ring: Judged) -> None:
    """A1: no worker alone sees enough to know; all together ask one question."""
    await fired(ring, 4000)
    workers = [(Refusals("ios", breaker), breaker) for breaker in (Breaker() for _ in range(8))]
    ask = asking(ring.store, "ios", lambda: NOW)
    fates: list[Exceptional] = []
    stops: list[int] = []

    async def send(number: int, watch: Refusals, breaker: Breaker) -> None:
        for look in range(2):
            for n in range(5):
                first = number * 250 + n * 50
                phones = [Recipient(first + i, "aa", "token", 1, "") for i in range(50)]
                batch = Batch(CAMPAIGN, Message(title="t", body="b"), 1, NOW + HOUR, phones)
                bad = [Exceptional(i, Outcome.REJECTED, "BadDeviceToken", death=Death.DOUBTFUL) for i in range(50)]
                outcomes = await watch.weigh(batch, Outcomes(0, bad), ask)
                fates.extend(outcomes.exceptions)
                stops.extend([number] if outcomes.stop else [])
            await trio.sleep(0 if look else 1.0)  # what is held comes back after a second

    async with trio.open_nursery() as nursery:
        for number, (watch, breaker) in enumerate(workers):
            nursery.start_soon(send, number, watch, breaker)
    assert {fate.outcome for fate in fates} == {Outcome.POSTPONED}
    assert set(stops) == set(range(8)), "every worker stops"
    (row,) = [row for row in await ring.store.dead_list() if row.channel == "ios"]
    assert (row.state, row.kept, row.removed) == ("stopped", 0, 0)
    assert await ring.count() == 2000
