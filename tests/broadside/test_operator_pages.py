"""The operator's panel over the API, without a browser: tests/browser has the rest."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx
import msgspec
import pytest

from broadside.api.alarm import AlarmName
from broadside.api.node_status import TubeStatus
from broadside.api.ring_state import ActorState, ChannelFlow, NodeState, write_state
from broadside.console.host_names import HostNames
from broadside.newsroom.ring import Ring
from broadside.pages.pages import Pages
from broadside.pages.runbooks import runbook
from campaigns.clock import wall_clock
from storage.link import Link
from tests.broadside.api_parts import api_of
from tests.broadside.test_access import OWN
from tests.broadside.test_api import KEY, newsroom_over
from tests.broadside.test_pages import reader
from tests.storage.test_channel_states import state
from tests.storage.test_walk_verbs import House

HOUR = 3_600_000
EVIL = "ValueError: <script>alert(1)</script>"
CRASHED = NodeState(
    version="0.9",
    tree=ActorState(
        id="n2",
        children=[
            ActorState(
                id="worker-1",
                children=[
                    ActorState(id="channel:ios", state="parked", crash=EVIL, crashed_at=1_795_906_800_000),
                    ActorState(id="channel:android"),
                ],
            )
        ],
    ),
    channels=[ChannelFlow(channel="ios", platform="apns", breaker="open", connections=1, wanted=2, p99=0.31)],
)


class Lab:
    """A ring of two: this node, with one batch buried, and n2, which was last heard an hour ago."""

    def __init__(self, link: Link) -> None:
        self.house = House(link)
        newsroom = newsroom_over(link)

        async def own() -> NodeState:
            queue = msgspec.convert(await self.house.tubes.statistics(), TubeStatus)
            return NodeState(version="1.0", ready=True, tree=ActorState(id="n1"), queue=queue)

        ring = Ring(store=self.house.store, node="n1", own=own)
        api = api_of(newsroom, ring, link, KEY).app()
        transport = httpx.ASGITransport(app=Pages(api, HostNames(["node"])))
        self.web = httpx.AsyncClient(transport=transport, base_url="http://node")

    async def begin(self) -> None:
        house, store = self.house, self.house.store
        epoch = await house.join()
        await store.node_renew("n1", epoch, wall_clock(), [], [])
        other = await store.node_join("n2", "uuid-n2", 0, wall_clock(), ["ios"])
        assert other is not None
        hour_ago = wall_clock() - HOUR
        await store.node_renew("n2", other, hour_ago, [], [state("ios")], write_state(CRASHED))
        await house.subscribers(4)
        await house.fire()
        await house.walk_page()
        (task,) = await house.batches("ios")
        await house.tubes.batch_bury("ios", task.id, task.number, "ValueError: <b>a defect</b>")


@pytest.fixture
async def lab(own_link: Link) -> AsyncIterator[Lab]:
    lab = Lab(own_link)
    await lab.begin()
    async with lab.web:
        yield lab


def words(html: str) -> str:
    """The text of a page as a person reads it."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


async def test_the_panel_shows_every_node_in_words_from_any_node(lab: Lab) -> None:
    """Issue 23.2, CONSOLE §3: what is wrong, each node, its channels, its tree, its tubes, memory, campaigns."""
    read, _ = await reader(lab.web, "operator")
    html = (await lab.web.get("/operator", headers=read)).text
    text = words(html)
    assert "n2 was last seen 3,600 s ago" in text, "everything wrong is in one list"
    assert "broadside peers forget n2" in text, "with its remedy"
    assert 'href="/operator/runbooks/peer-away"' in html
    assert "away: no heartbeat for 15 s" in text, "a state is said in words, not by colour alone"
    assert "as it was at its last word" in text
    assert "channel:ios parked: crashes too often" in text
    assert EVIL in text, "the last crash in words"
    assert "<script>alert" not in html
    assert "refused: nothing is sent" in text
    assert "1 of 2" in text, "connections"
    assert "310 ms" in text
    assert "store" in text
    assert 'href="/operator/tubes/ios"' in html
    assert "Campaigns by size" in text
    for part in ("wrong", "ring", "campaigns"):
        found = (await lab.web.get(f"/operator/{part}", headers={**read, "hx-request": "true"})).text
        assert found.strip() in html or part != "campaigns", "a part is what the page has in its place"
        assert "<html" not in found


