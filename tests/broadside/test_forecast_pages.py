"""The pages about speed: the button's seconds, what holds a campaign up, and its audience in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
import pytest

from broadside.api.campaign_report import CampaignReport
from broadside.pages.campaign_pages import _values
from campaigns.channel_state import ChannelState
from campaigns.clock import wall_clock
from campaigns.message import Message
from storage.link import Link
from storage.store import Store
from tests.broadside.test_access import OWN
from tests.broadside.test_compose import form
from tests.broadside.test_forecast_api import learnt, ring
from tests.broadside.test_foresight import base
from tests.broadside.test_pages import node, reader

__all__ = ["node"]  # fixture
pytestmark = pytest.mark.tarantool


async def test_the_button_says_how_long_it_will_take_and_a_sentence_why(
    node: httpx.AsyncClient, own_link: Link
) -> None:
    """Issue 25.2: "Send to 2,004,112 phones · about 14 s"."""
    await ring(own_link, at=wall_clock(), full_rate=25.0, limit=25.0)
    await learnt(own_link)
    noon = 12 - datetime.now(UTC).hour  # hours east of UTC, where nobody sleeps now; the names count westwards
    await base(Store(own_link), {f"Etc/GMT{-noon:+d}" if noon else "Etc/UTC": 400})
    _, change = await reader(node, "editor")
    kept = await node.post("/compose/keep", content=form(title="Storm", body="x"), headers=change)
    assert kept.status_code == 200
    assert "Send to 400 phones · about 8 s" in kept.text
    note = re.search(r'class="forecast".*?</div>', kept.text, re.DOTALL)
    assert note, kept.text
    assert "own rate" in note[0]
    assert "opens a second" in note[0]
    later = await node.post("/compose/keep", content=form(title="S", when="best", version="1"), headers=change)
    assert "about 8 s" not in later.text


async def test_the_campaigns_page_has_its_forecast_and_its_audience_in_words(
    node: httpx.AsyncClient, own_link: Link
) -> None:
    """Issue 25.6: no JSON, no sentence for each node."""
    await ring(own_link, at=wall_clock())
    await learnt(own_link)
    await base(Store(own_link), {"Europe/Vienna": 40}, country="DE")
    fire = {"message": {"title": "Storm"}, "audience": {"countries": ["DE"], "share": 0.5}}
    id = (await node.post("/v1/campaigns", json=fire, headers=OWN)).json()["id"]
    reads, _ = await reader(node, "viewer")
    page = (await node.get(f"/campaigns/{id}", headers=reads)).text
    assert "<dt>Audience</dt><dd>in DE; a drawn 50 %" in page
    assert "Forecast at Fire:" in page
    assert 'aria-label="What it waits for"' in page


def test_a_rate_of_ones_own_is_one_line_on_however_many_nodes() -> None:
    """Issue 25.6: one line, plain words."""
    states = [
        ChannelState(channel=channel, node=name, reason="limiter", sentence="sends at its own rate", since=1)
        for channel in ("ios", "android")
        for name in ("n1", "n2", "n3")
    ]
    other = ChannelState(channel="web", reason="breaker", sentence="refused", since=1)
    report = CampaignReport(
        id="a" * 13, state="firing", message=Message(body="b"), created_at=1, channel_states=[*states, other]
    )
    values = _values(report)
    assert values["rated"] == "android and ios send at their own rate: as fast as the channel may."
    assert values["states"] == [other]
