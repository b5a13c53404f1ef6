"""Fire happens once: whatever is lost between an editor and the store, one request under one key is one campaign."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from broadside.api.campaign_report import FireRequest
from broadside.api.idempotency import NODE_KEY, differing, digest
from broadside.api.token_rules import DeviceTokens
from broadside.newsroom import firing
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from campaigns.identity import campaign_text
from campaigns.message import Message
from storage.link import Link
from storage.records import Once
from storage.store import Store
from storage.tubes import Tubes
from tests.broadside.api_parts import api_of
from tests.conftest import Server, linked
from tests.storage.wire_cutter import Wire, wire_to

BODY = {"message": {"title": "hot", "body": "news"}}
DAY = 86_400_000
NOW = 1_800_000_000_000


def newsroom(
    link: Link, clock: Callable[[], int] = lambda: NOW, channels: Iterable[str] = ("ios", "android")
) -> Newsroom:
    return Newsroom(
        store=Store(link),
        tubes=Tubes(link, "test"),
        checks={name: lambda message: None for name in channels},
        node="n1",
        states=list,
        segments=2,
        device_tokens=DeviceTokens({}),
        dry_run=DryRun(platforms={}, open=lambda name: None),  # type: ignore[arg-type, return-value]
        clock=clock,
    )


def client(link: Link, key: str = "k", clock: Callable[[], int] = lambda: NOW) -> httpx.AsyncClient:
    ring = Ring(store=Store(link), node="n1")
    app = api_of(newsroom(link, clock), ring, link, key).app()
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://node", headers=headers, timeout=30
    )


async def fire(api: httpx.AsyncClient, key: str | None = "goal-3", **more: Any) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await api.post("/v1/campaigns", content=json.dumps({**BODY, **more}), headers=headers)


async def phones(store: Store, count: int = 100) -> None:
    await store.subscribers_put(
        [("ios", f"token-{n}", "token", 1, "", "", "", "", "", None, [], {}) for n in range(count)]
    )


@asynccontextmanager
async def through_a_wire(server: Server) -> AsyncIterator[tuple[Link, Wire]]:
    """A link whose connection can be cut."""
    async with wire_to(server) as wire, trio.open_nursery() as nursery:
        link = Link({"store": wire.endpoint, "queue": wire.endpoint})
        await nursery.start(_running, link)
        yield link, wire
        link.stop()


async def _running(link: Link, task_status: trio.TaskStatus[None]) -> None:
    await link.run(task_status.started)


Call = Callable[..., Awaitable[list[Any]]]


def struck(link: Link, wire: Wire, nursery: trio.Nursery, verb: str, place: str, times: int = 1) -> None:
    """Cut the wire at a call of ``verb``: before it leaves, or after the store's commit and before its answer."""
    call: Call = link.call
    left = times

    async def cut() -> None:
        await trio.sleep(0.2)
        await wire.cut()
        wire.deaf = False

    async def cutting(where: str, name: str, *args: Any, **options: Any) -> list[Any]:
        nonlocal left
        if name == verb and left:
            left -= 1
            if place == "before the call":
                await wire.cut()
            else:
                wire.deaf = True
                nursery.start_soon(cut)
        return await call(where, name, *args, **options)

    link.call = cutting  # type: ignore[method-assign]


async def cursors(store: Store) -> list[tuple[str, int]]:
    """State and number of cursors of every campaign that there is."""
    return [(each.state, len(await store.campaign_cursors(each.id))) for each in await store.campaign_list()]


@pytest.mark.parametrize("place", ["before the call", "before the answer"])
@pytest.mark.parametrize(
    "verb", ["store.campaign_keyed", "store.campaign_create", "store.campaign_fire", "store.campaign_get"]
)
async def test_a_wire_that_is_cut_at_any_place_makes_no_second_campaign(
    own_tarantool: Server, own_link: Link, verb: str, place: str
) -> None:
    """B1: the answer of Fire is lost on its way from the store."""
    await phones(Store(own_link))
    async with through_a_wire(own_tarantool) as (link, wire), trio.open_nursery() as nursery, client(link) as api:
        struck(link, wire, nursery, verb, place)
        first = await fire(api)
        again = await fire(api)
        assert (first.status_code, again.status_code) == (201, 201), first.text
        assert first.json()["id"] == again.json()["id"]
    assert await cursors(Store(own_link)) == [("firing", 2)]


