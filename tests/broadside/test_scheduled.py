"""Campaigns that start later: what a request may say, one start under every fault, and what people read of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import trio

from actors.scheduler import Scheduler
from broadside.api.campaign_report import FireRequest
from broadside.api.idempotency import NODE_KEY, digest
from broadside.api.report_text import instant, span
from broadside.newsroom import firing
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.quiet_policy import Quiet
from broadside.newsroom.starts import missed_alarms
from campaigns.identity import campaign_text, parse_campaign
from campaigns.message import Message
from campaigns.quiet_hours import QuietHours
from campaigns.windows import QuietRule
from storage.errors import LinkLost
from storage.link import Link
from storage.records import Missed, Once
from storage.store import Store
from tests.broadside.test_fire_once import BODY, client, cursors, fire, newsroom, phones, struck, through_a_wire
from tests.conftest import Server, linked
from transports.errors import PayloadError

pytestmark = pytest.mark.tarantool
HOUR = 3_600_000
VIENNA = "Europe/Vienna"


def wall() -> int:
    return time.time_ns() // 1_000_000


def iso(ms: int, east: int = 0) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC) + timedelta(hours=east)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}" + (f"+{east:02}:00" if east else "Z")


def room_over(link: Link) -> Newsroom:
    return newsroom(link, wall)


def scheduler_over(link: Link, room: Newsroom | None = None) -> Scheduler:
    return Scheduler(store=Store(link), start=(room or room_over(link)).start)


async def due(link: Link, key: str = "goal-3") -> int:
    """A campaign that is due, as a node of before has left it."""
    request = FireRequest(message=Message(**BODY["message"]), start=iso(wall() - 1000))
    return parse_campaign((await room_over(link).fire(request, key, NODE_KEY)).id)


async def test_a_campaign_that_starts_later_is_scheduled_and_starts_by_itself_once(own_link: Link) -> None:
    store = Store(own_link)
    await phones(store)
    start = wall() + 1500
    async with client(own_link, clock=wall) as api:
        answer = await fire(api, when=iso(start), expires="2h")
        report = answer.json()
        assert (answer.status_code, report["state"], report["start"]) == (201, "scheduled", start)
        assert (report["expires_at"], report["fired_at"], report["channels"]) == (start + 2 * HOUR, None, {})
        schedulers = [scheduler_over(own_link), scheduler_over(own_link)]
        async with trio.open_nursery() as nursery:
            for each in schedulers:
                nursery.start_soon(each.run, lambda: None)
            with trio.fail_after(20):
                while await cursors(store) == [("scheduled", 0)]:  # noqa: ASYNC110 - the store tells nobody
                    await trio.sleep(0.05)
            for each in schedulers:
                each.stop()
        now = (await api.get(f"/v1/campaigns/{report['id']}")).json()
    assert now["fired_at"] >= start
    assert await cursors(store) == [("firing", 2)]


@pytest.mark.parametrize("place", ["before the call", "before the answer"])
@pytest.mark.parametrize("verb", ["store.campaign_keyed", "store.campaign_create", "store.campaign_fire"])
async def test_a_wire_that_is_cut_while_it_is_scheduled_makes_no_second_campaign(
    own_tarantool: Server, own_link: Link, verb: str, place: str
) -> None:
    start = iso(wall() + HOUR)
    async with (
        through_a_wire(own_tarantool) as (link, wire),
        trio.open_nursery() as nursery,
        client(link, clock=wall) as api,
    ):
        struck(link, wire, nursery, verb, place)
        first, again = await fire(api, when=start), await fire(api, when=start)
        assert (first.status_code, again.status_code) == (201, 201), first.text
        assert first.json()["id"] == again.json()["id"]
    assert await cursors(Store(own_link)) == [("scheduled", 0)]


@pytest.mark.parametrize("place", ["before the call", "before the answer"])
@pytest.mark.parametrize("verb", ["store.campaigns_due", "store.campaign_get", "store.campaign_start"])
async def test_a_wire_that_is_cut_at_the_start_makes_no_second_start(
    own_tarantool: Server, own_link: Link, verb: str, place: str
) -> None:
    store = Store(own_link)
    await phones(store)
    await due(own_link)
    async with through_a_wire(own_tarantool) as (link, wire), trio.open_nursery() as nursery:
        scheduler = scheduler_over(link)
        await link.call("store", "store.campaigns_due")
        struck(link, wire, nursery, verb, place)
        with trio.fail_after(20):
            while await cursors(store) == [("scheduled", 0)]:
                await scheduler.look()
        await scheduler.look()
    assert await cursors(store) == [("firing", 2)]


async def test_an_answer_that_stays_away_says_that_the_campaign_may_be_scheduled(
    own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "FIRE_WITHIN", 4.0)
    call = own_link.call

    async def lost(where: str, name: str, *args: Any, **options: Any) -> list[Any]:
        answer = await call(where, name, *args, **options)
        if name == "store.campaign_fire":
            raise LinkLost("the wire is cut")
        return answer

    own_link.call = lost  # type: ignore[method-assign]
    async with client(own_link, clock=wall) as api:
        error = (await fire(api, when=iso(wall() + HOUR))).json()
    assert f"campaign {error['campaign']} may be scheduled" in error["detail"]


async def test_a_draft_that_was_not_scheduled_is_scheduled_by_the_repeat(own_link: Link) -> None:
    """A node that dies between the two leaves a draft under the key."""
    store = Store(own_link)
    start = wall() + HOUR
    request = FireRequest(message=Message(**BODY["message"]), start=iso(start))
    once = Once(NODE_KEY, "goal-3", digest(request))
    policy = {"page_size": 10, "ttl_ms": HOUR, "start": start, "expires_at": start + HOUR}
    assert await store.campaign_create(7, request.message, None, policy, wall(), once) is None
    async with client(own_link, clock=wall) as api:
        answer = await fire(api, when=iso(start))
        assert (answer.status_code, answer.json()["id"]) == (201, campaign_text(7))
    assert await cursors(store) == [("scheduled", 0)]


async def test_the_same_key_answers_with_the_scheduled_campaign_however_its_start_is_written(own_link: Link) -> None:
    now = wall()
    start = now + HOUR
    async with client(own_link, clock=lambda: now) as api:
        first = (await fire(api, when=iso(start), expires="4h")).json()["id"]
        assert (await fire(api, when=iso(start, 2), expires="240m")).json()["id"] == first
        now += 3 * HOUR  # the start is over by then
        assert (await fire(api, when=iso(start), expires="4h")).json()["id"] == first
        other = await fire(api, when=iso(start + 60_000), expires="4h")
        assert (other.status_code, other.json()["campaign"]) == (422, first)
        assert "another when" in other.json()["detail"]
        assert "another expires, when" in (await fire(api)).json()["detail"]
    assert len(await Store(own_link).campaign_list()) == 1


@pytest.mark.parametrize(
    ("wanted", "field", "expected"),
    [
        ({"when": "tomorrow"}, "when", '"tomorrow" is not an instant'),
        ({"when": "2026-11-29T08:00"}, "when", '"2026-11-29T08:00" is not an instant'),
        ({"when": "2026-11-29"}, "when", '"2026-11-29" is not an instant'),
        ({"when": "0001-01-01T00:00+23:00"}, "when", "is "),
        ({"when": "2026-01-01T00:00Z"}, "when", "is over since "),
        ({"when": "9999-12-31T23:59-12:00"}, "when", "is more than a year ahead"),
        ({"expires": "soon"}, "expires", '"soon" is neither an instant nor a duration'),
        ({"expires": "0s"}, "expires", '"0s" is neither an instant nor a duration'),
        ({"expires": "2026-01-01T00:00Z"}, "expires", "is before the start"),
        ({"expires": "31d"}, "expires", "is more than 30 days after the start"),
        ({"expires": "4h", "ttl_seconds": 60}, "expires", "is given beside ttl_seconds"),
    ],
)
async def test_a_time_that_cannot_be_meant_is_refused_with_its_remedy(
    link: Link, wanted: dict[str, Any], field: str, expected: str
) -> None:
    async with client(link, clock=wall) as api:
        for more in ({}, {"dry_run": True}):
            answer = await fire(api, None, channels=["ios"], **wanted, **more)
            error = answer.json()
            assert (answer.status_code, error["field"]) == (400, field), answer.text
            assert expected in error["detail"]
            assert error["remedy"]


async def test_an_expiry_is_checked_against_the_start_and_not_against_now(own_link: Link) -> None:
    start = wall() + 20 * 24 * HOUR
    async with client(own_link, clock=wall) as api:
        good = (await fire(api, None, when=iso(start), expires=iso(start + 29 * 24 * HOUR))).json()
        assert good["expires_at"] == start + 29 * 24 * HOUR
        bad = await fire(api, None, when=iso(start), expires=iso(start - 1000))
        assert "is before the start" in bad.json()["detail"]


async def test_an_instant_of_expiry_holds_for_a_campaign_that_is_fired_at_once(own_link: Link) -> None:
    expires = wall() + HOUR
    async with client(own_link, clock=wall) as api:
        report = (await fire(api, None, expires=iso(expires))).json()
    campaign = await Store(own_link).campaign_get(parse_campaign(report["id"]))
    assert campaign is not None
    assert (report["expires_at"], campaign.expires_at, campaign.start) == (expires, expires, None)


async def test_a_scheduled_campaign_that_does_not_pass_the_checks_any_more_is_missed_and_alarms(own_link: Link) -> None:
    store = Store(own_link)
    await phones(store)
    id = await due(own_link)
    room = room_over(own_link)

    def strict(message: Message) -> None:
        raise PayloadError("message.title: is too long; shorten it")

    room._checks = {"ios": strict, "android": strict}
    scheduler = scheduler_over(own_link, room)
    await scheduler.look()
    await scheduler.look()
    report = await room.campaign(id)
    assert report is not None
    assert (report.state, report.ended) == ("missed", True)
    assert "nobody gets it: message.title: is too long (shorten it)" in report.notes[0]
    (alarm,) = missed_alarms(scheduler.missed, VIENNA)
    assert alarm.text.startswith(f"campaign {campaign_text(id)} missed its start at ")
    assert "fire it again" in alarm.remedy
    assert await cursors(store) == [("missed", 0)]


async def test_what_is_left_out_on_an_objection_is_decided_at_the_start(own_link: Link) -> None:
    store = Store(own_link)
    await phones(store)
    room = room_over(own_link)
    request = FireRequest(message=Message(**BODY["message"]), start=iso(wall()), on_objection="skip")
    id = parse_campaign((await room.fire(request)).id)

    def strict(message: Message) -> None:
        raise PayloadError("message.title: is too long; shorten it")

    room._checks = {**room._checks, "android": strict}
    await scheduler_over(own_link, room).look()
    report = await room.campaign(id)
    assert report is not None
    assert (report.state, [*report.channels]) == ("firing", ["ios"])
    assert "android is left out" in report.notes[-1]


async def test_a_campaign_that_cannot_be_started_now_is_not_missed_and_others_start(own_link: Link) -> None:
    """Whatever fails: it is tried again, but not each second."""
    store = Store(own_link)
    await phones(store)
    room = room_over(own_link)
    ill, well = await due(own_link, "ill"), await due(own_link, "well")
    start = room.start

    tried = 0

    async def failing(id: int) -> None:
        nonlocal tried
        if id == ill:
            tried += 1
            raise ZeroDivisionError
        await start(id)

    scheduler = Scheduler(store=store, start=failing)
    await scheduler.look()
    await scheduler.look()
    assert tried == 1
    states = {each.id: each.state for each in await store.campaign_list()}
    assert states == {ill: "scheduled", well: "firing"}


async def test_a_late_start_says_by_how_much(own_link: Link) -> None:
    store = Store(own_link)
    await phones(store)
    start = wall() - 90 * 60_000
    policy = {"page_size": 10, "ttl_ms": 4 * HOUR, "start": start, "expires_at": start + 4 * HOUR, "request": REQUEST}
    await store.campaign_create(7, Message(title="t"), None, policy, start - HOUR)
    await store.campaign_fire(7, 1, start - HOUR)
    room = room_over(own_link)
    await scheduler_over(own_link, room).look()
    report = await room.campaign(7)
    assert report is not None
    assert report.notes[0].startswith("started 1 h 30 min late: it was to start at ")
    assert report.expires_at == start + 4 * HOUR


async def test_quiet_hours_are_those_of_the_start_that_was_said_also_if_it_is_late(own_link: Link) -> None:
    store = Store(own_link)
    await phones(store)
    start = wall() - 30 * 60_000
    policy = {"page_size": 10, "ttl_ms": 4 * HOUR, "start": start, "request": REQUEST, "quiet": "hold"}
    await store.campaign_create(7, Message(title="t"), None, policy, start - HOUR)
    await store.campaign_fire(7, 1, start - HOUR)
    room = room_over(own_link)
    room._quiet = Quiet(QuietHours.parse("23:00-07:00"), {"ios": VIENNA, "android": None})
    await scheduler_over(own_link, room).look()
    campaign = await store.campaign_timed(7)
    assert campaign is not None
    assert campaign.windows == room._quiet.windows(QuietRule.HOLD, ["ios", "android"], start, 4 * HOUR)
    assert campaign.windows is not None
    assert campaign.expires_at == campaign.windows.ends_at


async def test_an_instant_of_expiry_holds_for_people_in_quiet_hours_too(own_link: Link) -> None:
    await phones(Store(own_link))
    room = room_over(own_link)
    room._quiet = Quiet(QuietHours.parse("23:00-07:00"), {"ios": VIENNA, "android": None})
    expires = wall() + HOUR
    request = FireRequest(message=Message(**BODY["message"]), expires=iso(expires), expire_asleep=True)
    campaign = await Store(own_link).campaign_timed(parse_campaign((await room.fire(request)).id))
    assert campaign is not None
    assert campaign.windows is not None
    assert (campaign.expires_at, campaign.windows.ends_at, campaign.wanted_until(expires + HOUR)) == (expires,) * 3


REQUEST = '{"message":{}}'


async def test_a_pause_of_a_scheduled_campaign_is_refused_and_a_cancel_ends_it_at_once(
    own_tarantool: Server, own_link: Link
) -> None:
    async with client(own_link, clock=wall) as api:
        id = (await fire(api, when=iso(wall() + HOUR))).json()["id"]
        pause = await api.post(f"/v1/campaigns/{id}/pause")
        assert (pause.status_code, pause.json()["detail"]) == (409, f"campaign {id} is scheduled")
        assert "can be cancelled" in pause.json()["remedy"]
        for _ in range(2):
            cancel = await api.post(f"/v1/campaigns/{id}/cancel")
            assert (cancel.status_code, cancel.json()["state"]) == (200, "cancelled")
        assert cancel.json()["finished_at"] is not None
        assert cancel.json()["fired_at"] is None
        report = (await fire(api, when=cancel.json()["start"] and iso(cancel.json()["start"]))).json()
        assert (report["id"], report["state"]) == (id, "cancelled"), "the same key: the same campaign"
    async with linked(own_tarantool) as other:
        await scheduler_over(other).look()
    assert await cursors(Store(own_link)) == [("cancelled", 0)]


async def test_the_api_says_in_which_zone_local_times_are(own_link: Link) -> None:
    async with client(own_link, clock=lambda: 1_800_000_000_000) as api:
        answer: httpx.Response = await api.get("/v1/newsroom")
    told = answer.json()
    assert (told["zone"], told["now"]) == (None, 1_800_000_000_000)


@pytest.mark.parametrize(
    ("ms", "zone", "expected"),
    [
        (1_795_935_600_000, VIENNA, "2026-11-29 08:00 Europe/Vienna (07:00 UTC)"),
        (1_795_935_600_000, None, "2026-11-29 07:00 UTC"),
        (1_795_908_605_000, VIENNA, "2026-11-29 00:30:05 Europe/Vienna (2026-11-28 23:30:05 UTC)"),
        (None, VIENNA, "-"),
    ],
)
def test_an_instant_is_told_in_the_newsrooms_zone_and_in_utc(ms: int | None, zone: str | None, expected: str) -> None:
    assert instant(ms, zone) == expected


def test_a_span_is_told_in_its_two_largest_units() -> None:
    told = [span(seconds) for seconds in (1.52, 59.9, 60, 3_605, 90_061, 86_400)]
    assert told == ["1.5 s", "59.9 s", "1 min", "1 h", "1 d 1 h", "1 d"]


def test_an_expired_campaign_alarms_with_what_to_do() -> None:
    (alarm,) = missed_alarms([Missed(7, 1_795_935_600_000, "")], VIENNA)
    assert str(alarm) == (
        f"campaign {campaign_text(7)} missed its start at 2026-11-29 08:00 Europe/Vienna (07:00 UTC), and nobody gets "
        "it: no node could start it before it expired; fire it again if it matters"
    )
