"""The forecast over the API, on the page and on the command line, from the states that nodes have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from broadside.api.audience_text import audience_words
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.forecast_records import Forecast
from broadside.api.forecast_text import about, forecast_lines
from broadside.api.ring_state import ChannelFlow, NodeState, ProcessState, write_state
from broadside.newsroom.forecasts import desk
from broadside.newsroom.forecasts.inputs import OCTETS
from broadside.newsroom.forecasts.kept import KEPT, compared, kept_forecast
from broadside.newsroom.quiet_policy import NO_QUIET, Quiet
from broadside.newsroom.ring import Ring
from campaigns.channel_state import ChannelState
from campaigns.experience import ChannelExperience, NodeExperience, write_experience
from campaigns.message import Message
from storage.link import Link
from storage.store import Store
from tests.broadside.api_parts import api_of
from tests.broadside.fake_node import FakeNode, Said, broadside, folder, node
from tests.broadside.test_fire_once import BODY
from tests.broadside.test_foresight import NIGHT, NOW, ZONES, base, room_over
from tests.broadside.test_unserved import BOTH, join
from transports.errors import PayloadError
from transports.traffic import CLASSES, time_class

__all__ = ["broadside", "folder", "node"]  # fixtures

ANSWERS = [0.0] * CLASSES
ANSWERS[time_class(0.1)] = 10_000.0


async def ring(link: Link, *standing: ChannelState, at: int = NOW, **more: Any) -> None:
    """A node that has told another one what it can do. ``at``: the moment, ms UTC."""
    await join(link, "n1", BOTH)
    epoch = await join(link, "n2", BOTH)
    flows = [ChannelFlow(channel=name, platform="apns", most=4, wanted=4, **more) for name in BOTH]
    processes = [ProcessState(name="node"), ProcessState(name="worker-1")]
    text = write_state(NodeState(channels=flows, processes=processes))
    assert await Store(link).node_renew("n2", epoch, at, states=standing, text=text) is not None


async def learnt(link: Link) -> None:
    seen = ChannelExperience(pushes=10_000.0, answers=ANSWERS, streams=100.0, window=65_535, round_trip=0.05)
    known = NodeExperience(channels=dict.fromkeys(BOTH, seen), cost=1e-5, cores=2, row=1e-5)
    await Store(link).forecasts.keep_experience("n2", write_experience(known), NOW)


async def ask(link: Link, hours: Quiet = NO_QUIET, path: str = "/v1/campaigns/forecast", **more: Any) -> Any:
    api = api_of(room_over(link, hours), Ring(store=Store(link), node="n2"), link, "k")
    headers = {"authorization": "Bearer k"}
    transport = httpx.ASGITransport(app=api.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        if path.endswith("forecast") or path == "/v1/campaigns":
            answer = await client.post(path, content=json.dumps({**BODY, **more}))
        else:
            answer = await client.get(path)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


@pytest.mark.tarantool
async def test_any_node_foresees_what_the_whole_ring_can_do(own_link: Link) -> None:
    """Issue 25.2: from experience in the store and the states of the nodes; nothing is fired."""
    await ring(own_link)
    await base(Store(own_link), {"Europe/Vienna": 400})
    new = msgspec.convert(await ask(own_link), Forecast)
    assert len(new.careful) == 2, "no experience yet, and it says so"
    assert new.phones == 400
    await learnt(own_link)
    found = msgspec.convert(await ask(own_link), Forecast)
    assert found.careful == []
    assert found.seconds is not None
    assert new.seconds is not None
    assert found.seconds < new.seconds, "the guesses are careful"
    assert {name: each.phones for name, each in found.channels.items()} == {"ios": 200, "android": 200}
    assert found.opens > 0
    assert found.image_bytes > 0
    assert (await ask(own_link, path="/v1/campaigns?limit=5"))["items"] == []


@pytest.mark.tarantool
async def test_a_rate_is_named_and_a_longer_text_then_costs_nothing(own_link: Link) -> None:
    """Issue 25.2: the bottleneck in a sentence."""
    await ring(own_link, full_rate=50.0, limit=50.0)
    await learnt(own_link)
    await base(Store(own_link), {"Europe/Vienna": 400})
    found = msgspec.convert(await ask(own_link), Forecast)
    assert (found.bottleneck, found.channels["ios"].bottleneck) == ("rate", "rate")
    assert found.seconds == pytest.approx(200 / 50 + 0.3, rel=0.1), "both at once"
    assert "own rate" in found.sentence
    assert found.longer == "A longer text costs no time here."


@pytest.mark.tarantool
async def test_a_provider_that_is_away_makes_it_unknown(own_link: Link) -> None:
    """Issue 25.2: no number is better than a wrong one."""
    standing = ChannelState(channel="ios", reason="unreachable", sentence="no route to Apple", since=NOW)
    await ring(own_link, standing)
    await base(Store(own_link), {"Europe/Vienna": 40})
    found = msgspec.convert(await ask(own_link), Forecast)
    assert (found.seconds, found.bottleneck) == (None, "provider")
    assert "no route to Apple" in found.sentence
    assert "nobody knows" in forecast_lines(found)[0]


@pytest.mark.tarantool
async def test_who_sleeps_is_counted_apart(own_link: Link) -> None:
    """Issue 25.2: 16:30 in Vienna, and night in Tokyo."""
    await ring(own_link)
    await learnt(own_link)
    await base(Store(own_link), {"Europe/Vienna": 30, "Asia/Tokyo": 70})
    found = msgspec.convert(await ask(own_link, Quiet(NIGHT, ZONES)), Forecast)
    assert (found.phones, found.held, found.bottleneck) == (100, 70, "quiet_hours")
    assert found.until is not None
    assert NOW < found.until <= NOW + 12 * 3_600_000
    assert sum(each.phones for each in found.channels.values()) == 30


@pytest.mark.tarantool
async def test_a_campaign_keeps_its_forecast(own_link: Link) -> None:
    """Issue 25.2: kept with the campaign at Fire."""
    await ring(own_link, full_rate=50.0, limit=50.0)
    await learnt(own_link)
    await base(Store(own_link), {"Europe/Vienna": 400})
    fired = msgspec.convert(await ask(own_link, path="/v1/campaigns"), CampaignReport)
    assert fired.forecast is not None
    assert fired.forecast.bottleneck == "rate"
    again = msgspec.convert(await ask(own_link, path=f"/v1/campaigns/{fired.id}"), CampaignReport)
    assert again.forecast == fired.forecast
    assert again.reach is not None
    assert again.reach.accepted == 0


@pytest.mark.tarantool
async def test_a_channel_that_cannot_carry_it_and_a_forecast_that_fails_hold_no_fire_up(
    own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 25.2: the news goes out."""
    await ring(own_link)
    await base(Store(own_link), {"Europe/Vienna": 40})

    def refuse(*_: object) -> Any:
        raise PayloadError("message.body: is too long")

    room = room_over(own_link, NO_QUIET)
    room.forecasts._renderers = {"ios": refuse}
    found = await room.forecast(FireRequest(message=Message(body="b")))
    assert found.bytes["ios"] == OCTETS
    monkeypatch.setattr(desk, "run", lambda *_: 1 / 0)
    fired = await room.fire(FireRequest(message=Message(body="b")))
    assert (fired.state, fired.forecast) == ("firing", None)


