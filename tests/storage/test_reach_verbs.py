"""Live reach and the nodes' experience at the store, against a real Tarantool."""

from __future__ import annotations

from typing import Any

import pytest

from campaigns.reach import bounds
from storage.errors import VerbRefused
from storage.link import Link
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, House

pytestmark = pytest.mark.tarantool


@pytest.fixture
async def house(own_link: Link) -> House:
    """With a campaign of one page that is on the tubes."""
    house = House(own_link)
    await house.join()
    await house.subscribers(400)
    await house.fire(page_size=1000)
    while await house.walk_page() is not None:
        pass
    await house.report()
    return house


def line(number: int, at: int | None, delivered: int, **more: int) -> list[Any]:
    ended: dict[str, Any] = {
        "kind": "settled", "campaign": CAMPAIGN, "segment": 0, "seq": 0, "channel": "ios",
        "tallies": {"delivered": delivered, **more}, "reasons": {}, "dead": [], "ended": [],
    }  # fmt: skip
    return [number, ended if at is None else {**ended, "at": at}]


@pytest.mark.parametrize("ms", [0, 3, 10, 11, 20, 40, 999, 1_000, 5_120, 90_000, 86_400_000, 400 * 86_400_000])
async def test_the_store_counts_a_push_in_the_class_of_its_time(house: House, ms: int) -> None:
    """Issue 25.6: storage/lua and campaigns/reach.py mean the same classes."""
    await house.store.report("n1", house.epoch, [line(1000, NOW + ms, 7)], NOW + ms)
    ((channel, node, counts),), _ = await house.store.forecasts.reach(CAMPAIGN)
    assert (channel, node) == ("ios", "n1")
    ((found, pushes),) = counts.items()
    assert pushes == 7
    begin, end = bounds(found)
    assert found == 120 or begin * 0.999 <= ms / 1000 <= end * 1.001


async def test_a_report_of_many_lines_adds_once_and_a_repeat_adds_nothing(house: House) -> None:
    """Issue 25.6: no cost per recipient, and a line that comes twice is one."""
    lines = [line(1000 + n, NOW + 100 * n, 2, dead=1) for n in range(20)]
    for _ in range(2):
        await house.store.report("n1", house.epoch, lines, NOW + 5_000)
    (row,), (rate,) = await house.store.forecasts.reach(CAMPAIGN)
    assert sum(row.counts.values()) == 40
    assert (rate.channel, rate.node) == ("ios", "n1")
    assert 12 <= rate.rate <= 60, "sixty pushes have ended, within a second or five"


async def test_a_line_of_an_earlier_version_has_no_time_and_counts_for_the_rate_alone(house: House) -> None:
    """Issue 25.6: a queue that was upgraded later."""
    await house.store.report("n1", house.epoch, [line(1000, None, 5)], NOW)
    rows, (rate,) = await house.store.forecasts.reach(CAMPAIGN)
    assert rows == []
    assert rate.rate > 0


async def test_the_queue_says_when_it_was_settled(house: House) -> None:
    """Issue 25.6: the store may hear of it much later."""
    assert await house.deliver("ios") == 200
    _, lines = await house.tubes.outbox_read(100, wait=False)
    assert lines
    assert all(abs(each["at"] - lines[0][1]["at"]) < 60_000 for _, each in lines)


async def test_what_a_node_has_learnt_is_kept_for_the_ring(house: House) -> None:
    """Issue 25.2: over a restart, and of nodes without number."""
    await house.store.forecasts.keep_experience("n1", "{}", NOW)
    await house.store.forecasts.keep_experience("n1", '{"cost":1e-5}', NOW + 1)
    assert [(row.node, row.text) for row in await house.store.forecasts.experience()] == [("n1", '{"cost":1e-5}')]
    for n in range(120):
        await house.store.forecasts.keep_experience(f"m{n}", "{}", NOW + 2 + n)
    names = [row.node for row in await house.store.forecasts.experience()]
    assert len(names) == 100
    assert "n1" not in names, "the one that has written least lately goes"
    with pytest.raises(VerbRefused):
        await house.store.forecasts.keep_experience("n1", "x" * 70_000, NOW)
