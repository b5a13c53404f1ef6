"""The feed: the app's backend hears of every dead, replaced and restored token at least once, in parts of any size."""

from __future__ import annotations

from typing import Any

import pytest

from broadside.access.limits import NO_LIMITS, KeyLimits
from broadside.api.outward_records import FeedLine
from broadside.errors import RecordError
from broadside.outward.feed_desk import FeedDesk
from campaigns.recipient import unpack_recipients
from storage.link import Link
from tests.storage.test_dead_ledger import Judged, ends
from tests.storage.test_step_sizes import HEAD, run
from tests.storage.test_successions import row
from tests.storage.test_walk_verbs import CAMPAIGN, NOW

pytestmark = pytest.mark.tarantool


@pytest.fixture
async def base(own_link: Link) -> Judged:
    base = Judged(own_link)
    await base.join()
    await base.beat()
    return base


async def lines(base: Judged, cursor: str = "", limit: int = 10_000, limits: KeyLimits = NO_LIMITS) -> list[FeedLine]:
    return await FeedDesk(base.store.outward).lines(cursor, limit, limits)


def said(found: list[FeedLine]) -> list[tuple[Any, ...]]:
    return [(line.kind, line.channel, line.token, line.new_token, line.reason) for line in found]


async def live(base: Judged) -> dict[str, int]:
    """Something of each kind: returns token → id of those who were deleted."""
    await base.subscribers(60)
    before = {each.token: each.id for each in await base.store.subscribers_page(0, 1000)}
    await base.fire(page_size=100)
    await base.walk()
    await base.refuse("ios", "certain", 3)
    await base.refuse("android", "likely", 2)
    await base.judge(NOW + 1)
    return before


async def test_dead_replaced_and_restored_tokens_are_in_it_as_they_happened(base: Judged) -> None:
    before = await live(base)
    found = await lines(base)
    gone = before.keys() - {each.token for each in await base.store.subscribers_page(0, 1000)}
    assert len(gone) == 5
    assert {line.token for line in found} == gone
    for line in found:
        assert (line.kind, line.reason, line.subscriber) == ("dead", "Word", before[line.token])
    token = next(iter(before.keys() - gone))
    channel = next(each.channel for each in await base.store.subscribers_page(0, 1000) if each.token == token)
    await base.store.subscribers_put([row("newer", token, channel=channel)])
    (moved,) = await lines(base, found[-1].cursor)
    assert said([moved]) == [("replaced", channel, token, "newer", None)]
    assert moved.subscriber == before[token]
    await base.store.dead_restore(None, CAMPAIGN, NOW + 2)
    back = await lines(base, moved.cursor)
    assert {(line.kind, line.token) for line in back} == {("restored", each) for each in gone}
    assert await lines(base, back[-1].cursor) == [], "there is nothing new"


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_parts_of_any_size_are_the_whole_and_any_cursor_goes_on_behind_its_line(base: Judged, limit: int) -> None:
    await live(base)
    await base.store.subscribers_put([row(f"n{n}", f"token-{n}") for n in range(21, 40, 2)])
    whole = await lines(base)
    assert len(whole) >= 10
    found, cursor = list[FeedLine](), ""
    while part := await lines(base, cursor, limit):
        assert len(part) <= limit
        found += part
        cursor = part[-1].cursor
    assert found == whole
    for n, line in enumerate(whole):
        assert await lines(base, line.cursor) == whole[n + 1 :]
    assert len({line.cursor for line in whole}) == len(whole)


async def test_a_key_hears_of_its_own_channels_alone(base: Judged) -> None:
    await live(base)
    ios = await lines(base, limits=KeyLimits(channels={"ios"}))
    android = await lines(base, limits=KeyLimits(channels={"android"}))
    assert {line.channel for line in ios} == {"ios"}
    assert {line.channel for line in android} == {"android"}
    assert len(ios) + len(android) == len(await lines(base))


@pytest.mark.parametrize("cursor", ["x", "1.x", "-1", "1.2.3", "9" * 30, "٣"])
async def test_what_is_no_cursor_is_refused(base: Judged, cursor: str) -> None:
    with pytest.raises(RecordError, match="cursor"):
        await lines(base, cursor)


BOUNDED = """
local feed = require('roles.store.feed')
local function add(n, at)
    local entries = {}
    for i = 1, n do
        entries[i] = {i, ('t'):rep(64), 'Unregistered'}
    end
    box.begin()
    feed.add('dead', 'ios', 7, entries, at)
    box.commit()
end
local rows = box.space.store_feed
for n = 1, 450 do
    add(500, 1000)
end
assert(rows.index.number:min().number > 1, 'old ones have left')
local kept = 0
for _, row in rows:pairs() do
    kept = kept + row.subscribers
end
assert(kept <= 200000 and kept > 190000, kept)
add(1, 1000 + 8 * 86400 * 1000)
for _ = 1, 100 do
    add(1, 1000 + 8 * 86400 * 1000)
end
assert(rows:len() == 101, 'a week later nothing of it is left: ' .. rows:len())
local list, first, last = feed.feed_page(5, 10)
assert(#list == 10 and first == list[1].number and last == first + 100)
print(json.encode({rows:len()}))
os.exit(0)
"""


def test_it_is_bounded_by_age_and_number(tmp_path: Any) -> None:
    assert run(HEAD + BOUNDED, tmp_path) == [101]


async def test_a_reader_who_comes_too_late_is_told_that_something_is_missing(base: Judged) -> None:
    """Issue 25.9: entries are kept for a week."""
    await base.subscribers(400)
    await base.fire(page_size=400)
    await base.walk()
    await base.refuse("ios", "certain", 3)
    old = await lines(base)
    assert len(old) == 3
    before = {each.token for each in await base.store.subscribers_page(0, 1000)}
    now = NOW + 8 * 86_400_000
    (task, *_) = await base.batches("android")
    recipients = unpack_recipients(task.recipients)
    assert await base.tubes.settle("android", [ends(task, recipients, recipients[:2], "certain")]) == [True]
    epoch, found = await base.tubes.outbox_read(100, wait=False, known=(0, 0))
    await base.store.report("n1", epoch, found, now)
    gone = before - {each.token for each in await base.store.subscribers_page(0, 1000)}
    assert len(gone) == 2
    for late in old[:-1]:
        answer = await lines(base, late.cursor)
        assert answer[0].kind == "gap", late
        assert {line.token for line in answer[1:]} == gone
    assert await lines(base, answer[0].cursor) == answer[1:], "it goes on behind the gap"
    assert {line.token for line in await lines(base, old[-1].cursor)} == gone, "who had heard all has missed nothing"


async def test_a_reader_who_knows_more_than_the_store_is_told_so_and_goes_on(base: Judged) -> None:
    """A store that was put back from a backup has forgotten its last entries, and gives their numbers again."""
    await live(base)
    whole = await lines(base)
    (gap,) = await lines(base, "1000.2")
    assert gap.kind == "gap"
    assert gap.cursor == whole[-1].cursor
    assert await lines(base, gap.cursor) == []
    await base.store.subscribers_put([row("a1"), row("b1", "a1")])
    assert [line.kind for line in await lines(base, gap.cursor)] == ["replaced"]


async def test_a_reader_of_a_store_that_is_blank_begins_again(base: Judged) -> None:
    (gap,) = await lines(base, "7")
    assert (gap.kind, gap.cursor) == ("gap", "0")
    assert await lines(base, gap.cursor) == []
    await live(base)
    assert len(await lines(base, gap.cursor)) == 5
