"""Clause 13 at the store and the queue: new texts, and a second walk to those who had got the old ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broadside.api.explain_records import question
from broadside.api.token_rules import DeviceTokens
from broadside.newsroom.certificates.certificate_desk import CertificateDesk
from broadside.newsroom.explain.explain_desk import ExplainDesk
from broadside.newsroom.reports import report
from broadside.newsroom.stopping import cut_line
from campaigns.clock import wall_clock
from campaigns.message import Message
from campaigns.recipient import unpack_recipients
from storage.errors import VerbRefused
from storage.link import Link
from storage.records import KeptAnswer, Settlement, Task
from tests.storage.test_pause_and_forget import Ring
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, settlement

SECOND = CAMPAIGN + 1
NEW = Message(title="new", body="b")


@pytest.fixture
async def ring(own_link: Link) -> Ring:
    ring = Ring(own_link)
    await ring.join()
    await ring.beat()
    await ring.subscribers(300)
    await ring.fire(page_size=100)
    return ring


async def draft(ring: Ring, second: int = SECOND) -> None:
    policy = {"page_size": 100, "ttl_ms": 3_600_000, "corrects": CAMPAIGN}
    await ring.store.campaign_create(second, NEW, ["android", "ios"], policy, NOW, where={})


async def stopped(ring: Ring) -> list[Task]:
    """Two pages are put, three batches of 50 sent, and the campaign is paused; answers what was sent."""
    await ring.walk_page()
    await ring.walk_page()
    sent = await ring.batches("ios", 1) + await ring.batches("android", 2)
    for task in sent:
        channel = "ios" if task is sent[0] else "android"
        assert await ring.tubes.settle(channel, [settlement(task, delivered=50)]) == [True]
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.settle_down()
    assert await ring.state() == "paused"
    return sent


async def second_walk(ring: Ring) -> list[int]:
    """Walk it, and answer to whom it goes."""
    await ring.tubes.baton_put(await ring.store.open_pages(SECOND))
    ids: list[int] = []
    while (held := await ring.take()) is not None:
        claim = await ring.store.page_claim("n1", held.epoch, held.baton, NOW)
        if held.baton.campaign == SECOND and claim.verdict == "claimed":
            rows = await ring.store.page_read(claim.from_id, claim.to_id, 500, None, SECOND, only=claim.only)
            ids += [each.id for part in rows.parts for each in unpack_recipients(part.recipients)]
        assert await ring.tubes.baton_ack(held)
    return sorted(ids)


async def test_a_second_walk_goes_to_those_who_were_settled_and_to_nobody_else(ring: Ring) -> None:
    sent = await stopped(ring)
    await draft(ring)
    assert await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW) == "copied"
    assert await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW) == "copied", "a repeat changes nothing"
    settled = sorted(each.id for task in sent for each in unpack_recipients(task.recipients))
    assert len(settled) == 150
    assert await second_walk(ring) == settled
    campaign = await ring.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert (campaign.texts, campaign.correction, campaign.corrected, campaign.message) == (1, SECOND, True, NEW)
    assert [message.title for _, message in campaign.former] == ["t"]


async def test_a_certificate_has_each_text_that_was_sent(ring: Ring) -> None:
    """25.5: the one that was fired, too."""
    await stopped(ring)
    await draft(ring)
    await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW)
    found = await CertificateDesk(ring.store, "n1", None, lambda: NOW).issue(CAMPAIGN)
    assert found is not None
    assert [(text.version, text.title) for text in found.texts] == [(0, "t"), (1, "new")]
    assert len({text.sha256 for text in found.texts}) == 2


async def test_an_archived_campaign_keeps_its_former_texts(ring: Ring) -> None:
    """Its certificate names them for as long as the campaign is known."""
    await stopped(ring)
    await draft(ring)
    await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW)
    await taken_back(ring)
    assert await ring.store.retention_archived(CAMPAIGN, "n1", "0" * 64, NOW)
    while await ring.store.retention_drop(CAMPAIGN):
        pass
    campaign = await ring.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert (campaign.texts, [message.title for _, message in campaign.former]) == (1, ["t"])


async def test_a_batch_is_taken_with_the_texts_of_the_lease(ring: Ring) -> None:
    await stopped(ring)
    await draft(ring)
    await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW)
    await ring.store.campaign_resume(CAMPAIGN, NOW)
    await ring.settle_down()
    (task,) = await ring.batches("ios", 1)
    assert task.texts == 1
    rest = unpack_recipients(task.recipients)
    assert await ring.tubes.settle("ios", [settlement(task, delivered=len(rest))]) == [True]
    await ring.report()
    assert not {each.id for each in rest} & set(await second_walk(ring)), "they have got the new text already"


async def test_who_is_reported_late_with_the_old_text_is_corrected_too(ring: Ring) -> None:
    """A queue that was away when the texts changed, and had sent old ones, reports when both walks seem to be over."""
    await stopped(ring)
    await draft(ring)
    await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW)
    await ring.store.campaign_resume(CAMPAIGN, NOW)
    await ring.settle_down()
    first = await second_walk(ring)
    (task,) = await ring.batches("ios", 1)
    late = [each.id for each in unpack_recipients(task.recipients)]
    old = replace(settlement(task, delivered=len(late)), texts=0)
    assert await ring.tubes.settle("ios", [old]) == [True]
    await ring.report()
    assert await second_walk(ring) == sorted(late)
    assert not set(late) & set(first)


@pytest.mark.parametrize("state", ["firing", "pausing"])
async def test_the_texts_change_only_when_nothing_old_is_under_way(ring: Ring, state: str) -> None:
    await ring.walk_page()
    await ring.batches("ios", 1)
    if state == "pausing":
        await ring.store.campaign_pause(CAMPAIGN, NOW)
    await draft(ring)
    assert await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW) == state
    campaign = await ring.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert (campaign.texts, campaign.message.title) == (0, "t")


async def test_a_second_walk_is_a_draft_of_this_very_campaign(ring: Ring) -> None:
    await stopped(ring)
    with pytest.raises(VerbRefused, match="no draft of a second walk"):
        await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW)


async def test_another_correction_waits_for_the_end_of_the_one_before(ring: Ring) -> None:
    await stopped(ring)
    await draft(ring)
    await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW)
    third = SECOND + 1
    await draft(ring, third)
    assert await ring.store.campaign_correct(CAMPAIGN, third, NEW, NOW) == "corrected"
    await ring.store.campaign_cancel(SECOND, NOW)
    await ring.settle_down()
    assert await ring.store.campaign_correct(CAMPAIGN, third, NEW, NOW) == "copied"
    campaign = await ring.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert (campaign.texts, campaign.correction) == (2, third)


def ids(task: Task) -> list[int]:
    return [each.id for each in unpack_recipients(task.recipients)]


def refused(task: Task, **outcomes: int) -> Settlement:
    """A settlement with so many people of each outcome, the first ones first; the others are delivered to."""
    people, answers = ids(task), []
    for outcome, n in outcomes.items():
        answers.append(KeptAnswer(outcome, "why", 1, people[:n]))
        people = people[n:]
    return replace(settlement(task), tallies=outcomes | {"delivered": len(people)}, answers=answers)


@pytest.mark.parametrize("whole", [True, False], ids=["whole pages", "parts of pages"])
async def test_who_was_not_delivered_to_is_sent_no_other_text(ring: Ring, whole: bool) -> None:
    """25.5: nobody who had not had the old one gets the new one twice, or a correction of what never came."""
    await ring.walk_page()
    await ring.walk_page()
    sent = await ring.batches("ios", 2) + (await ring.batches("android", 2) if whole else [])
    had: list[int] = []
    for task in sent:
        outcomes = {"expired": 3, "dropped": 4, "rejected": 2} if task is sent[0] else {}
        channel = "ios" if task in sent[:2] else "android"
        assert await ring.tubes.settle(channel, [refused(task, **outcomes)]) == [True]
        had += ids(task)[sum(outcomes.values()) :]
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.settle_down()
    await draft(ring)
    assert await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW) == "copied"
    assert await second_walk(ring) == sorted(had)


async def taken_back(ring: Ring) -> None:
    """Stop the campaign for ever."""
    assert await ring.store.campaign_cancel(CAMPAIGN, NOW) == "cancelling"
    await ring.settle_down()
    assert await ring.state() == "cancelled"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_who_may_have_a_text_that_is_taken_back_gets_the_new_one(ring: Ring, when: str) -> None:
    """25.5: their batch's take had ended without an answer. Of a campaign that goes on, they get it from the tubes."""
    sent = await stopped(ring)
    await ring.store.campaign_resume(CAMPAIGN, NOW)
    await ring.settle_down()
    (task,) = await ring.batches("ios", 1)
    await ring.tubes.batch_release_worker("ios")
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.settle_down()
    if when == "before":
        await taken_back(ring)
    await draft(ring)
    assert await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW) == "copied"
    if when == "after":
        await taken_back(ring)
    settled = [each for one in sent for each in ids(one)]
    assert await second_walk(ring) == sorted(settled + ids(task))


