"""The cut line of a campaign with conditions: counted on request, over the API and on the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from broadside.console.host_names import HostNames
from broadside.newsroom.ring import Ring
from broadside.pages.pages import Pages
from campaigns.identity import campaign_text
from campaigns.where import Share, Where
from storage.link import Link
from storage.store import Store
from tests.broadside.api_parts import api_of
from tests.broadside.test_access import OWN
from tests.broadside.test_api import KEY
from tests.broadside.test_pages import newsroom, reader
from tests.storage.test_audience_laws import GERMANS, Choosing
from tests.storage.test_pause_and_forget import Ring as Hands
from tests.storage.test_walk_verbs import CAMPAIGN, NOW

pytestmark = pytest.mark.tarantool

PHONES, WALKED = 450, 2
CUT = {"accepted": 0, "refused": 0, "may_have_it": 0, "in_rows": False, "nodes": {}}


@pytest.fixture
async def hands(own_link: Link) -> Hands:
    hands = Choosing(own_link)
    await hands.join()
    await hands.beat()
    await hands.base(PHONES)
    return hands


@pytest.fixture
async def node(own_link: Link) -> AsyncIterator[httpx.AsyncClient]:
    api = api_of(newsroom(own_link), Ring(store=Store(own_link), node="n1"), own_link, KEY).app()
    transport = httpx.ASGITransport(app=Pages(api, HostNames(["node"])))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield client


async def cut(node: httpx.AsyncClient, exact: str = "true") -> dict[str, Any]:
    answer = await node.get(f"/v1/campaigns/{campaign_text(CAMPAIGN)}", params={"exact": exact}, headers=OWN)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["cut"]
    return found


async def stopped(hands: Hands) -> None:
    """Two pages are put, and the campaign is paused."""
    for _ in range(WALKED):
        await hands.walk_page()
    await hands.store.campaign_pause(CAMPAIGN, NOW)
    await hands.settle_down()
    assert await hands.state() == "paused"


@pytest.mark.parametrize("listed", [False, True], ids=["conditions", "a list"])
async def test_the_audience_among_those_who_were_not_walked_is_counted(
    node: httpx.AsyncClient, hands: Choosing, listed: bool
) -> None:
    """25.4: without it, a campaign to some has an estimate there."""
    people = [*range(2, PHONES, 2)] if listed else None
    await hands.aim(Where() if listed else GERMANS, listed=people)
    await stopped(hands)
    reached = (await hands.store.campaign_cursors(CAMPAIGN))[0].after_id
    meant = people or [n for n in range(1, PHONES + 1) if n % 3 == 0]
    left = sum(each > reached for each in meant)
    assert 0 < left < len(meant)
    assert await cut(node) == CUT | {"on_tubes": len(meant) - left, "not_walked": left}
    assert (await cut(node, "false"))["in_rows"], "it is not counted unless somebody asks"
    await hands.store.campaign_cancel(CAMPAIGN, NOW)
    await hands.settle_down()
    assert (await cut(node))["not_walked"] == left


async def test_a_campaign_to_everybody_has_its_exact_cut_line_anyway(node: httpx.AsyncClient, hands: Hands) -> None:
    await hands.fire(page_size=100)
    await stopped(hands)
    assert await cut(node) == await cut(node, "false") == CUT | {"on_tubes": 200, "not_walked": 250}


async def test_a_share_is_counted_as_the_walk_would_draw_it(node: httpx.AsyncClient, hands: Choosing) -> None:
    await hands.aim(Where(share=Share(0.3, "salt")))
    await stopped(hands)
    found = await cut(node)
    await hands.store.campaign_resume(CAMPAIGN, NOW)
    await hands.settle_down()
    _, again = await hands.store.campaign_resume(CAMPAIGN, NOW) or ("", [])
    await hands.tubes.baton_put(again or (await hands.store.strays("n1", hands.epoch, NOW + 10**6, 1000))[0])
    await hands.finish()
    assert sum(each["enqueued"] for each in (await hands.tallies()).values()) == found["on_tubes"] + found["not_walked"]


async def test_the_page_offers_to_count_and_shows_the_number(node: httpx.AsyncClient, hands: Choosing) -> None:
    await hands.aim(GERMANS)
    await stopped(hands)
    exact = (await cut(node))["not_walked"]
    read, _ = await reader(node, "viewer")
    path = f"/campaigns/{campaign_text(CAMPAIGN)}/part"
    assert "Count them" in (await node.get(path, headers=read)).text
    counted = (await node.get(path, params={"exact": "1"}, headers=read)).text
    assert "Count them" not in counted
    assert f'data-field="cut-not-walked">{exact}<' in counted
