"""A kind of news with quiet hours of its own: from the configuration to the moment at which a push may begin."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.quiet import heed
from broadside.api.campaign_report import FireRequest
from broadside.newsroom.quiet_policy import Quiet
from campaigns.batch import Batch
from campaigns.identity import parse_campaign
from campaigns.kind import BUILT_IN, Kind
from campaigns.message import Message
from campaigns.quiet_hours import DAY, MINUTE, QuietHours, read_hours, zones_known
from campaigns.recipient import Recipient
from campaigns.windows import MARGIN, QuietRule
from storage.link import Link
from storage.store import Store
from tests.broadside.test_fire_once import cursors
from tests.broadside.test_scheduled import HOUR, iso, room_over, scheduler_over, wall
from tests.campaigns.test_quiet_hours import NOW, is_quiet

NIGHT = "23:00-07:00"
ZONES = sorted(zones_known())
HOURS = st.tuples(st.integers(0, 1439), st.integers(1, 1439)).map(lambda drawn: QuietHours(drawn[0], sum(drawn) % 1440))


@given(
    st.one_of(st.none(), HOURS),
    st.one_of(st.none(), st.just("off"), HOURS.map(str)),
    st.integers(0, 400 * DAY),
    st.sampled_from([HOUR, 4 * HOUR, 30 * HOUR]),
    st.lists(st.tuples(st.sampled_from(ZONES), st.floats(0, 1)), min_size=20, max_size=20),
)
@settings(max_examples=12, deadline=None, database=None, derandomize=True)
def test_a_push_begins_by_the_hours_of_its_kind_and_by_the_newsrooms_where_the_kind_has_none(
    newsrooms: QuietHours | None, kinds: str | None, after: int, ttl: int, moments: list[tuple[str, float]]
) -> None:
    """21.2: drawn hours, starts and zones; the model looks at the clock on the wall."""
    hours = newsrooms if kinds is None else read_hours(kinds)
    start = NOW + after
    policy = Quiet(newsrooms, {"ios": None}, {"ios"}).at(kinds)
    windows = policy.windows(QuietRule.HOLD, ["ios"], start, ttl)
    if hours is None:
        assert windows is None, "everybody gets it at once"
        return
    assert windows is not None
    phone = Recipient(1, "t", "token", 1, "")
    for zone, share in moments:
        number = windows.zones[zone]
        until = windows.classes[number - 1].due + ttl
        at = start + round(share * (until - start))
        window = windows.window("ios", number)
        found = heed(Batch(1, Message(body="x"), 1, until, [phone], window=window), at)
        awake = not any(is_quiet(zone, at + wait, hours) for wait in (0, MARGIN)) and at + MARGIN < until
        assert isinstance(found, Batch) is awake, (zone, at, str(hours))
        if isinstance(found, Batch):  # and the provider keeps it no longer than until the next night
            kept = range(at, found.kept_until, 10 * MINUTE)
            assert not any(is_quiet(zone, moment, hours) for moment in (*kept, found.kept_until - 1))


@pytest.mark.tarantool
async def test_a_scheduled_campaign_keeps_the_hours_that_its_kind_had_at_fire(own_link: Link) -> None:
    """21.2: another node, or a later configuration, does not change them."""
    store = Store(own_link)
    await store.subscribers_put([("ios", "token-1", "token", 1, "", "Asia/Tokyo", "", "", "", None, [], {})])
    room = room_over(own_link)
    room._quiet = Quiet(QuietHours.parse(NIGHT), {"ios": None})
    early = Kind(quiet_hours="20:00-10:00")
    room._kinds = BUILT_IN | {"early": early, "always": Kind(quiet_hours="off")}
    start = wall() - 1000
    message = Message(body="x")
    ids = {
        kind: parse_campaign((await room.fire(FireRequest(message=message, kind=kind, start=iso(start)))).id)
        for kind in ("early", "news", "always")
    }
    reports = {kind: await room.campaign(id) for kind, id in ids.items()}
    assert {kind: found.quiet_hours for kind, found in reports.items() if found is not None} == {
        "early": "20:00-10:00",
        "news": NIGHT,
        "always": "off",
    }
    other = room_over(own_link)
    other._quiet = Quiet(QuietHours.parse("01:00-02:00"), {"ios": None})
    scheduler = scheduler_over(own_link, other)
    with trio.fail_after(20):
        while any(state == "scheduled" for state, _ in await cursors(store)):
            await scheduler.look()
    for kind, hours in (("early", "20:00-10:00"), ("news", NIGHT), ("always", None)):
        campaign = await store.campaign_timed(ids[kind])
        assert campaign is not None
        assert (None if campaign.windows is None else campaign.windows.quiet) == hours, kind


@pytest.mark.tarantool
async def test_fire_says_on_which_channels_silent_means_hold(own_link: Link) -> None:
    """21.3: such a channel has no way to show a push without a sound, and the editor has asked for one."""
    store = Store(own_link)
    rows: list[tuple[Any, ...]] = [
        (name, "t", "token", 1, "", "Asia/Tokyo", "", "", "", None, [], {}) for name in ("ios", "android")
    ]
    await store.subscribers_put(rows)
    room = room_over(own_link)
    room._quiet = Quiet(QuietHours.parse(NIGHT), {"ios": None, "android": None}, {"ios"})
    room._checks = dict.fromkeys(("ios", "android"), lambda message, presentation=None: None)
    said = {}
    for rule in (QuietRule.SILENT, QuietRule.HOLD):
        request = FireRequest(message=Message(body="x"), quiet=rule)
        said[rule] = [each for each in (await room.fire(request)).notes if "silent" in each]
        later = msgspec.structs.replace(request, start=iso(wall() + HOUR))
        assert [each for each in (await room.fire(later)).notes if "silent" in each] == said[rule]
    (note,) = said[QuietRule.SILENT]
    assert note.startswith("silent means hold on android, because nothing can be shown there without a sound")
    assert said[QuietRule.HOLD] == []
