"""Armed campaigns and approvals: ready to go in one call, and to many phones not by one person alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import trio

from actors import scheduler
from actors.scheduler import Scheduler
from broadside.config.config import load
from broadside.errors import ConfigError
from broadside.newsroom.newsroom import Newsroom
from broadside.topology import Rehearsal
from campaigns.guards import Guards
from campaigns.message import Message
from storage.link import Endpoint, Link
from storage.store import Store
from tests.broadside.guard_parts import MINUTE, NOW, client_of, guarded, phones
from tests.conftest import Server, linked

NEWS = {"title": "She is elected", "body": "With 52 percent."}
ALONE = Guards(repeat=0)
TWO = Guards(repeat=0, approval_above=50, approval_for=3600)

Open = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def fire(api: httpx.AsyncClient, key: str | None = None, **more: Any) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await api.post("/v1/campaigns", json={"message": NEWS, **more}, headers=headers)


async def act(api: httpx.AsyncClient, id: str, verb: str, **body: Any) -> httpx.Response:
    return await api.post(f"/v1/campaigns/{id}/{verb}", json=body) if verb == "fire" else await api.post(
        f"/v1/campaigns/{id}/{verb}"
    )  # fmt: skip


async def people(stack: AsyncExitStack, link: Link, room: Newsroom) -> dict[str, httpx.AsyncClient]:
    """The node's own key, two editors and two approvers."""
    own = await stack.enter_async_context(client_of(link, room))
    found = {"node": own}
    for name, role in (("edith", "editor"), ("emil", "editor"), ("anna", "approver"), ("arno", "approver")):
        made = (await own.post("/v1/keys", json={"name": name, "role": role})).json()
        found[name] = await stack.enter_async_context(client_of(link, room))
        found[name].headers["authorization"] = f"Bearer {made['key']}"
    return found


async def states(link: Link) -> Counter[str]:
    return Counter(each.state for each in await Store(link).campaign_list())


async def test_an_armed_campaign_is_checked_and_goes_by_one_call_once(own_link: Link) -> None:
    now = NOW
    await phones(Store(own_link))
    async with client_of(own_link, guarded(own_link, ALONE, lambda: now)) as api:
        report = (await fire(api, arm=True, key="k", ttl_seconds=600)).json()
        assert (report["state"], report["armed_at"], report["approval"], report["fired_at"]) == (
            "armed",
            NOW,
            None,
            None,
        )
        assert (await fire(api, arm=True, key="k", ttl_seconds=600)).json()["id"] == report["id"]
        assert (await fire(api, arm=True, channels=["none"])).status_code == 400, "it is checked"
        assert await Store(own_link).campaign_cursors(1) == []
        now += 3 * 3_600_000
        fired = (await act(api, report["id"], "fire")).json()
        assert (fired["state"], fired["fired_at"]) == ("firing", now)
        (there,) = await Store(own_link).campaign_list()
        assert there.expires_at == now + 600_000, "the news is new when it is fired"
        again = await act(api, report["id"], "fire")
        assert (again.status_code, again.json()["fired_at"]) == (200, now)
        assert len(await Store(own_link).campaign_cursors(there.id)) == 2


async def test_an_armed_campaign_fired_at_two_nodes_at_once_is_fired_once(
    own_tarantool: Server, own_link: Link
) -> None:
    await phones(Store(own_link))
    answers: list[httpx.Response] = []

    async def ask(api: httpx.AsyncClient, id: str) -> None:
        answers.append(await act(api, id, "fire"))

    async with (
        linked(own_tarantool) as other,
        client_of(own_link, guarded(own_link, ALONE), "a") as one,
        client_of(other, guarded(other, ALONE), "b") as two,
    ):
        id = (await fire(one, arm=True)).json()["id"]
        async with trio.open_nursery() as nursery:
            for api in (one, two) * 4:
                nursery.start_soon(ask, api, id)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["state"] for answer in answers} == {"firing"}
    (there,) = await Store(own_link).campaign_list()
    assert len(await Store(own_link).campaign_cursors(there.id)) == 2


