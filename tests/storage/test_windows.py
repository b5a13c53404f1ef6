"""Window classes at the store and on the tubes, against a real Tarantool."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from actors.batcher import split
from actors.messages import Page
from broadside.newsroom.reports import report
from campaigns.message import Message
from campaigns.quiet_hours import QuietHours, local_instant
from campaigns.recipient import unpack_recipients
from campaigns.windows import BEST, QuietRule, Windows, compute
from storage.link import Link
from storage.records import Lease, Placed
from tests.storage.test_walk_verbs import BOTH, CAMPAIGN, House

pytestmark = pytest.mark.tarantool

START = local_instant("Europe/Vienna", "2026-12-01", 22 * 60)  # 16:00 in New York, 6:00 the next day in Tokyo
HOUR = 3_600_000
MOMENTS = (
    ("Europe/Vienna", "2026-12-01", 20 * 60),
    ("America/New_York", "2026-12-01", 9 * 60),
    ("Asia/Tokyo", "2026-12-02", 7 * 60),
)
ZONES = ["Europe/Vienna", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "", "Nowhere/Land"]


def windows(rule: QuietRule = QuietRule.HOLD, start: int = START) -> Windows:
    return compute(
        quiet=QuietHours.parse("23:00-07:00"),
        rules=dict.fromkeys(BOTH, rule),
        zones={"ios": None, "android": "Asia/Tokyo"},
        start=start,
        ttl=4 * HOUR,
    )


class Night(House):
    """Subscribers of six zones in turn, and a campaign that starts in the evening of Vienna."""

    async def zoned(self, count: int) -> None:
        rows = [
            ("ios" if n % 2 else "android", f"t{n}", "token", 5, "en", ZONES[n // 2 % 6], "", "", "", None, [], {})
            for n in range(count)
        ]
        await self.store.subscribers_put(rows)

    async def fire_at(self, start: int, rule: QuietRule = QuietRule.HOLD) -> None:
        await self.fire_with(start, windows(rule, start))

    async def fire_with(self, start: int, classes: Windows) -> None:
        policy = {"page_size": 200, "ttl_ms": 4 * HOUR}
        await self.store.campaign_create(CAMPAIGN, Message(title="t", body="b"), None, policy, start)
        batons = await self.store.campaign_fire(CAMPAIGN, 1, start, classes)
        await self.tubes.baton_put(batons or [])

    async def page(self) -> Page:
        held = await self.take()
        assert held is not None
        claim = await self.store.page_claim("n1", held.epoch, held.baton, START)
        campaign = await self.store.campaign_timed(CAMPAIGN)
        assert campaign is not None
        assert campaign.windows is not None
        read = (await self.store.page_read(claim.from_id, claim.to_id, 500, None, CAMPAIGN)).parts
        return Page(held, claim, campaign, read)


@pytest.fixture
async def night(own_link: Link) -> Night:
    night = Night(own_link)
    await night.join()
    return night


async def test_a_page_is_parted_by_channel_and_window_class(night: Night) -> None:
    await night.zoned(120)
    await night.fire_at(START)
    page = await night.page()
    classes = page.campaign.windows
    assert classes is not None
    vienna, tokyo = classes.zones["Europe/Vienna"], classes.zones["Asia/Tokyo"]
    assert vienna == classes.zones["Europe/Berlin"]
    found = {(part.channel, part.window): part for part in page.parts}
    zones = {key: dict(part.zones) for key, part in found.items()}
    assert zones["ios", vienna] == {"Europe/Vienna": 10, "Europe/Berlin": 10}
    assert zones["ios", tokyo] == {"Asia/Tokyo": 10}
    assert zones["android", tokyo] == {"Asia/Tokyo": 30}, "who has no zone that we know has the channel's"
    assert zones["ios", 0] == {}, "no zone is known: no quiet hours, and never UTC by accident"
    assert sum(part.size for part in page.parts) == 120
    ids = [recipient.id for part in page.parts for recipient in unpack_recipients(part.recipients)]
    assert Counter(ids) == Counter(range(1, 121))


async def test_who_sleeps_waits_on_the_tube_until_the_morning_of_the_own_zone(night: Night) -> None:
    await night.zoned(120)
    await night.fire_at(START)
    page = await night.page()
    result = split(page, BOTH, START)
    waits = {place.part.window: place for place in result.placed if place.part.channel == "ios"}
    assert page.campaign.windows is not None
    zones = page.campaign.windows.zones
    in_vienna, in_tokyo, in_new_york = (waits[zones[z]] for z in ("Europe/Vienna", "Asia/Tokyo", "America/New_York"))
    assert (in_vienna.delay, in_vienna.expires_at) == (0, START + 4 * HOUR)
    assert in_vienna.begin_until == START + HOUR
    assert (in_tokyo.delay, in_tokyo.begin_from) == (3600, START + HOUR), "it is 6:00 there"
    assert in_tokyo.expires_at == START + 5 * HOUR, "its time to live counts from the morning"
    assert in_new_york.delay == 0
    assert result.held == {f"{START + HOUR} Asia/Tokyo": 40}
    assert await night.tubes.page_put(page.taken, *result) == "put"
    await night.report()
    campaign = await night.store.campaign_timed(CAMPAIGN)
    assert campaign is not None
    assert campaign.held == {f"{START + HOUR} Asia/Tokyo": 40}
    assert campaign.expires_at >= START + 12 * HOUR
    ready = {task.window for task in await night.batches("ios")}
    assert ready == {0, zones["Europe/Vienna"], zones["America/New_York"]}


async def test_best_times_at_one_moment_share_a_batch_whatever_the_zone_and_begin_at_that_moment(night: Night) -> None:
    """Issue 21, Benches: the same moment is 20:00 in Vienna, 14:00 in New York and 4:00 in Tokyo, where it is night."""
    people = [
        ("Europe/Vienna", 20),
        ("America/New_York", 14),
        ("Asia/Tokyo", 4),
        ("Asia/Tokyo", 5),
        ("America/New_York", 9),
    ]
    await night.store.subscribers_put(
        [
            ("ios", f"t{n}", "token", 5, "en", zone, "", "", "", hour * 60, [], {})
            for n, (zone, hour) in enumerate(people * 4)
        ]
    )
    start = local_instant("Europe/Vienna", "2026-12-01", 12 * 60)
    classes = compute(
        quiet=QuietHours.parse("23:00-07:00"), rules=dict.fromkeys(BOTH, QuietRule.HOLD), zones={}, start=start,
        ttl=2 * HOUR, moment=BEST,
    )  # fmt: skip
    await night.fire_with(start, classes)
    page = await night.page()
    result = split(page, BOTH, start)
    assert page.campaign.windows == classes
    evening, morning, tokyo = (local_instant(*at) for at in MOMENTS)
    found = {place.begin_from: place for place in result.placed}
    assert {begin: place.part.size for begin, place in found.items()} == {evening: 8, morning: 4, tokyo: 8}
    assert dict(found[evening].part.zones) == {"Europe/Vienna": 4, "America/New_York": 4}
    assert all(place.delay == (begin - start) / 1000 for begin, place in found.items())
    assert all(place.begin_until == begin + 2 * HOUR for begin, place in found.items())
    assert await night.tubes.page_put(page.taken, *result) == "put"
    await night.report()
    campaign = await night.store.campaign_waits(CAMPAIGN)
    assert campaign is not None
    assert campaign.held == {
        f"{evening} Europe/Vienna": 4, f"{evening} America/New_York": 4, f"{morning} America/New_York": 4,
        f"{tokyo} Asia/Tokyo": 8,
    }  # fmt: skip


async def test_nobody_counts_as_reached_while_their_page_is_just_being_put(
    night: Night, own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """21.6: a report takes two looks at the store. Who was put between them was among those who sleep, and not among
    those who are left, so `fire --wait` ended before anybody had got anything."""
    await night.zoned(120)
    await night.fire_at(START)
    page = await night.page()
    call, put = own_link.call, []

    async def between(where: str, verb: str, *given: Any, **more: Any) -> Any:
        if verb == "store.campaign_windows" and not put:
            put.append(await night.tubes.page_put(page.taken, *split(page, BOTH, START)))
            await night.report()
        return await call(where, verb, *given, **more)

    monkeypatch.setattr(own_link, "call", between)
    campaign = await night.store.campaign_timed(CAMPAIGN)
    assert put == ["put"]
    assert campaign is not None
    found = report(campaign, START, ())
    assert (found.reached, found.held, sum(each.remaining for each in found.channels.values())) == (False, 40, 120)


async def test_nobody_counts_as_reached_while_the_last_page_is_just_being_claimed(
    night: Night, own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """21.6: no page was claimed at the first look, so none was missing from the tubes; at the second the walk had
    ended, and nobody was counted yet: on busy cores the demo said that it had reached all, with 0 pushes."""
    await night.zoned(120)
    await night.fire_at(START)
    call = own_link.call
    claimed: list[Page | None] = []

    async def between(where: str, verb: str, *given: Any, **more: Any) -> Any:
        answer = await call(where, verb, *given, **more)
        if verb == "store.campaign_windows" and not claimed:
            claimed.append(None)
            claimed[0] = await night.page()
        return answer

    monkeypatch.setattr(own_link, "call", between)
    campaign = await night.store.campaign_waits(CAMPAIGN)
    assert campaign is not None
    assert (campaign.walked, len(claimed)) == (True, 1)
    assert not report(campaign, START, ()).reached
    again = await night.store.campaign_waits(CAMPAIGN)
    assert again is not None
    assert not again.put, "the page is claimed, and not on the tubes"
    page = claimed[0]
    assert page is not None
    assert await night.tubes.page_put(page.taken, *split(page, BOTH, START)) == "put"
    await night.report()
    again = await night.store.campaign_waits(CAMPAIGN)
    assert again is not None
    assert again.put


async def test_a_page_that_is_put_again_is_counted_once_among_those_who_wait(night: Night) -> None:
    await night.zoned(120)
    await night.fire_at(START)
    page = await night.page()
    assert await night.tubes.page_put(page.taken, *split(page, BOTH, START)) == "put"
    assert await night.deliver("ios") == 50
    await night.report()
    uuid, _, _ = await night.tubes.epoch()
    granted = await night.store.node_join("n1", uuid, 0, START, BOTH)
    assert granted is not None
    night.epoch = granted
    await night.tubes.adopt(granted)
    await night.tubes.renew(granted, Lease(30.0, []))
    anyone, _ = await night.store.strays("n1", granted, START, 0)
    await night.tubes.baton_put(anyone)
    page = await night.page()
    assert await night.tubes.page_put(page.taken, *split(page, BOTH, START)) == "put"
    await night.report()
    campaign = await night.store.campaign_timed(CAMPAIGN)
    assert campaign is not None
    assert campaign.held == {f"{START + HOUR} Asia/Tokyo": 40}
    assert campaign.tallies["ios"]["enqueued"] == campaign.tallies["android"]["enqueued"] == 60


async def test_a_report_reads_who_waits_and_none_of_the_classes(night: Night, own_link: Link) -> None:
    """Issue 21, Benches: at best times the classes are hundreds of kilobytes, and reports are read all the time."""
    await night.zoned(120)
    await night.fire_at(START)
    page = await night.page()
    assert await night.tubes.page_put(page.taken, *split(page, BOTH, START)) == "put"
    await night.report()
    timed, waits = await night.store.campaign_timed(CAMPAIGN), await night.store.campaign_waits(CAMPAIGN)
    assert timed is not None
    assert timed.windows is not None
    assert waits is not None
    assert waits == replace(timed, windows=None)
    assert waits.held == {f"{START + HOUR} Asia/Tokyo": 40}
    answer = await own_link.call("store", "store.campaign_windows", CAMPAIGN, True)
    assert len(msgspec.json.encode(list(answer))) < 200 < len(msgspec.json.encode(timed.windows))


@pytest.mark.parametrize("rule", [QuietRule.SILENT, QuietRule.DROP])
async def test_where_nobody_is_held_all_are_ready_at_once(night: Night, rule: QuietRule) -> None:
    await night.zoned(120)
    await night.fire_at(START, rule)
    page = await night.page()
    result = split(page, BOTH, START)
    assert {place.delay for place in result.placed} == {0}
    assert {place.expires_at for place in result.placed} == {START + 4 * HOUR}
    assert result.held == {}


async def test_a_cancelled_campaign_is_held_back_until_its_last_zone_would_have_been_reached(night: Night) -> None:
    """A node that was away during the cancel sends nothing the next morning: neither age nor time to live is enough."""
    await night.zoned(120)
    await night.fire_at(START)
    page = await night.page()
    await night.tubes.page_put(page.taken, *split(page, BOTH, START))
    await night.report()
    assert await night.store.campaign_cancel(CAMPAIGN, START) == "cancelling"
    at = START
    for _ in range(4):
        standing = await night.tubes.standing()
        lease = await night.store.node_renew("n1", night.epoch, at, standing.still)
        assert lease is not None
        await night.tubes.renew(night.epoch, lease)
        await night.report()
    assert await night.state() == "cancelled"
    assert page.campaign.windows is not None
    for later, there in ((START + 5 * HOUR, True), (page.campaign.windows.ends_at - 1, True)):
        lease = await night.store.node_renew("n1", night.epoch, later, [])
        assert lease is not None
        assert [paused.campaign for paused in lease.paused] == [CAMPAIGN] * there
    lease = await night.store.node_renew("n1", night.epoch, page.campaign.windows.ends_at + 1, [])
    assert lease is not None
    assert lease.paused == []


async def test_what_was_parked_in_the_night_goes_back_to_wait_for_the_morning(night: Night) -> None:
    await night.zoned(60)
    far = START + 30 * 365 * 24 * HOUR  # the tube's own clock is the real one
    await night.fire_at(START)
    page = await night.page()
    placed = [replace_time(place, far) for place in split(page, BOTH, START).placed]
    await night.tubes.page_put(page.taken, placed, 60, {}, [], {})
    tasks = await night.batches("ios")
    assert tasks
    await night.tubes.batch_release("ios", [(task.id, task.number) for task in tasks])
    await night.store.campaign_pause(CAMPAIGN, START)
    for _ in range(3):
        lease = await night.store.node_renew("n1", night.epoch, START, (await night.tubes.standing()).still)
        assert lease is not None
        await night.tubes.renew(night.epoch, lease)
        assert await night.batches("ios") == []
    await night.store.campaign_resume(CAMPAIGN, START)
    lease = await night.store.node_renew("n1", night.epoch, START, [])
    assert lease is not None
    await night.tubes.renew(night.epoch, lease)
    assert await night.batches("ios") == []
    statistics = await night.tubes.statistics()
    assert statistics["tubes"]["push_ios"]["delayed"] == len(tasks)


def replace_time(place: Placed, begin_from: int) -> Placed:
    return place._replace(delay=0.0, begin_from=begin_from)
