"""Clause 13 at the store and the queue: new texts, and a second walk to those who had got the old ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from campaigns.message import Message
from campaigns.recipient import unpack_recipients
from storage.errors import VerbRefused
from storage.link import Link
from storage.records import Task
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