def test_the_forecast_is_compared_with_the_fact() -> None:
    """Issue 25.2."""
    kept = Forecast(phones=9, seconds=14.0, bottleneck="window", sentence="s")
    assert compared(kept, 14.3) == "Foreseen were 14 s. It took 14.3 s, as foreseen."
    assert compared(kept, 21.0) == "Foreseen were 14 s. It took 21.0 s, 50% longer."
    assert "shorter" in compared(kept, 7.0)
    assert compared(None, 7.0) == ""
    assert "Nobody could foresee" in compared(msgspec.structs.replace(kept, seconds=None), 7.0)
    assert kept_forecast({KEPT: msgspec.json.encode(kept).decode()}) == kept
    assert kept_forecast({KEPT: "{"}) is kept_forecast({}) is None


ABOUT = [(0.2, "1 s"), (13.6, "14 s"), (89.0, "89 s"), (100.0, "2 min"), (5_000.0, "83 min"), (9_100.0, "2 h 30 min")]


@pytest.mark.parametrize(("seconds", "words"), ABOUT)
def test_a_duration_is_written_as_roughly_as_it_is_known(seconds: float, words: str) -> None:
    """Issue 25.2: about 14 s."""
    assert about(seconds) == words


def test_an_audience_is_written_in_words() -> None:
    """Issue 25.6: no JSON on the page."""
    share = {"share": 0.05, "salt": "s"}
    conditions = {"countries": ["DE", "FR"], "tags_any": ["sport"], "app_version": [[">=", [4, 2]]], "share": share}
    assert audience_words(conditions) == "in DE or FR; with the tag sport; app >= 4.2; a drawn 5 %"
    assert audience_words({"share": {**share, "rest": True}}) == "everybody but a drawn 5 %"
    assert audience_words({"locales": [f"l{n}" for n in range(40)]}).endswith("or 34 more")
    assert audience_words({}) == ""


FOUND = {
    "phones": 2_004_112, "seconds": 13.6, "bottleneck": "window", "sentence": "It is Apple's window.",
    "channels": {}, "longer": "Each 100 bytes more make it 5 s longer.", "opens": 900.0, "image_bytes": 2e9,
}  # fmt: skip


def test_the_command_says_it_and_takes_a_file(node: FakeNode, broadside: Said, tmp_path: Path) -> None:
    """Issue 25.2: `campaign forecast`, with the options of `fire` or a file."""
    node.forecast = FOUND
    code, out, _ = broadside("campaign", "forecast", "--title", "Storm", "--body", "Stay inside", "--country", "DE")
    assert code == 0
    assert "2,004,112 phones at once: about 14 s" in out
    assert "Each 100 bytes more make it 5 s longer." in out
    assert "900 opens a second" in out
    file = tmp_path / "storm.json"
    file.write_text(json.dumps({"message": {"title": "Storm"}, "kind": "breaking"}))
    assert broadside("campaign", "forecast", str(file), "--json")[0] == 0
    assert [each["message"]["title"] for each in node.fired] == ["Storm", "Storm"]
    assert node.fired[0]["audience"]["countries"] == ["DE"]
    code, _, err = broadside("campaign", "forecast", str(file), "--title", "Storm")
    assert code == 2
    assert "leave the options out" in err
    node.forecast = {**FOUND, "channels": {"ios": {**FOUND, "rate": 0.0, "seconds": None}}}
    assert broadside("campaign", "forecast", str(file))[0] == 1, "a channel sends nothing now"