async def test_what_is_disarmed_reaches_nobody_and_its_draft_can_be_changed_again(own_link: Link) -> None:
    await phones(Store(own_link))
    async with client_of(own_link, guarded(own_link, ALONE)) as api:
        draft = (await fire(api, draft=True)).json()
        told = {"id": draft["id"], "version": 1}
        armed = (await fire(api, arm=True, from_draft=told)).json()
        assert armed["state"] == "armed"
        change = {"version": 1, "request": {"message": {**NEWS, "body": "With 53 percent."}}}
        refused = await api.post(f"/v1/drafts/{draft['id']}", json=change)
        assert (refused.status_code, refused.json()["campaign"]) == (409, armed["id"])
        assert (await act(api, armed["id"], "disarm")).json()["state"] == "cancelled"
        assert (await act(api, armed["id"], "fire")).status_code == 409
        assert (await api.post(f"/v1/drafts/{draft['id']}", json=change)).json()["version"] == 2
        body = {"message": {**NEWS, "body": "With 53 percent."}, "from_draft": {**told, "version": 2}}
        assert (await api.post("/v1/campaigns", json=body)).status_code == 201
        assert await states(own_link) == {"cancelled": 1, "firing": 1}


async def test_a_campaign_that_is_firing_is_not_disarmed_and_a_draft_is_not_fired_by_this(own_link: Link) -> None:
    store = Store(own_link)
    await phones(Store(own_link))
    async with client_of(own_link, guarded(own_link, ALONE)) as api:
        id = (await fire(api)).json()["id"]
        assert (await act(api, id, "disarm")).status_code == 409
        assert (await act(api, id, "approve")).status_code == 409
        await store.campaign_create(7, Message(title="t"), None, {"ttl_ms": 1000}, NOW)
        for verb in ("fire", "approve", "disarm"):
            assert (await act(api, "aaaaaaaaaaaah", verb)).status_code == 409
            assert (await act(api, "zzzzzzzzzzzzz", verb)).status_code in (400, 404)
        assert await states(own_link) == {"firing": 1, "draft": 1}


async def test_above_a_size_two_people_let_it_go(own_link: Link, stack: AsyncExitStack) -> None:
    await phones(Store(own_link), 60)
    who = await people(stack, own_link, guarded(own_link, TWO))
    refused = (await fire(who["edith"], key="k")).json()
    assert (refused["status"], refused["confirm"], refused["field"], refused["value"]) == (409, "arm", "audience", "60")
    assert "above 50 two people" in refused["detail"]
    assert await states(own_link) == {}
    armed = (await fire(who["edith"], key="k", arm=True)).json()
    id = armed["id"]
    assert armed["approval"] == {"phones": 60, "asked_by": "edith", "by": None, "at": None, "expires_at": None}
    early = (await act(who["edith"], id, "fire")).json()
    assert (early["status"], early["field"]) == (409, "approval")
    assert (await act(who["emil"], id, "approve")).status_code == 403, "an editor approves nothing"
    approved = (await act(who["anna"], id, "approve")).json()
    assert approved["approval"] | {"phones": 0} == {
        "phones": 0, "asked_by": "edith", "by": "anna", "at": NOW, "expires_at": NOW + 3_600_000,
    }  # fmt: skip
    assert approved["state"] == "armed", "an approval fires nothing"
    assert (await act(who["edith"], id, "fire")).json()["state"] == "firing"
    entries = (await who["node"].get("/v1/audit")).json()["entries"]
    assert [(entry["name"], entry["action"].rpartition("/")[2]) for entry in entries[:3]] == [
        ("edith", "fire"), ("anna", "approve"), ("edith", "campaigns"),
    ]  # fmt: skip


async def test_nobody_approves_what_they_have_asked_for(own_link: Link, stack: AsyncExitStack) -> None:
    await phones(Store(own_link), 60)
    who = await people(stack, own_link, guarded(own_link, TWO))
    id = (await fire(who["anna"], arm=True)).json()["id"]
    own = await act(who["anna"], id, "approve")
    assert (own.status_code, own.json()["remedy"]) == (409, "another person approves it, with a key of their own")
    assert (await act(who["arno"], id, "approve")).status_code == 200
    mine = (await fire(who["node"], arm=True)).json()["id"]
    assert (await act(who["node"], mine, "approve")).status_code == 409, "all nodes' own keys are one"


