"""Drafts: what editors have written and not fired is kept, is shared, is never overwritten unseen, and fires once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from broadside.api.campaign_report import FireRequest
from broadside.api.idempotency import digest
from broadside.newsroom import draft_desk
from campaigns.message import Message
from storage.drafts import OWNER, DraftStore
from storage.link import Link
from storage.records import Once
from storage.store import Store
from tests.broadside.test_fire_once import NOW, client, phones

ID, OTHER = "k7r2m5qpx4n3a", "aaaaaaaaaaaa2"
STORM = {"message": {"title": "Storm", "body": "Stay inside"}}


class Days:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def days() -> Days:
    return Days()


@pytest.fixture
async def api(own_link: Link, days: Days) -> AsyncIterator[httpx.AsyncClient]:
    await phones(Store(own_link))
    async with client(own_link, clock=days) as client_:
        yield client_


async def editor(api: httpx.AsyncClient, own_link: Link, days: Days, name: str) -> httpx.AsyncClient:
    """Another editor, at another node of the ring."""
    made = await api.post("/v1/keys", json={"name": name, "role": "editor"})
    other = client(own_link, clock=days)
    other.headers["authorization"] = f"Bearer {made.json()['key']}"
    return other


async def save(api: httpx.AsyncClient, version: int, request: Any = STORM, id: str = ID) -> httpx.Response:
    return await api.post(f"/v1/drafts/{id}", json={"version": version, "request": request})


def given(answer: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json()["request"].items() if value is not None}


async def fire(api: httpx.AsyncClient, version: int, request: Any = STORM, **headers: str) -> httpx.Response:
    body = {**request, "from_draft": {"id": ID, "version": version}}
    return await api.post("/v1/campaigns", json=body, headers=headers)


async def campaigns(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    return list((await api.get("/v1/campaigns")).json()["items"])


async def test_a_draft_without_a_title_is_kept_and_any_editor_goes_on_with_it_at_any_node(
    api: httpx.AsyncClient, own_link: Link, days: Days
) -> None:
    """I23.1: drafts keep themselves."""
    half = {"message": {"url": "not yet a link"}, "audience": {"tags": {"any": ["sport"]}}}
    first = await save(api, 0, half)
    assert first.status_code == 200, first.text
    assert (first.json()["version"], given(first)) == (1, half)
    async with await editor(api, own_link, days, "Bo") as bo:
        assert (await bo.get(f"/v1/drafts/{ID}")).json() == first.json()
        days.now += 60_000
        again = await save(bo, 1)
    assert again.json()["version"] == 2
    (line,) = (await api.get("/v1/drafts")).json()["items"]
    assert (line["title"], line["changed_by"], line["changed_at"]) == ("Storm", "Bo", NOW + 60_000)


async def test_a_change_to_an_old_version_is_refused_and_the_answer_says_who_changed_the_draft_and_when(
    api: httpx.AsyncClient, own_link: Link, days: Days
) -> None:
    """I23.1: two editors at once."""
    await save(api, 0)
    async with await editor(api, own_link, days, "Bo") as bo:
        theirs = {"message": {"title": "Storm is over"}}
        assert (await save(bo, 1, theirs)).status_code == 200
    refused = await save(api, 1, {"message": {"title": "Storm!"}})
    assert refused.status_code == 409
    told = refused.json()
    assert "Bo changed this draft at 2027-01-15 08:00" in told["detail"]
    assert (told["field"], told["value"]) == ("version", "1")
    assert told["remedy"]
    assert given(await api.get(f"/v1/drafts/{ID}")) == theirs, "nothing was overwritten"
    late = await fire(api, 1)
    assert (late.status_code, late.json()["field"]) == (409, "version")
    assert await campaigns(api) == [], "nobody fires over a change that they have not seen"


async def test_the_repeat_of_a_change_whose_answer_was_lost_changes_nothing(api: httpx.AsyncClient) -> None:
    first, again = await save(api, 0), await save(api, 0)
    assert first.json() == again.json()
    assert (await save(api, 1, {"message": {"title": "b"}})).json()["version"] == 2
    assert (await save(api, 1, {"message": {"title": "b"}})).json()["version"] == 2


async def test_a_draft_is_fired_once_whatever_the_idempotency_key(api: httpx.AsyncClient) -> None:
    """I23.1: a double click, a retry and a second tab are one campaign."""
    await save(api, 0)
    answers = [await fire(api, 1), await fire(api, 1, **{"idempotency-key": "x"}), await fire(api, 1)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == len(await campaigns(api)) == 1
    id = answers[0].json()["id"]
    assert (await api.get(f"/v1/drafts/{ID}")).json()["campaign"] == id
    assert (await api.get("/v1/drafts")).json()["items"] == [], "it is a campaign now"
    other = await fire(api, 1, {"message": {"title": "Another"}})
    assert other.status_code == 409
    assert (other.json()["campaign"], other.json()["fired"]) == (id, "no")
    assert f"fired already, as campaign {id}, with another message.body, message.title" in other.json()["detail"]
    changed = await save(api, 1, {"message": {"title": "Another"}})
    assert (changed.status_code, changed.json()["campaign"]) == (409, id)


async def test_a_draft_is_checked_in_full_when_it_is_fired(api: httpx.AsyncClient) -> None:
    bad = {"message": {"title": "t", "url": "not a link"}}
    assert (await save(api, 0, bad)).status_code == 200
    refused = await fire(api, 1, bad)
    assert (refused.status_code, refused.json()["field"]) == (400, "message.url")
    assert (await save(api, 1)).status_code == 200, "it is a draft still"
    assert (await fire(api, 2)).status_code == 201


async def test_a_draft_whose_fire_failed_halfway_can_be_changed_and_fired(
    api: httpx.AsyncClient, own_link: Link
) -> None:
    await save(api, 0)
    # what a Fire leaves whose second call was refused: a campaign that was made under the draft's key, and not fired
    message = Message(title="Storm", body="Stay inside")
    once = Once(OWNER, ID, digest(FireRequest(message=message)))
    await Store(own_link).campaign_create(5, message, None, {"ttl_ms": 1000}, NOW, once)
    assert [each["state"] for each in await campaigns(api)] == ["draft"]
    assert (await api.get(f"/v1/drafts/{ID}")).json()["campaign"] is None
    shorter = {"message": {"title": "S"}}
    assert (await save(api, 1, shorter)).json()["version"] == 2
    fired = await fire(api, 2, shorter)
    assert (fired.status_code, fired.json()["message"]["title"]) == (201, "S")
    assert [each["id"] for each in await campaigns(api)] == [fired.json()["id"]]


async def test_post_campaigns_with_draft_only_keeps_it_once_for_each_key(api: httpx.AsyncClient) -> None:
    """I23.1: the route of the design, for programs."""
    body = {**STORM, "draft": True}
    first = await api.post("/v1/campaigns", json=body, headers={"idempotency-key": "k1"})
    again = await api.post("/v1/campaigns", json=body, headers={"idempotency-key": "k1"})
    other = await api.post("/v1/campaigns", json=body)
    assert [each.status_code for each in (first, again, other)] == [202, 202, 202], first.text
    assert first.json() == again.json()
    assert len((await api.get("/v1/drafts")).json()["items"]) == 2
    assert given(first) == STORM
    assert await campaigns(api) == []
    both = await api.post("/v1/campaigns", json={**body, "dry_run": True})
    assert (both.status_code, both.json()["field"]) == (400, "draft")


async def test_a_draft_leaves_four_weeks_after_its_last_change(api: httpx.AsyncClient, days: Days) -> None:
    await save(api, 0)
    days.now += draft_desk.KEEP - 1
    assert (await api.get(f"/v1/drafts/{ID}")).json()["expires_at"] == days.now + 1
    days.now += 1
    gone = await api.get(f"/v1/drafts/{ID}")
    assert (gone.status_code, gone.json()["field"]) == (404, "draft_id")
    assert (await api.get("/v1/drafts")).json()["items"] == []
    assert (await save(api, 1)).status_code == 404
    assert (await fire(api, 1)).status_code == 404
    assert (await save(api, 0, id=OTHER)).status_code == 200, "and the store has let it go"


async def test_the_number_and_the_size_of_drafts_are_bounded(api: httpx.AsyncClient, own_link: Link) -> None:
    store = DraftStore(own_link)
    for n in range(500):
        await store.save(f"{n}", 0, "t", "{}", "a", NOW)
    full = await save(api, 0)
    assert full.status_code == 409
    assert "delete some" in full.json()["remedy"]
    assert (await api.delete(f"/v1/drafts/{ID}")).json() == {"removed": False}
    await store.delete("7")
    assert (await save(api, 0)).status_code == 200
    large = {"message": {}, "audience": {"subscribers": ["x" * 100] * 1000}}
    refused = await save(api, 1, large)
    assert (refused.status_code, refused.json()["field"]) == (400, "request")
    first = (await api.get("/v1/drafts", params={"limit": 100})).json()
    seen = [each["id"] for each in first["items"]]
    while first["next"]:
        first = (await api.get("/v1/drafts", params={"limit": 100, "cursor": first["next"]})).json()
        seen += [each["id"] for each in first["items"]]
    assert len(seen) == len(set(seen)) == 500


async def test_a_draft_is_deleted_and_others_are_told(api: httpx.AsyncClient) -> None:
    await save(api, 0)
    assert (await api.delete(f"/v1/drafts/{ID}")).json() == {"removed": True}
    assert (await save(api, 1)).status_code == 404
    wrong = await api.get("/v1/drafts/nope")
    assert (wrong.status_code, wrong.json()["field"]) == (400, "draft_id")
    entries = (await api.get("/v1/audit")).json()["entries"]
    assert [each["about"] for each in entries if each["action"].startswith("DELETE")] == [ID]


async def test_an_editor_can_choose_among_kinds_channels_and_what_the_base_has(
    api: httpx.AsyncClient, own_link: Link
) -> None:
    """I23.1: what the compose page offers."""
    rows = [
        ("ios", f"b{n}", "token", 1, "pt-BR", "America/Sao_Paulo", "BR", "", "", None, ["sport"], {}) for n in range(9)
    ]
    await Store(own_link).subscribers_put([*rows, ("ios", "c", "token", 1, "de", "", "", "", "", None, [], {})])
    known = (await api.get("/v1/audience/attributes")).json()
    assert known == {
        "locales": ["pt-BR", "de"], "countries": ["BR"], "zones": ["America/Sao_Paulo"], "tags": ["sport"]
    }  # fmt: skip
    about = (await api.get("/v1/newsroom")).json()
    assert about["now"] == NOW
    assert about["kinds"]["breaking"]["lane"] == "upper"
    assert about["kinds"]["digest"]["ttl_seconds"] == 12 * 3600
