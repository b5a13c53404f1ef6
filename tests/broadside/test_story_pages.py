"""The pages of stories, over the API, without a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from broadside.console.host_names import HostNames
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from broadside.pages.pages import Pages
from campaigns.guards import Guards
from storage.link import Link
from storage.store import Store
from tests.broadside.api_parts import api_of
from tests.broadside.guard_parts import guarded, phones
from tests.broadside.test_access import KEY, OWN, made
from tests.broadside.test_pages import reader
from tests.broadside.test_stories import Apple

KICK_OFF = {"name": "Cup <final>", "channels": "ios", "state": '{"score": "0:0"}', "title": "Kick-off", "once": "o1"}


@pytest.fixture
def apple() -> Apple:
    return Apple()


@pytest.fixture
def newsroom(own_link: Link, apple: Apple) -> Newsroom:
    return guarded(own_link, Guards(), broadcasters={"ios": apple})


@pytest.fixture
async def api(own_link: Link, newsroom: Newsroom) -> AsyncIterator[httpx.AsyncClient]:
    await phones(Store(own_link))
    app = api_of(newsroom, Ring(store=Store(own_link), node="n1"), own_link, KEY).app()
    transport = httpx.ASGITransport(app=Pages(app, HostNames(["node"])))
    async with httpx.AsyncClient(transport=transport, base_url="http://node", timeout=30) as client:
        yield client


async def test_an_editor_opens_updates_and_ends_a_story_on_the_page(api: httpx.AsyncClient, apple: Apple) -> None:
    read, change = await reader(api, "editor")
    assert "No story yet" in (await api.get("/stories", headers=read)).text
    opened = await api.post("/stories/open", data=KICK_OFF, headers=change)
    assert opened.status_code == 204, opened.text
    path = opened.headers["hx-redirect"]
    page = (await api.get(path, headers=read)).text
    assert "Cup &lt;final&gt;" in page
    assert "ours-1" in page
    assert "&#34;score&#34;: &#34;0:0&#34;" in page, "the form begins with what the card shows"
    changed = await api.post(
        f"{path}/change",
        data={"state": '{"score": "1:0"}', "title": "Goal", "loud": "on", "act": "update"},
        headers=change,
    )
    assert changed.status_code == 204, changed.text
    ended = await api.post(f"{path}/change", data={"state": '{"score": "1:0"}', "act": "end"}, headers=change)
    assert ended.status_code == 204, ended.text
    assert [aps["event"] for _, aps, _ in apple.sent] == ["update", "update", "end"]
    assert apple.sent[1][1]["alert"] == {"title": "Goal"}
    page = (await api.get(path, headers=read)).text
    assert "The story is ending" in page
    assert "Next update" not in page
    assert path in (await api.get("/stories/part", headers=read)).text


async def test_what_cannot_be_shown_is_said_beside_what_was_written(api: httpx.AsyncClient, apple: Apple) -> None:
    read, change = await reader(api, "editor")
    for state, why in (("", "is empty"), ("{half", "state"), ('{"a": "' + "x" * 5200 + '"}', "which takes 5120")):
        refused = await api.post("/stories/open", data={**KICK_OFF, "state": state}, headers=change)
        assert refused.status_code == 400
        assert why in refused.text
        assert 'value="Cup &lt;final&gt;"' in refused.text, "nothing that was written is lost"
    assert apple.made == 0
    assert (await api.get("/stories/aaaaaaaaaaaah", headers=read)).status_code == 404


async def test_the_api_asks_for_an_editor_and_leaves_an_entry_in_the_audit(
    api: httpx.AsyncClient, apple: Apple, newsroom: Newsroom
) -> None:
    body = {"title": "Cup final", "channels": ["ios"], "change": {"state": {"score": "0:0"}}}
    keys = {role: (await made(api, role))[1] for role in ("viewer", "app", "editor")}
    _, small = await made(api, "editor", most=50)
    for role in ("viewer", "app"):
        assert (await api.post("/v1/stories", json=body, headers=keys[role])).status_code == 403
    refused = await api.post("/v1/stories", json=body, headers=small)
    assert (refused.status_code, refused.json()["field"]) == (400, "audience"), "100 phones are more than 50"
    assert apple.made == 0
    opened = await api.post("/v1/stories", json=body, headers=keys["editor"])
    assert opened.status_code == 201, opened.text
    id = opened.json()["id"]
    assert (await api.get(f"/v1/stories/{id}", headers=keys["app"])).status_code == 403
    assert (await api.get(f"/v1/stories/{id}", headers=keys["viewer"])).json()["state"] == "open"
    listed = (await api.get("/v1/stories?limit=1", headers=keys["viewer"])).json()
    assert [each["id"] for each in listed["items"]] == [id]
    wrong = await api.post(f"/v1/stories/{id}/update", json={"stat": {}}, headers=OWN)
    assert (wrong.status_code, "state" in wrong.text) == (400, True), "did you mean state?"
    await newsroom.story_keeper.count()
    figures = (await api.get("/metrics", headers=OWN)).text
    assert f'broadside_broadcast_channels{{place="{apple.place}"}} 2.0' in figures
    assert f'broadside_broadcast_channels_most{{place="{apple.place}"}} 10000.0' in figures
    entries = (await api.get("/v1/audit", headers=OWN)).json()["entries"]
    (entry,) = [each for each in entries if each["action"] == "POST /v1/stories"]
    assert (entry["name"], entry["about"], entry["detail"]["title"]) == ("editor", id, "Cup final")