async def test_an_answer_that_stays_away_is_an_error_that_names_the_campaign_and_a_repeat_answers_with_it(
    own_tarantool: Server, own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B1: the 503 named no campaign and said "try again", which fired a second one."""
    monkeypatch.setattr(firing, "FIRE_WITHIN", 1.5)
    await phones(Store(own_link))
    async with through_a_wire(own_tarantool) as (link, wire), trio.open_nursery() as nursery, client(link) as api:
        await api.get("/v1/campaigns")
        struck(link, wire, nursery, "store.campaign_fire", "before the answer", times=100)
        lost = await fire(api)
        error = lost.json()
        assert (lost.status_code, error["fired"]) == (503, "maybe")
        (there,) = await Store(own_link).campaign_list()
        assert error["campaign"] == campaign_text(there.id)
        assert f"campaign {error['campaign']} may be firing" in error["detail"]
        assert f"campaign show {error['campaign']}" in error["remedy"]
        assert "repeat with the same key to be sure" in error["remedy"]
        del link.call
        with trio.fail_after(20):
            while (again := await fire(api)).status_code == 503:
                pass
        assert (again.status_code, again.json()["id"]) == (201, error["campaign"])
    assert await cursors(Store(own_link)) == [("firing", 2)]


async def test_what_cannot_have_fired_says_so(
    own_tarantool: Server, own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B1: failures that cannot have fired say that as well."""
    monkeypatch.setattr(firing, "FIRE_WITHIN", 0.5)
    async with through_a_wire(own_tarantool) as (link, wire), client(link) as api:
        await api.get("/v1/campaigns")
        wire.deaf = True
        answer = await fire(api, key=None)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("nothing was fired: ")
        assert answer.json()["fired"] == "no"
        wire.deaf = False
    assert all(state == "draft" for state, _ in await cursors(Store(own_link)))


async def test_a_campaign_that_was_created_and_not_fired_is_fired_by_the_repeat(own_link: Link) -> None:
    """B1: a node that dies between the two leaves a draft under the key."""
    store = Store(own_link)
    await phones(store)
    request = FireRequest(message=Message(**BODY["message"]))
    once = Once(NODE_KEY, "goal-3", digest(request))
    assert await store.campaign_create(7, request.message, None, {"page_size": 10, "ttl_ms": 1000}, NOW, once) is None
    assert await cursors(store) == [("draft", 0)]
    async with client(own_link) as api:
        answer = await fire(api)
        assert (answer.status_code, answer.json()["id"]) == (201, campaign_text(7))
    assert await cursors(store) == [("firing", 2)]


async def test_the_same_key_at_two_nodes_at_once_is_one_campaign(own_tarantool: Server, own_link: Link) -> None:
    """B1: each node has an API key of its own, and one base; one request wins, the others answer with its campaign."""
    await phones(Store(own_link))
    answers: list[httpx.Response] = []

    async def ask(api: httpx.AsyncClient) -> None:
        answers.append(await fire(api))

    async with (
        linked(own_tarantool) as other,
        client(own_link, "a") as one,
        client(other, "b") as two,
        trio.open_nursery() as nursery,
    ):
        for api in (one, two) * 5:
            nursery.start_soon(ask, api)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await cursors(Store(own_link)) == [("firing", 2)]


async def test_a_key_of_another_request_is_refused_naming_its_campaign_and_what_differs(own_link: Link) -> None:
    """B1: one key, two requests."""
    async with client(own_link) as api:
        first = (await fire(api, channels=["ios", "android"])).json()["id"]
        other = {"message": {"title": "hot", "body": "other news"}, "ttl_seconds": 60, "channels": ["android", "ios"]}
        answer = await fire(api, **other)
        error = answer.json()
        assert (answer.status_code, error["field"], error["fired"]) == (422, "Idempotency-Key", "no")
        assert error["campaign"] == first
        assert f"campaign {first}, with another message.body, ttl_seconds" in error["detail"]
        assert (await fire(api, channels=["android", "ios"])).json()["id"] == first, "the order of channels is nothing"
    assert len(await Store(own_link).campaign_list()) == 1


async def test_without_a_key_two_requests_are_two_campaigns(own_link: Link) -> None:
    async with client(own_link) as api:
        assert (await fire(api, key=None)).json()["id"] != (await fire(api, key=None)).json()["id"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("Idempotency-Key", "")], "is not a key"),
        ([("Idempotency-Key", "x" * 256)], "has 256 characters"),
        ([("Idempotency-Key", "schlüssel".encode())], "is not a key"),
        ([("Idempotency-Key", "a"), ("Idempotency-Key", "b")], "is given twice"),
    ],
)
async def test_a_key_that_is_none_is_refused_by_the_headers_name(
    own_link: Link, headers: list[tuple[str, Any]], expected: str
) -> None:
    async with client(own_link) as api:
        answer = await api.post("/v1/campaigns", content=json.dumps(BODY), headers=[*api.headers.items(), *headers])
        error = answer.json()
        assert (answer.status_code, error["field"]) == (400, "Idempotency-Key")
        assert expected in error["detail"]
        assert error["remedy"]
        assert (await fire(api, key="x" * 255)).status_code == 201
    assert len(await Store(own_link).campaign_list()) == 1


