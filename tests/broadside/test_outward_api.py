"""The API about the newsroom's other systems: who may ask, what is refused in which words, and what the audit has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from broadside.config.outward_tables import HerdConfig, Hook
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from broadside.outward.outward import Outward
from campaigns.herd import Herd
from campaigns.identity import parse_campaign
from storage.link import Link
from storage.store import Store
from tests.broadside.api_parts import api_of
from tests.broadside.outward_server import OutwardServer
from tests.broadside.test_fire_once import BODY, NOW, newsroom, phones
from tests.storage.test_walk_verbs import House

pytestmark = pytest.mark.tarantool
OURS = HerdConfig(rate=500.0, ramp="10s", posted=True, target=0.8)


def desk(link: Link, herd: HerdConfig, hooks: tuple[Hook, ...] = ()) -> Newsroom:
    made = newsroom(link, lambda: NOW)
    made.outward = Outward(Store(link), "n1", herd=herd, hooks=hooks, clock=lambda: NOW)
    return made


def client(link: Link, made: Newsroom) -> httpx.AsyncClient:
    app = api_of(made, Ring(store=Store(link), node="n1"), link, "k").app()
    headers = {"authorization": "Bearer k"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://node", headers=headers, timeout=30
    )


@pytest.fixture
async def api(own_link: Link) -> AsyncIterator[httpx.AsyncClient]:
    await House(own_link).join()
    await phones(Store(own_link))
    async with client(own_link, desk(own_link, OURS)) as client_:
        yield client_


async def fire(api: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await api.post("/v1/campaigns", json={**BODY, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_word_of_the_editor_wins_over_the_newsroom_s(api: httpx.AsyncClient, own_link: Link) -> None:
    usual = await fire(api)
    assert (usual["herd"]["rate"], usual["herd"]["ramp"], usual["herd"]["governed"]) == (500, 10, True)
    given = await fire(api, rate=20.0, ramp_seconds=0, message={"title": "other", "body": "words"})
    assert (given["herd"]["rate"], given["herd"]["ramp"]) == (20, 0)
    free = await fire(api, rate=0, message={"title": "third", "body": "text"})
    assert free["herd"] is None
    campaign = await Store(own_link).campaign_get(parse_campaign(given["id"]))
    assert campaign is not None
    assert campaign.policy["page_size"] == 1000, "a page is put as a hundred batches at most"
    assert campaign.batch == 10


async def test_a_rate_that_cannot_reach_everybody_in_time_says_how_many_get_nothing(api: httpx.AsyncClient) -> None:
    fired = await fire(api, rate=1, ramp_seconds=0, ttl_seconds=60)
    assert any(
        "at 1 people a second it takes 100 s" in note and "about 40 get nothing" in note for note in fired["notes"]
    )


async def test_a_person_changes_the_rate_and_the_audit_says_who(api: httpx.AsyncClient) -> None:
    id = (await fire(api))["id"]
    changed = await api.post(f"/v1/campaigns/{id}/rate", json={"rate": 40})
    assert (changed.status_code, changed.json()["herd"]["rate"]) == (200, 40)
    free = (await fire(api, rate=0, message={"title": "third", "body": "text"}))["id"]
    refused = await api.post(f"/v1/campaigns/{free}/rate", json={"rate": 40})
    assert (refused.status_code, "without a rate" in refused.json()["detail"]) == (409, True)
    for rate in (0, -1, "fast", 1e9, None):
        assert (await api.post(f"/v1/campaigns/{id}/rate", json={"rate": rate})).status_code == 400
    assert (await api.post("/v1/campaigns/aaaaabcdefghi/rate", json={"rate": 40})).status_code == 404
    await api.post(f"/v1/campaigns/{id}/cancel")
    entries = (await api.get("/v1/audit")).json()["entries"]
    (rate,) = [entry for entry in entries if entry["action"] == "POST /v1/campaigns/{id}/rate"]
    assert (rate["about"], rate["detail"], rate["key"]) == (id, {"rate": 40}, "local:n1")
    fires = [entry["detail"] for entry in entries if entry["action"] == "POST /v1/campaigns"]
    assert {"rate": 0} in [{"rate": each.get("rate")} for each in fires], "no limit is a deliberate word"


async def test_a_load_is_kept_if_it_is_heeded_and_never_fills_the_audit(api: httpx.AsyncClient, own_link: Link) -> None:
    assert (await api.post("/v1/load", json={"load": 0.62})).json() == {"load": 0.62}
    assert (await Store(own_link).herd.state()).posted == 0.62
    for load in (-0.1, 3, "high", None):
        assert (await api.post("/v1/load", json={"load": load})).status_code == 400
    assert all("load" not in entry["action"] for entry in (await api.get("/v1/audit")).json()["entries"])
    async with client(own_link, desk(own_link, HerdConfig())) as other:
        refused = (await other.post("/v1/load", json={"load": 0.5})).json()
        assert (refused["status"], refused["field"]) == (400, "load")
        assert "posted = true" in refused["remedy"]


@pytest.mark.parametrize(
    ("role", "load", "feed", "herd", "rate"),
    [("viewer", 403, 403, 200, 403), ("app", 200, 200, 403, 403), ("editor", 403, 403, 200, 404)],
)
async def test_each_role_may_do_its_own(
    api: httpx.AsyncClient, role: str, load: int, feed: int, herd: int, rate: int
) -> None:
    made = (await api.post("/v1/keys", json={"name": role, "role": role})).json()
    mine = {"authorization": f"Bearer {made['key']}"}
    assert (await api.post("/v1/load", json={"load": 0.1}, headers=mine)).status_code == load
    assert (await api.get("/v1/feed", headers=mine)).status_code == feed
    assert (await api.get("/v1/herd", headers=mine)).status_code == herd
    asked = await api.post("/v1/campaigns/aaaaabcdefghi/rate", json={"rate": 1}, headers=mine)
    assert asked.status_code == rate
    for path in ("/v1/feed", "/v1/herd", "/v1/webhooks"):
        assert (await api.get(path, headers={"authorization": ""})).status_code == 401


async def test_the_feed_is_lines_of_json_behind_a_cursor(api: httpx.AsyncClient, own_link: Link) -> None:
    await Store(own_link).subscribers_put(
        [["ios", f"new-{n}", "token", 1, "", "", "", "", "", None, [], {}, f"token-{n}"] for n in range(5)]
    )
    answer = await api.get("/v1/feed?limit=3")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [msgspec.json.decode(line) for line in answer.content.splitlines()]
    assert [(line["kind"], line["token"], line["new_token"]) for line in lines] == [
        ("replaced", f"token-{n}", f"new-{n}") for n in range(3)
    ]
    rest = (await api.get(f"/v1/feed?cursor={lines[-1]['cursor']}")).content.splitlines()
    assert len(rest) == 2
    last = msgspec.json.decode(rest[-1])["cursor"]
    assert (await api.get(f"/v1/feed?cursor={last}")).content == b""
    refused = await api.get("/v1/feed?cursor=x")
    assert (refused.status_code, refused.json()["field"]) == (400, "cursor")
    assert (await api.get("/v1/feed?limit=0")).status_code == 400


async def test_a_fire_waits_for_its_hooks_no_longer_than_they_may_take_and_says_what_they_said(own_link: Link) -> None:
    """Issue 25.3: whatever stalls, the news goes out."""
    await House(own_link).join()
    await phones(Store(own_link))
    server = OutwardServer()
    server.stall = 3.0
    hooks = (Hook(name="purge", url=f"{server.url}/p", within=0.4), Hook(name="gone", url="http://127.0.0.1:9/"))
    try:
        async with client(own_link, desk(own_link, HerdConfig(), hooks)) as api:
            fired = await fire(api)
            assert fired["state"] == "firing"
            assert any("hook purge" in note and "within 0.4 s" in note for note in fired["notes"])
            assert any("hook gone" in note and "fired without it" in note for note in fired["notes"])
            later = await fire(api, when="2027-03-01T00:00:00Z", message={"title": "x", "body": "y"})
            assert later["state"] == "scheduled"
            assert not any("hook" in note for note in later["notes"]), "they run when it starts"
    finally:
        server.end()


async def test_a_correction_s_second_walk_keeps_the_rate_of_its_campaign(own_link: Link) -> None:
    """Issue 25.3: whoever opens the corrected news opens it on the same site."""
    await House(own_link).join()
    async with client(own_link, desk(own_link, OURS)) as api:
        first = await fire(api, rate=20.0, ramp_seconds=3)
        assert first["state"] == "done", "the base is empty"
        answer = await api.post(f"/v1/campaigns/{first['id']}/correct", json={"message": {"title": "new", "body": "b"}})
        assert answer.status_code == 200, answer.text
        store = Store(own_link)
        campaign = await store.campaign_get(parse_campaign(first["id"]))
        assert campaign is not None
        assert campaign.correction is not None
        second = await store.campaign_get(campaign.correction)
        assert second is not None
        assert second.herd == campaign.herd == Herd(rate=20.0, ramp=3.0, governed=True)
        assert second.batch == campaign.batch
