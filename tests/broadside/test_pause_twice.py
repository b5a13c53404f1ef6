"""Pause, resume and cancel, each in every state of a campaign: a repeat answers as the first call did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from broadside.api.campaign_report import CampaignReport
from broadside.errors import Conflict
from broadside.newsroom.newsroom import Newsroom
from campaigns.message import Message
from storage.link import Link
from tests.broadside.test_api import newsroom_over
from tests.storage.test_pause_and_forget import Ring
from tests.storage.test_walk_verbs import CAMPAIGN, NOW

NONE = "409"
GOALS = {
    # state before: pause, resume, cancel
    "draft": (NONE, NONE, "cancelled"),
    "scheduled": (NONE, NONE, "cancelled"),
    "missed": (NONE, NONE, NONE),
    "firing": ("pausing", "firing", "cancelling"),
    "pausing": ("pausing", "firing", "cancelling"),
    "paused": ("paused", "firing", "cancelling"),
    "done": (NONE, "done", NONE),
    "cancelling": (NONE, NONE, "cancelling"),
    "cancelled": (NONE, NONE, "cancelled"),
}


@pytest.fixture
async def ring(own_link: Link) -> Ring:
    ring = Ring(own_link)
    await ring.join()
    await ring.beat()
    await ring.subscribers(10)
    return ring


@pytest.fixture
def newsroom(own_link: Link) -> Newsroom:
    return newsroom_over(own_link)


async def bring(ring: Ring, state: str) -> None:
    if state in ("draft", "scheduled", "missed"):
        start = {} if state == "draft" else {"start": NOW + 9 if state == "scheduled" else 1}
        policy = {"page_size": 100, "ttl_ms": 3_600_000, **start}
        await ring.store.campaign_create(CAMPAIGN, Message(title="t", body="b"), None, policy, NOW)
        if state != "draft":
            await ring.store.campaign_fire(CAMPAIGN, 1, NOW)
        if state == "missed":
            await ring.store.campaign_miss(CAMPAIGN, "why")
        assert await ring.state() == state
        return
    await ring.fire()
    if state == "done":
        await ring.walk_page()
        await ring.deliver("ios")
        await ring.deliver("android")
        await ring.report()
    elif state in ("pausing", "paused"):
        await ring.store.campaign_pause(CAMPAIGN, NOW)
    elif state in ("cancelling", "cancelled"):
        await ring.store.campaign_cancel(CAMPAIGN, NOW)
    if state in ("paused", "cancelled"):
        await ring.settle_down()
    assert await ring.state() == state


@pytest.mark.parametrize("before", list(GOALS))
@pytest.mark.parametrize("act", ["pause", "resume", "cancel"])
async def test_each_act_answers_the_state_it_leads_to_and_a_repeat_the_same(
    ring: Ring, newsroom: Newsroom, before: str, act: str
) -> None:
    """B7."""
    await bring(ring, before)
    goal = GOALS[before][("pause", "resume", "cancel").index(act)]
    call: Callable[[int], Awaitable[CampaignReport]] = getattr(newsroom, act)
    for _ in range(2):
        if goal == NONE:
            with pytest.raises(Conflict, match=f" is {before} "):
                await call(CAMPAIGN)
            assert await ring.state() == before
        else:
            assert (await call(CAMPAIGN)).state == goal


async def test_a_resume_of_what_ended_during_the_pause_answers_done(ring: Ring, newsroom: Newsroom) -> None:
    """B7."""
    await ring.fire()
    await ring.walk_page()
    await ring.deliver("ios")
    await ring.deliver("android")
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.settle_down()
    assert await ring.state() == "paused"
    assert (await newsroom.resume(CAMPAIGN)).state == "done"
    assert (await newsroom.resume(CAMPAIGN)).state == "done"