async def test_a_key_is_kept_for_thirty_days_and_then_forgotten_in_steps(own_link: Link) -> None:
    """B1: the same key answers with the same campaign for 30 days."""
    now = NOW
    store = Store(own_link)
    async with client(own_link, clock=lambda: now) as api:
        first = (await fire(api)).json()["id"]
        for n in range(450):
            once = Once("somebody", str(n), {})
            assert await store.campaign_create(n + 1, Message(title="t", body="b"), None, {}, now, once) is None
        now += 30 * DAY - 1
        assert (await fire(api)).json()["id"] == first
        assert await store.keys_expire(now) == 0
        now += 1
        assert [await store.keys_expire(now) for _ in range(4)] == [200, 200, 51, 0]
        assert (await fire(api)).json()["id"] != first


async def test_a_key_means_nothing_to_another_owner(own_link: Link) -> None:
    room = newsroom(own_link)
    request = FireRequest(message=Message(title="t", body="b"))
    mine = (await room.fire(request, "key", "me")).id
    assert (await room.fire(request, "key", "you")).id != mine
    assert (await room.fire(request, "key", "me")).id == mine


def test_what_a_request_leaves_unsaid_is_not_part_of_its_digest() -> None:
    plain = FireRequest(message=Message(title="t", body="b"))
    assert set(digest(plain)) == {"message.title", "message.body"}
    more = FireRequest(message=Message(title="t", body="b", url="https://example.com"), channels=["ios"])
    assert differing(digest(plain), digest(more)) == ["channels", "message.url"]


async def test_a_campaign_that_is_firing_answers_to_another_fire_with_itself(own_link: Link) -> None:
    """B1: never an error, never a second set of cursors."""
    store = Store(own_link)
    await phones(store)
    await store.campaign_create(7, Message(title="t", body="b"), None, {"ttl_ms": 1000}, 1)
    assert len(await store.campaign_fire(7, 2, 1) or []) == 2
    before = await store.campaign_cursors(7)
    assert await store.campaign_fire(7, 2, 2) == []
    assert await store.campaign_cursors(7) == before
    assert await store.campaign_fire(8, 2, 2) is None


async def test_a_machine_whose_clock_is_before_2020_fires_nothing_and_says_why(link: Link) -> None:
    """S23: the campaign's id was negative, and the answer a 500."""
    async with client(link, clock=lambda: 86_400_000) as api:
        for more in ({}, {"dry_run": True}):
            answer = await fire(api, None, channels=["ios"], **more)
            assert answer.status_code == 503
            error = answer.json()
            assert error["detail"] == "nothing was fired: this machine's clock says 1970-01-02"
            assert (error["fired"], error["remedy"]) == ("no", "set its clock, best by NTP")