async def test_who_may_have_it_is_not_sent_it_twice_by_a_campaign_that_goes_on(ring: Ring) -> None:
    sent = await stopped(ring)
    await ring.store.campaign_resume(CAMPAIGN, NOW)
    await ring.settle_down()
    await ring.batches("ios", 1)
    await ring.tubes.batch_release_worker("ios")
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.settle_down()
    await draft(ring)
    assert await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW) == "copied"
    assert await second_walk(ring) == sorted(each for one in sent for each in ids(one))


async def counts_as_quiet(ring: Ring) -> str:
    """Let the store take the node for quiet, as one that is away, though it owes lines; answers the state."""
    for _ in range(2):
        lease = await ring.store.node_renew("n1", ring.epoch, NOW, [])
        assert lease is not None
        still = [(pause.campaign, pause.version) for pause in lease.paused]
        assert await ring.store.node_renew("n1", ring.epoch, NOW, still) is not None
    return await ring.state()


@pytest.mark.parametrize("known", ["sent", "perhaps sent"])
async def test_who_is_reported_after_it_was_taken_back_gets_the_new_text(ring: Ring, known: str) -> None:
    """A queue that was away meanwhile had sent the old text, or may have."""
    sent = await stopped(ring)
    await ring.store.campaign_resume(CAMPAIGN, NOW)
    await ring.settle_down()
    (task,) = await ring.batches("ios", 1)
    settled = [each for one in sent for each in ids(one)]
    if known == "sent":
        assert await ring.tubes.settle("ios", [replace(settlement(task, delivered=50), texts=0)]) == [True]
    else:
        await ring.tubes.batch_release_worker("ios")
    assert await ring.store.campaign_pause(CAMPAIGN, NOW) == "pausing"
    assert await counts_as_quiet(ring) == "paused"
    await draft(ring)
    assert await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW) == "copied"
    assert await ring.store.campaign_cancel(CAMPAIGN, NOW) == "cancelling"
    assert await counts_as_quiet(ring) == "cancelled"
    assert await second_walk(ring) == sorted(settled)
    await ring.report()
    assert await second_walk(ring) == sorted(ids(task))
    await ring.report()
    assert await second_walk(ring) == [], "once"