async def test_a_viewer_sees_the_panel_and_no_button_and_no_keys(lab: Lab) -> None:
    """Issue 23."""
    viewer, change = await reader(lab.web, "viewer")
    for path in ("/operator", "/operator/tubes/ios", "/operator/refused"):
        html = (await lab.web.get(path, headers=viewer)).raise_for_status().text
        assert "hx-post" not in html, path
    for path in ("/operator/keys", "/operator/audit"):
        assert (await lab.web.get(path, headers=viewer)).status_code == 403
    for path in ("/operator/tubes/ios/kick", "/operator/tubes/ios/end", "/operator/nodes/n2/forget"):
        assert (await lab.web.post(path, headers=change)).status_code == 403
    assert len(await lab.house.tubes.tube_buried("ios", 9)) == 1


async def test_buried_batches_are_sent_again_or_ended_and_the_audit_says_who(lab: Lab) -> None:
    """Issue 23."""
    read, change = await reader(lab.web, "operator")
    html = (await lab.web.get("/operator/tubes/ios", headers=read)).text
    assert "ValueError: <b>a defect</b>" in words(html)
    assert "<b>a defect" not in html
    again = await lab.web.post("/operator/tubes/ios/kick", headers=change)
    assert "1 batch is back on the tube." in words(again.text)
    assert "No batch of ios is buried" in words(again.text)
    (task,) = await lab.house.batches("ios")
    await lab.house.tubes.batch_bury("ios", task.id, task.number, "again")
    ended = await lab.web.post("/operator/tubes/ios/end", headers=change)
    assert "1 batch is ended; 2 recipients are rejected." in words(ended.text)
    audit = words((await lab.web.get("/operator/audit", headers=read)).text)
    for act in ("kick", "end"):
        assert f"POST /v1/tubes/{{channel}}/{act} ios" in audit


async def test_a_lost_node_is_forgotten_by_a_button(lab: Lab) -> None:
    """Issue 23: there is none for a node that lives."""
    read, change = await reader(lab.web, "operator")
    html = (await lab.web.get("/operator", headers=read)).text
    assert re.findall(r'hx-post="/operator/nodes/([^/]*)/forget"', html) == ["n2"]
    assert 'hx-confirm="Is the server of n2 lost' in html
    done = await lab.web.post("/operator/nodes/n2/forget", headers=change)
    assert "n2 is fenced" in words(done.text)
    assert "forgotten; its last lease still runs" in words(done.text)


async def test_a_key_is_made_shown_once_and_revoked(lab: Lab) -> None:
    """Issue 23."""
    read, change = await reader(lab.web, "operator")
    form = {"once": "o1", "name": "Bo <i>", "role": "editor", "channels": "ios, android", "kinds": "", "days": "30"}
    made = (await lab.web.post("/operator/keys/add", headers=change, data=form)).raise_for_status().text
    secret = re.search(r'class="secret">([^<]+)<', made)
    assert secret is not None
    bearer = {"authorization": f"Bearer {secret[1]}"}
    assert (await lab.web.get("/v1/session", headers=bearer)).json()["role"] == "editor"
    again = (await lab.web.post("/operator/keys/add", headers=change, data=form)).text
    assert secret[1] in again, "a second press makes no second key"
    listed = (await lab.web.get("/operator/keys", headers=read)).text
    assert secret[1] not in listed
    assert words(listed).count("Bo <i>") >= 1
    assert "ios, android; all kinds" in words(listed)
    id = secret[1].split("_")[1]
    assert listed.count(f'data-key="{id}"') == 1
    gone = (await lab.web.post(f"/operator/keys/{id}/revoke", headers=change)).text
    assert "is revoked" in words(gone)
    assert (await lab.web.get("/v1/session", headers=bearer)).status_code == 401


@pytest.mark.parametrize(("field", "value"), [("name", ""), ("role", "boss"), ("days", "soon"), ("most", "0")])
async def test_a_wrong_key_form_is_refused_by_its_fields_name(lab: Lab, field: str, value: str) -> None:
    """Issue 23."""
    _, change = await reader(lab.web, "operator")
    form = {"name": "Bo", "role": "viewer"} | {field: value}
    answer = await lab.web.post("/operator/keys/add", headers=change, data=form)
    assert answer.status_code == 400
    assert field in words(answer.text).lower().partition(":")[0]
    assert "Bo" not in {each["name"] for each in (await lab.web.get("/v1/keys", headers=OWN)).json()["keys"]}


def test_every_alarm_has_a_runbook_that_a_browser_can_show() -> None:
    """Issue 23: from each alarm one link leads to what it means."""
    for name in AlarmName:
        found = runbook(name.value)
        assert found is not None, name
        assert found.title
        text = re.sub(r"<(pre|code)>.*?</\1>", "", found.text, flags=re.DOTALL)
        assert not re.search(r"\*|`|\]\(|^#|\|", text, re.MULTILINE), name
        assert set(re.findall(r"</?([a-z]+)", found.text)) <= {"p", "ul", "li", "strong", "em", "code", "pre"}
    assert runbook("../security") is None
    assert runbook("no-such-alarm") is None
