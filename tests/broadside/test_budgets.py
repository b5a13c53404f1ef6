"""Budgets: how many of an audience had enough of a kind of news today is said before Fire, and needs a yes."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from broadside.config.config import load
from broadside.errors import ConfigError
from broadside.newsroom import audience_desk
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.firing import new_id
from broadside.newsroom.guards.budgets import DAY, day_began
from campaigns.drill import DRILL, drill_channel
from campaigns.guards import NO_GUARDS
from campaigns.kind import BUILT_IN, Kind
from campaigns.message import Message
from storage.link import Link
from storage.store import Store
from tests.broadside.guard_parts import NOW, client_of, guarded, phones
from transports.errors import TransportError

KINDS = {**BUILT_IN, "sport": Kind(budget=2), "news": Kind(budget=2)}


def api_of(link: Link, clock: Any = lambda: NOW, **more: Any) -> httpx.AsyncClient:
    return client_of(link, guarded(link, NO_GUARDS, clock, kinds=KINDS, **more))


def unopened(channel: str) -> Any:
    raise TransportError("no credentials")


async def fire(api: httpx.AsyncClient, kind: str = "sport", **more: Any) -> httpx.Response:
    return await api.post("/v1/campaigns", json={"message": {"title": "t", "body": "b"}, "kind": kind, **more})


async def test_the_third_of_a_kind_a_day_is_refused_with_how_many_had_two(own_link: Link) -> None:
    await phones(Store(own_link), 300)
    async with api_of(own_link, dry_run=DryRun(platforms={"ios": "apns"}, open=unopened)) as api:
        assert (await fire(api)).status_code == 201
        assert (await fire(api, audience={"subscribers": list(range(1, 101))})).status_code == 201
        error = (await fire(api)).json()
        assert (error["status"], error["confirm"], error["field"], error["value"]) == (
            409,
            "over_budget",
            "kind",
            "sport",
        )
        assert error["detail"].startswith(
            "kind: 100 of 300 phones had 2 or more of the kind sport in the last 24 hours, which is its budget"
        )
        assert (await fire(api, "news")).status_code == 201, "another kind has a budget of its own"
        assert (await fire(api, audience={"subscribers": list(range(101, 301))})).status_code == 201, "they had one"
        dry = (await api.post("/v1/campaigns", json={
            "message": {"title": "t"}, "kind": "sport", "dry_run": True, "channels": ["ios"]
        })).json()  # fmt: skip
        assert dry["notes"] == [
            "300 of 300 phones had 2 or more of the kind sport in the last 24 hours, which is its budget"
        ]
        assert (await fire(api, over_budget=True)).status_code == 201
        entries = (await api.get("/v1/audit")).json()["entries"]
        assert entries[0]["detail"]["over_budget"] is True


async def test_shares_tags_channels_and_what_was_not_walked_count_as_they_were(own_link: Link) -> None:
    store = Store(own_link)
    rows = [
        (("ios", "android")[n % 2], f"t{n}", "token", 1, "", "", "", "", "", None, ["red"] if n < 40 else [], {})
        for n in range(200)
    ]
    await store.subscribers_put(rows)
    async with api_of(own_link) as api:
        first = (await fire(api, audience={"share": 0.5}, channels=["ios"])).json()["id"]
        await fire(api, audience={"tags": {"any": ["red"]}})
        both = sum(row.channel == "ios" and "red" in row.tags for row in await store.subscribers_page(0, 1000))
        count = (await api.post("/v1/audience/count", json={
            "audience": {"share": 0.5, "share_salt": first, "channels": ["ios"], "tags": {"any": ["red"]}}
        })).json()["subscribers"]  # fmt: skip
        assert 0 < count < both
        error = (await fire(api)).json()
        assert error["detail"].startswith(f"kind: {count} of 200 phones had 2 or more"), error
        stopped = (await fire(api, over_budget=True, channels=["android"])).json()["id"]
        await api.post(f"/v1/campaigns/{stopped}/cancel")
        same = (await fire(api)).json()
        assert same["status"] == 409


async def test_a_cancelled_campaign_counts_only_as_far_as_it_was_walked(own_link: Link) -> None:
    from tests.broadside.test_canary import Birds

    birds = Birds(own_link)
    await birds.join()
    await birds.subscribers(400)
    async with api_of(own_link) as api:
        ids = [(await fire(api, over_budget=True)).json()["id"] for _ in range(2)]
        for id in ids:
            await api.post(f"/v1/campaigns/{id}/cancel")
        for _ in range(20):
            standing = await birds.tubes.standing()
            await birds.store.node_renew("n1", birds.epoch, NOW, standing.still)
            lease = await birds.store.node_renew("n1", birds.epoch, NOW, standing.still)
            assert lease is not None
            await birds.tubes.renew(birds.epoch, lease, standing.asked)
            await birds.report()
        states = [line["state"] for line in (await api.get("/v1/campaigns")).json()["items"]]
        assert states == ["cancelled", "cancelled"]
        assert (await fire(api)).status_code == 201, "nobody had one"


async def test_an_estimate_says_its_error_and_the_truth_lies_in_it(
    own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_desk, "SMALL", 100)
    monkeypatch.setattr(audience_desk, "DRAWS", 2000)
    await phones(Store(own_link), 5000)
    async with api_of(own_link) as api:
        await fire(api)
        first = (await fire(api, audience={"share": 0.3})).json()["id"]
        truth = (await api.post("/v1/audience/count", json={
            "audience": {"share": 0.3, "share_salt": first}, "exact": True
        })).json()["subscribers"]  # fmt: skip
        said = (await fire(api)).json()["detail"]
        number, error = (int(part.replace(",", "")) for part in said.split("kind: ")[1].split(" (")[0].split(" ± "))
        assert "(95 %) of 5,000 phones" in said
        assert 0 < error < 200
        assert abs(number - truth) < 2 * error


async def test_a_day_ends(own_link: Link) -> None:
    now = NOW
    await phones(Store(own_link))
    async with api_of(own_link, lambda: now) as api:
        for _ in range(2):
            assert (await fire(api)).status_code == 201
        assert (await fire(api)).status_code == 409
        now += DAY + 1
        assert (await fire(api)).status_code == 201


async def test_an_armed_campaign_is_asked_when_it_is_fired(own_link: Link) -> None:
    await phones(Store(own_link))
    async with api_of(own_link) as api:
        id = (await fire(api, arm=True)).json()["id"]
        for _ in range(2):
            await fire(api, over_budget=True)
        refused = (await api.post(f"/v1/campaigns/{id}/fire", json={})).json()
        assert (refused["status"], refused["confirm"]) == (409, "over_budget")
        assert (await api.post(f"/v1/campaigns/{id}/fire", json={"over_budget": True})).json()["state"] == "firing"


async def test_without_a_budget_nobody_counts(own_link: Link) -> None:
    await phones(Store(own_link))
    async with api_of(own_link) as api:
        assert {(await fire(api, "breaking")).status_code for _ in range(4)} == {201}


def test_a_newsrooms_day_begins_at_its_midnight() -> None:
    zone = ZoneInfo("Europe/Vienna")
    for text in ("2026-11-29T00:00", "2026-11-29T23:59", "2026-10-25T02:30", "2026-03-29T03:00"):
        at = datetime.fromisoformat(text).replace(tzinfo=zone)
        began = datetime.fromtimestamp(day_began(int(at.timestamp() * 1000), "Europe/Vienna") / 1000, zone)
        assert (began.date(), began.hour, began.minute) == (at.date(), 0, 0)
    assert day_began(NOW, None) == NOW - DAY


def test_a_budget_is_a_number_of_campaigns(tmp_path: Any) -> None:
    file = tmp_path / "broadside.toml"
    channel = '[channels.ios]\nplatform = "apns"\napp = "com.example"\ntwin = true\n'
    file.write_text(channel + "[kinds.sport]\nbudget = 5\n")
    assert load(file).kinds["sport"].budget == 5
    assert load(file).kinds["news"].budget is None
    for text in ("0", "51", '"5"'):
        file.write_text(f"{channel}[kinds.sport]\nbudget = {text}\n")
        with pytest.raises(ConfigError, match=r"kinds\.sport\.budget"):
            load(file)


async def test_no_drill_is_news_that_a_phone_had_and_none_hides_what_it_had(own_link: Link) -> None:
    store = Store(own_link)
    await phones(store)

    async def drill(id: int) -> None:
        policy = {"page_size": 100, "ttl_ms": 60_000, "kind": DRILL, DRILL: {"by": "timer"}}
        await store.campaign_create(id, Message(title="t", body="b"), [drill_channel("ios")], policy, NOW)
        assert await store.campaign_fire(id, 2, NOW) is not None

    kinds = {**BUILT_IN, DRILL: Kind(budget=1)}  # a newsroom may call its news as it likes
    async with client_of(own_link, guarded(own_link, NO_GUARDS, kinds=kinds)) as api:
        await drill(new_id(NOW))
        assert (await fire(api, DRILL)).status_code == 201, "nobody heard of the drill"
        for n in range(50):
            await drill(new_id(NOW + 1 + n))
        again = await fire(api, DRILL)
        assert again.status_code == 409, "the newest fifty are drills"
        assert again.json()["detail"].startswith("kind: 100 of 100 phones had 1 or more of the kind drill")


async def test_a_channels_limit_counts_every_kind_and_only_its_own_phones(own_link: Link) -> None:
    store = Store(own_link)
    await phones(store, 300)
    await phones(store, 200, "android")
    dry_run = DryRun(platforms={"ios": "apns", "android": "fcm"}, open=unopened)
    async with api_of(own_link, dry_run=dry_run, daily_limits={"android": 2}) as api:
        assert (await fire(api, "breaking")).status_code == 201
        assert (await fire(api, "sport", channels=["android"])).status_code == 201
        error = (await fire(api, "breaking")).json()
        assert (error["status"], error["confirm"], error["field"], error["value"]) == (
            409,
            "over_budget",
            "channels",
            "android",
        )
        assert error["detail"].startswith(
            "channels: 200 of 200 phones had 2 or more on the channel android in the last 24 hours, which is its "
            "daily_limit"
        )
        assert (await fire(api, "breaking", channels=["ios"])).status_code == 201, "it has no limit"
        dry = (await api.post("/v1/campaigns", json={
            "message": {"title": "t"}, "kind": "breaking", "dry_run": True, "channels": ["android"]
        })).json()  # fmt: skip
        assert dry["notes"] == [
            "200 of 200 phones had 2 or more on the channel android in the last 24 hours, which is its daily_limit"
        ]
        assert (await fire(api, "breaking", over_budget=True)).status_code == 201
        entries = (await api.get("/v1/audit")).json()["entries"]
        assert entries[0]["detail"]["over_budget"] is True


async def test_a_preview_says_a_channels_limit(own_link: Link) -> None:
    dry_run = DryRun(platforms={"ios": "apns", "android": "fcm"}, open=unopened)
    async with api_of(own_link, dry_run=dry_run, daily_limits={"android": 2}) as api:
        seen = (await api.post("/v1/campaigns/preview", json={"message": {"title": "t"}})).json()["channels"]
        assert {name: each["daily_limit"] for name, each in seen.items()} == {"ios": None, "android": 2}


async def test_a_kinds_budget_and_a_channels_limit_are_said_together(own_link: Link) -> None:
    await phones(Store(own_link), 300)
    async with api_of(own_link, daily_limits={"ios": 2}) as api:
        for _ in range(2):
            assert (await fire(api)).status_code == 201
        detail = (await fire(api)).json()["detail"]
        assert "of the kind sport in the last 24 hours, which is its budget; 300 of 300 phones had" in detail
        assert "on the channel ios in the last 24 hours, which is its daily_limit" in detail


async def test_an_armed_campaign_without_a_kinds_budget_is_asked_for_its_channels_limit(own_link: Link) -> None:
    await phones(Store(own_link))
    async with api_of(own_link, daily_limits={"ios": 1}) as api:
        listed = {"subscribers": list(range(1, 11))}
        id = (await fire(api, "breaking", arm=True, audience=listed)).json()["id"]
        assert (await fire(api, "breaking", audience={"subscribers": [1, 2, 3]})).status_code == 201
        refused = (await api.post(f"/v1/campaigns/{id}/fire", json={})).json()
        assert (refused["status"], refused["confirm"]) == (409, "over_budget")
        assert refused["detail"].startswith("channels: 3 of 10 phones had 1 or more on the channel ios")
        assert (await api.post(f"/v1/campaigns/{id}/fire", json={"over_budget": True})).json()["state"] == "firing"


def test_a_channels_limit_is_a_number_of_campaigns(tmp_path: Any) -> None:
    file = tmp_path / "broadside.toml"
    channel = '[channels.ios]\nplatform = "apns"\napp = "com.example"\ntwin = true\n'
    file.write_text(f"{channel}daily_limit = 5\n")
    assert load(file).channels["ios"].daily_limit == 5
    for text in ("0", "51", '"5"'):
        file.write_text(f"{channel}daily_limit = {text}\n")
        with pytest.raises(ConfigError, match=r"channels\.ios\.daily_limit"):
            load(file)