async def test_the_cut_line_of_a_second_walk_has_those_who_are_on_no_tube_yet(ring: Ring) -> None:
    """25.4"""
    sent = await stopped(ring)
    first = await ring.store.campaign_get(CAMPAIGN)
    assert first is not None
    delivered = {name: sums.get("delivered", 0) for name, sums in first.tallies.items()}
    policy = {"page_size": 100, "ttl_ms": 3_600_000, "corrects": CAMPAIGN}
    await ring.store.campaign_create(SECOND, NEW, ["android", "ios"], policy, NOW, where={}, estimate=delivered)
    await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW)
    second = await ring.store.campaign_get(SECOND)
    assert second is not None
    cut = cut_line(second, [*report(second, NOW, ()).channels.values()], [])
    assert (cut.on_tubes, cut.not_walked, cut.in_rows) == (0, sum(len(ids(task)) for task in sent), False)


async def test_explain_knows_to_whom_a_second_walk_goes(ring: Ring) -> None:
    """25.7: also to those who were reported late."""
    sent = await stopped(ring)
    await draft(ring)
    await ring.store.campaign_correct(CAMPAIGN, SECOND, NEW, NOW)
    await ring.store.campaign_resume(CAMPAIGN, NOW)
    await ring.settle_down()
    (task,) = await ring.batches("ios", 1)
    late = ids(task)
    assert await ring.tubes.settle("ios", [replace(settlement(task, delivered=len(late)), texts=0)]) == [True]
    before = await fate(ring, late[0])
    await ring.report()
    assert (before, await fate(ring, late[0])) == (("outside", ["corrects"]), ("waiting", []))
    had = {each for one in sent for each in ids(one)} | {*late}
    for person in (*sorted(had)[:3], *late[:3]):
        assert await fate(ring, person) == ("waiting", [])
    for person in sorted({*range(1, 301)} - had)[:3]:
        assert await fate(ring, person) == ("outside", ["corrects"])
    row = ("ios" if late[0] % 2 == 0 else "android", f"token-{late[0] - 1}", "token", NOW - 1000)
    await ring.store.subscribers_put([(*row, "en", "UTC", "AT", "1", "", None, ["changed"], {})])
    assert await fate(ring, late[0]) == ("waiting", []), "it has no conditions, so a change makes it no less certain"


async def fate(ring: Ring, person: int) -> tuple[str, list[str]]:
    desk = ExplainDesk(ring.store, {"n1": ring.tubes}, DeviceTokens({}), None, wall_clock)
    found = await desk.explain(SECOND, question(str(person)))
    assert found is not None
    assert found.items[0].certain, found
    assert "forgotten" not in found.items[0].sentence, "a page of a second walk is open from the start"
    return found.items[0].fate, found.items[0].failing