async def test_an_approval_ends_and_is_given_again(own_link: Link, stack: AsyncExitStack) -> None:
    now = NOW
    await phones(Store(own_link), 60)
    who = await people(stack, own_link, guarded(own_link, TWO, lambda: now))
    id = (await fire(who["edith"], arm=True)).json()["id"]
    await act(who["anna"], id, "approve")
    now += 3_600_000
    late = (await act(who["edith"], id, "fire")).json()
    assert late["status"] == 409
    assert "anna approved it, and that ended at" in late["detail"]
    assert (await act(who["arno"], id, "approve")).json()["approval"]["by"] == "arno"
    now += 3_599_999
    assert (await act(who["emil"], id, "fire")).json()["state"] == "firing"


async def test_an_approver_may_go_alone_by_saying_so_and_an_editor_may_not(
    own_link: Link, stack: AsyncExitStack
) -> None:
    await phones(Store(own_link), 60)
    who = await people(stack, own_link, guarded(own_link, TWO))
    alone = (await fire(who["edith"], unapproved=True)).json()
    assert (alone["status"], alone["field"]) == (400, "unapproved")
    asked = (await fire(who["anna"])).json()
    assert (asked["status"], asked["confirm"]) == (409, "unapproved")
    assert (await fire(who["anna"], unapproved=True)).json()["state"] == "firing"
    id = (await fire(who["edith"], arm=True)).json()["id"]
    assert (await act(who["edith"], id, "fire", unapproved=True)).status_code == 400
    asked = (await act(who["anna"], id, "fire")).json()
    assert (asked["status"], asked["confirm"]) == (409, "unapproved")
    assert (await act(who["anna"], id, "fire", unapproved=True)).json()["state"] == "firing"
    entries = (await who["node"].get("/v1/audit")).json()["entries"]
    assert [entry["detail"].get("unapproved") for entry in entries if entry["name"] == "anna"] == [True, True]


async def test_a_key_for_few_phones_neither_fires_nor_approves_what_goes_to_many(
    own_link: Link, stack: AsyncExitStack
) -> None:
    await phones(Store(own_link), 60)
    who = await people(stack, own_link, guarded(own_link, TWO))
    made = (await who["node"].post("/v1/keys", json={"name": "few", "role": "approver", "most": 59})).json()
    id = (await fire(who["edith"], arm=True)).json()["id"]
    few = await stack.enter_async_context(client_of(own_link, guarded(own_link, TWO)))
    few.headers["authorization"] = f"Bearer {made['key']}"
    for verb in ("approve", "fire"):
        refused = (await act(few, id, verb)).json()
        assert (refused["status"], refused["field"]) == (400, "audience"), refused
    assert (await act(few, id, "disarm")).json()["state"] == "cancelled", "a stop is for everybody"


async def test_a_small_audience_needs_no_approval(own_link: Link, stack: AsyncExitStack) -> None:
    await phones(Store(own_link), 60)
    who = await people(stack, own_link, guarded(own_link, TWO))
    small = {"subscribers": list(range(1, 51))}
    assert (await fire(who["edith"], audience=small)).json()["state"] == "firing"
    armed = (await fire(who["edith"], audience=small, arm=True)).json()
    assert armed["approval"] is None
    assert (await act(who["anna"], armed["id"], "approve")).status_code == 409
    assert (await act(who["edith"], armed["id"], "fire")).json()["state"] == "firing"


async def test_the_content_guard_asks_when_an_armed_campaign_is_fired_and_leaves_it_armed(own_link: Link) -> None:
    now = NOW
    await phones(Store(own_link))
    async with client_of(own_link, guarded(own_link, Guards(repeat=1800), lambda: now)) as api:
        id = (await fire(api, arm=True)).json()["id"]
        first = (await fire(api)).json()["id"]
        refused = (await act(api, id, "fire")).json()
        assert (refused["status"], refused["confirm"], refused["campaign"]) == (409, "again", first)
        assert await states(own_link) == {"armed": 1, "firing": 1}
        assert (await act(api, id, "fire", again=True)).json()["state"] == "firing"
        late = (await fire(api, arm=True)).json()["id"]
        now += 31 * MINUTE
        assert (await act(api, late, "fire")).json()["state"] == "firing"


