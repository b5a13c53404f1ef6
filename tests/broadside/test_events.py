"""The event stream over a real store: what listeners are told, when it ends, and that one task reads for all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import httpx
import pytest
import trio
from starlette.types import Message

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.campaign_report import CampaignPage
from broadside.api.event_records import EVENTS
from broadside.newsroom import event_feed
from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.event_feed import EventFeed
from broadside.newsroom.newsroom import LOOK_EVERY, Newsroom
from broadside.newsroom.ring import Ring
from storage.link import Link
from storage.store import Store
from tests.broadside.api_parts import api_of
from tests.broadside.test_api import KEY, newsroom_over, subscriber

OWN = {"authorization": f"Bearer {KEY}"}
FIRE = {"message": {"title": "t", "body": "b"}}
WITHIN = 20
"""Seconds."""
HEARD = EVENTS.keys() - {"ring"}
"""What a listener hears that does not ask for the ring."""


class Told(NamedTuple):
    """One event."""

    name: str
    id: str
    data: Any


def read(text: str) -> list[Told]:
    """Parse a stream as its standard says; blocks without data are no events."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append(Told(fields["event"], fields["id"], json.loads(fields["data"])))
    return found


class House(NamedTuple):
    """An API over a real store, whose reads are counted."""

    api: httpx.AsyncClient
    alarms: list[Alarm]
    reads: list[int]
    app: Any
    feed: EventFeed


@asynccontextmanager
async def listening(
    house: House, gate: trio.Event | None = None, taken: list[bytes] | None = None, **query: str
) -> AsyncIterator[tuple[Callable[[], list[Told]], Callable[[], None]]]:
    """Listen to the stream. Yields what was told so far, and a way to leave.

    ``gate``: nothing is taken before it opens; ``taken``: the bytes as they come.
    """
    parts = [] if taken is None else taken
    gone = trio.Event()

    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if gate is not None:
            await gate.wait()
        await trio.lowlevel.checkpoint()
        parts.append(message.get("body", b""))

    scope = {
        "type": "http", "method": "GET", "path": "/v1/events", "raw_path": b"/v1/events", "root_path": "",
        "query_string": str(httpx.QueryParams(query)).encode(), "state": {}, "scheme": "http",
        "headers": [(b"host", b"node"), (b"authorization", f"Bearer {KEY}".encode())],
    }  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.app, scope, receive, send)
        yield lambda: read(b"".join(parts).decode()), gone.set
        gone.set()
        nursery.cancel_scope.deadline = trio.current_time() + WITHIN


async def until(holds: Callable[[], object]) -> None:
    """Wait until this is true."""
    with trio.fail_after(WITHIN):
        while not holds():  # noqa: ASYNC110 - it becomes true in the store
            await trio.sleep(0.01)


@pytest.fixture
async def house(own_link: Link, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    reads: list[int] = []
    listed = Newsroom.campaigns

    async def counted(self: Newsroom, limit: int, cursor: str = "") -> CampaignPage:
        reads.append(limit)
        return await listed(self, limit, cursor)

    monkeypatch.setattr(Newsroom, "campaigns", counted)
    alarms: list[Alarm] = []
    newsroom = newsroom_over(own_link)
    made = api_of(newsroom, Ring(store=Store(own_link), node="n1"), own_link, KEY, own=lambda: list(alarms))
    app = made.app()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=OWN) as client:
        board = AlarmBoard(newsroom, Ring(store=Store(own_link), node="n1"), list)
        ring = Ring(store=Store(own_link), node="n1")
        yield House(client, alarms, reads, app, EventFeed(newsroom, board, ring))


async def fired(house: House) -> str:
    for n in range(3):
        await house.api.post("/v1/subscribers", json=subscriber(n))
    return str((await house.api.post("/v1/campaigns", json=FIRE)).json()["id"])


async def test_a_listener_is_sent_the_newest_state_of_everything_at_once(house: House) -> None:
    """Issue 22.3."""
    id = await fired(house)
    with trio.fail_after(WITHIN):
        answer = await house.api.get("/v1/events", params={"limit": 4, "ring": "true"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    found = {told.name: told.data for told in read(answer.text)}
    assert found.keys() == EVENTS.keys()
    assert (found["campaign"]["id"], found["campaign"]["state"]) == (id, "firing")
    assert "items" in found["alarms"]


async def test_a_client_with_the_last_events_id_gets_what_has_changed_since(house: House) -> None:
    """Issue 22.3."""
    id = await fired(house)
    seen: list[Told] = []
    async with listening(house) as (told, _):
        await until(lambda: {each.name for each in told()} == HEARD)
        seen = told()
        await house.api.post(f"/v1/campaigns/{id}/pause")
        await until(lambda: told()[-1].data.get("state") in ("pausing", "paused"))
        headers = {"last-event-id": seen[-1].id}
        with trio.fail_after(WITHIN):
            again = read((await house.api.get("/v1/events", params={"limit": 1}, headers=headers)).text)
        assert [(each.name, each.data["id"]) for each in again] == [("campaign", id)]
        with trio.fail_after(WITHIN):
            other = {"last-event-id": "00000000-99"}
            whole = read((await house.api.get("/v1/events", params={"limit": 3}, headers=other)).text)
        assert {each.name for each in whole} == HEARD, "an id of another life of the node says nothing"


async def test_nothing_is_sent_while_nothing_changes_but_the_time(house: House) -> None:
    """Issue 22.3: a firing campaign's seconds and rate change with the clock alone."""
    await fired(house)
    async with listening(house) as (told, _):
        await until(lambda: {each.name for each in told()} == HEARD)
        before, reads = told(), len(house.reads)
        await until(lambda: len(house.reads) >= reads + 4)
        assert told() == before
        alarm = Alarm(name=AlarmName.WORKER_AWAY, severity=Severity.WARNING, text="worker-1 does not serve", remedy="")
        house.alarms.append(alarm)
        await until(lambda: len(told()) > len(before))
        assert told()[-1].data["items"][0]["name"] == "worker-away"


async def test_a_listener_to_one_campaign_hears_of_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22.3: also of one that is not among the newest."""
    monkeypatch.setattr(event_feed, "NEWEST", 1)
    old, new = await fired(house), await fired(house)
    async with listening(house, campaign=old.upper()) as (told, _):
        await until(lambda: {each.name for each in told()} == HEARD)
        await house.api.post(f"/v1/campaigns/{new}/cancel")
        await house.api.post(f"/v1/campaigns/{old}/cancel")
        await until(lambda: any(each.data.get("state") in ("cancelling", "cancelled") for each in told()))
        assert {each.data["id"] for each in told() if each.name == "campaign"} == {old}
    for wrong, status in (("aaaaaaaaaaaaa", 404), ("short", 400)):
        answer = await house.api.get("/v1/events", params={"campaign": wrong})
        assert (answer.status_code, answer.json()["field"]) == (status, "campaign")


async def test_two_hundred_listeners_take_one_reader_and_none_takes_none(house: House) -> None:
    """Issue 22.3: each watcher read the store by itself, five times a second."""
    id = await fired(house)
    ready: list[int] = []

    async def listen(n: int) -> None:
        async with house.feed.listener() as listener:
            found = await listener.next()
            ready.append(n)
            while not any(b'"state":"cancel' in event.text for event in found):
                found = await listener.next()

    with trio.fail_after(WITHIN):
        async with trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(listen, n)
            await until(lambda: len(ready) == 200)
            began, start = trio.current_time(), len(house.reads)
            await until(lambda: len(house.reads) >= start + 5)
            rate = (len(house.reads) - start) / (trio.current_time() - began)
            assert rate <= 1.5 / LOOK_EVERY, "one reader"
            await house.api.post(f"/v1/campaigns/{id}/cancel")
    reads = len(house.reads)
    await trio.sleep(3 * LOOK_EVERY)
    assert len(house.reads) == reads, "nobody listens, nobody reads"


async def test_when_the_listener_that_reads_leaves_another_one_reads(house: House) -> None:
    """Issue 22.3."""
    id = await fired(house)
    async with listening(house) as (first, leave):
        await until(lambda: len(first()) >= 3)
        async with listening(house) as (told, _):
            await until(lambda: len(told()) >= 3)
            leave()
            await house.api.post(f"/v1/campaigns/{id}/cancel")
            await until(lambda: told()[-1].data.get("state") in ("cancelling", "cancelled"))


async def test_a_slow_listener_skips_to_the_newest_state_and_holds_nobody_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.3."""
    monkeypatch.setattr(event_feed, "RING_EVERY", 0.02)

    def texts(of: list[Told]) -> list[str]:
        return [alarm["text"] for each in of if each.name == "alarms" for alarm in each.data["items"]]

    gate = trio.Event()
    async with listening(house, gate) as (slow, _), listening(house) as (told, _):
        for n in range(5):
            text = f"worker-{n} does not serve"
            house.alarms[:] = [Alarm(name=AlarmName.WORKER_AWAY, severity=Severity.WARNING, text=text, remedy="")]
            await until(partial(lambda text: text in texts(told()), text))
        assert slow() == []
        gate.set()
        await until(lambda: texts(slow()))
        assert texts(slow()) == ["worker-4 does not serve"]


async def test_a_listener_ends_with_its_key(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22.3."""
    monkeypatch.setattr("broadside.console.calls.LOOK_EVERY", 0.05)
    made = (await house.api.post("/v1/keys", json={"name": "tv", "role": "viewer"})).json()
    with trio.fail_after(WITHIN):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(house.api.get, "/v1/events", headers={"authorization": f"Bearer {made['key']}"}))
            await until(lambda: house.reads)
            await house.api.post(f"/v1/keys/{made['record']['id']}/revoke")


async def test_silence_is_broken_by_pings(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22.3: a proxy closes a connection on which nothing comes."""
    monkeypatch.setattr("broadside.newsroom.event_feed.PING_EVERY", 0.05)
    taken: list[bytes] = []
    async with listening(house, taken=taken):
        await until(lambda: taken.count(b": ping\n\n") >= 3)


async def test_one_listener_too_many_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22.3: streams may not take all of a door's connections."""
    monkeypatch.setattr(event_feed, "MOST", 1)
    async with listening(house) as (told, _):
        await until(told)
        assert (await house.api.get("/v1/events", params={"limit": 1})).status_code == 429