async def test_an_armed_campaign_with_a_start_is_scheduled_by_fire_and_missed_never_sent_late(own_link: Link) -> None:
    now = NOW
    await phones(Store(own_link))
    async with client_of(own_link, guarded(own_link, ALONE, lambda: now)) as api:
        at = "2027-01-15T09:00:00Z"
        one, two = [(await fire(api, arm=True, when=at)).json()["id"] for _ in range(2)]
        assert (await act(api, one, "fire")).json()["state"] == "scheduled"
        now += 2 * 3_600_000
        late = (await act(api, two, "fire")).json()
        assert (late["status"], late["field"]) == (400, "when")
        assert await states(own_link) == {"scheduled": 1, "armed": 1}


async def test_an_armed_campaign_has_the_window_classes_of_its_fire(own_link: Link) -> None:
    """Quiet hours hold by the moment at which it is fired, not by that at which it was armed."""
    from broadside.newsroom.quiet_policy import Quiet
    from campaigns.quiet_hours import read_hours

    now = NOW
    rows = [("ios", f"t{n}", "token", 1, "", "Europe/Vienna", "", "", "", None, [], {}) for n in range(10)]
    await Store(own_link).subscribers_put(rows)
    quiet = Quiet(read_hours("23:00-07:00"), {"ios": "Europe/Vienna"}, frozenset())
    async with client_of(own_link, guarded(own_link, ALONE, lambda: now, ["ios"], quiet=quiet)) as api:
        id = (await fire(api, arm=True)).json()["id"]
        now += 6 * 3_600_000
        await act(api, id, "fire")
    (there,) = await Store(own_link).campaign_list()
    timed = await Store(own_link).campaign_timed(there.id)
    assert timed is not None
    assert timed.windows is not None
    assert {one.start for one in timed.windows.classes} == {now}


async def test_connections_are_kept_warm_while_a_campaign_is_armed_and_not_otherwise(
    own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed = 0

    async def warm() -> None:
        nonlocal warmed
        warmed += 1

    newsroom = guarded(own_link, ALONE)
    node = Scheduler(store=Store(own_link), start=newsroom.start, warm=warm)
    async with client_of(own_link, newsroom) as api:
        await node.look()
        assert warmed == 0
        id = (await fire(api, arm=True)).json()["id"]
        for _ in range(3):
            await node.look()
        assert warmed == 1, "not with every look"
        monkeypatch.setattr(scheduler, "WARM_EVERY", 0.0)
        await node.look()
        assert warmed == 2
        await act(api, id, "disarm")
        await node.look()
        assert warmed == 2
        await newsroom.warm()  # what a node's own does besides


async def test_a_page_is_read_beforehand_as_a_walk_reads_it(own_link: Link) -> None:
    store = Store(own_link)
    assert await store.page_rehearsal(100, 50) == [], "nobody is there"
    await phones(store, 300)
    for row in await store.subscribers_page(0, 40):
        await store.subscribers_remove(row.channel, row.token)
    parts = await store.page_rehearsal(100, 50)
    (first, *_) = await store.subscribers_page(0, 1)
    assert parts == (await store.page_read(first.id - 1, first.id + 99, 50)).parts
    assert [part.size for part in parts] == [50, 50], "the oldest that are left"


async def test_a_worker_reads_a_page_when_news_comes_soon_and_not_at_every_word(own_link: Link) -> None:
    store, read = Store(own_link), 0
    await phones(store)

    class Watched(Store):
        async def page_rehearsal(self, rows: int, most: int) -> Any:
            nonlocal read
            read += 1
            return await super().page_rehearsal(rows, most)

    rehearsal = Rehearsal(Watched(own_link))
    for _ in range(3):
        await rehearsal.read()
    assert read == 1
    lost = Store(Link({"store": Endpoint("unix/:/nowhere.sock", "u", "p")}))
    await Rehearsal(lost).read()


def test_approvals_are_off_unless_the_configuration_says_so(tmp_path: Any) -> None:
    file = tmp_path / "broadside.toml"
    channel = '[channels.ios]\nplatform = "apns"\napp = "com.example"\ntwin = true\n'
    file.write_text(channel)
    assert load(file).guards.approval_above is None
    file.write_text(channel + '[guards]\napproval_above = 100000\napproval_for = "2h"\n')
    assert load(file).guards == Guards(approval_above=100_000, approval_for=7200)
    for text in ("approval_above = 0", 'approval_above = "many"', 'approval_for = "0"', 'approval_for = "31d"'):
        file.write_text(f"{channel}[guards]\n{text}\n")
        with pytest.raises(ConfigError, match=r"guards\.approval"):
            load(file)
