"""The ledger keeps who is settled of a page by id, whatever batches its recipients were put in."""

from __future__ import annotations

from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.id_set import pack_ids, unpack_ids
from campaigns.recipient import pack_recipients, unpack_recipients
from storage.link import Link
from storage.records import PagePart, Placed, Remainder
from tests.storage.test_walk_verbs import BOTH, CAMPAIGN, NOW, House, come_back_blank, settlement

IDS = st.integers(1, 300) | st.integers(1, 2**53)


@given(st.lists(st.sets(IDS), max_size=4))
def test_sets_of_ids_are_joined_by_writing_one_after_the_other(sets: list[set[int]]) -> None:
    assert unpack_ids(number for ids in sets for number in pack_ids([*ids])) == frozenset().union(*sets)


@given(st.integers(1, 2**53), st.integers(1, 2000))
def test_ids_in_a_row_take_a_few_octets_a_hundred(first: int, count: int) -> None:
    row = range(first, first + count)
    packed = pack_ids(row)
    assert unpack_ids(packed) == frozenset(row)
    assert len(packed) <= 2 * (count // 64 + 2)


def placed(parts: list[PagePart]) -> list[Placed]:
    return [Placed(part, 0.0, NOW * 2) for part in parts]


@pytest.fixture
async def house(own_link: Link) -> House:
    house = House(own_link)
    await house.join()
    return house


@pytest.mark.tarantool
async def test_who_lies_between_the_ids_of_a_settled_batch_is_still_sent_to(house: House) -> None:
    """A page is put as two batches of one channel whose ids interleave, as two window classes do. One is settled
    but for a phone; then the node is lost. Kept as the range of the first batch, nobody of the second would be left."""
    await house.subscribers(20)
    await house.fire()
    held = await house.take()
    assert held is not None
    claim = await house.store.page_claim("n1", held.epoch, held.baton, NOW)
    parts = []
    for part in (await house.store.page_read(claim.from_id, claim.to_id, 500)).parts:
        rows = unpack_recipients(part.recipients)
        halves = [rows[::2], rows[1::2]] if part.channel == "ios" else [rows]
        parts += [PagePart(part.channel, len(half), pack_recipients(half)) for half in halves]
    counts = {channel: {"enqueued": 10} for channel in BOTH}
    assert await house.tubes.page_put(held, placed(parts), 20, counts, [], {}) == "put"
    await house.deliver("android")
    (first, second) = await house.batches("ios")
    early, late = unpack_recipients(first.recipients), unpack_recipients(second.recipients)
    assert (len(early), len(late)) == (5, 5)
    rest = Remainder(60.0, 2, 1, pack_recipients(early[2:3]))
    assert await house.tubes.settle("ios", [settlement(first, delivered=4, retried=1, remainders=[rest])]) == [True]
    await house.report()
    await come_back_blank(house)
    (task,) = await house.batches("ios")
    assert unpack_recipients(task.recipients) == sorted([*late, early[2]], key=attrgetter("id"))
    assert await house.tubes.settle("ios", [settlement(task, delivered=6)]) == [True]
    await house.report()
    assert await house.state() == "done"
    assert (await house.tallies())["ios"]["delivered"] == 10


@pytest.mark.tarantool
async def test_who_needed_no_batch_is_not_counted_again_by_the_pages_next_owner(house: House) -> None:
    """Recipients that expired when the page was put are settled like any others."""
    await house.subscribers(20)
    await house.fire()
    held = await house.take()
    assert held is not None
    claim = await house.store.page_claim("n1", held.epoch, held.baton, NOW)
    parts = {part.channel: part for part in (await house.store.page_read(claim.from_id, claim.to_id, 500)).parts}
    expired = [recipient.id for recipient in unpack_recipients(parts["android"].recipients)]
    counts = {"ios": {"enqueued": 10}, "android": {"enqueued": 10, "expired": 10}}
    assert await house.tubes.page_put(held, placed([parts["ios"]]), 20, counts, expired, {}) == "put"
    await house.report()
    await come_back_blank(house)
    assert await house.deliver("ios") == 10
    assert await house.deliver("android") == 0
    await house.report()
    assert await house.state() == "done"
    assert (await house.tallies())["android"] == {"audience": 10, "enqueued": 10, "expired": 10}


@pytest.mark.tarantool
async def test_a_line_of_the_first_version_settles_the_ids_of_its_range(house: House) -> None:
    """A queue may still owe such lines when its node is upgraded."""
    await house.subscribers(20)
    await house.fire()
    await house.walk_page()
    await house.report()
    _, lines = await house.tubes.outbox_read(100, wait=False)
    number = (await house.store.node_list())[0].unsettled + len(lines)  # the page's own line came before
    ids = [recipient.id for recipient in unpack_recipients((await house.batches("ios"))[0].recipients)]
    line = {
        "kind": "settled", "channel": "ios", "campaign": CAMPAIGN, "segment": 0, "seq": 0, "reasons": {}, "dead": [],
        "tallies": {"delivered": 8}, "first": ids[0], "last": ids[-1], "left": ids[3:5],
    }  # fmt: skip
    rest = line | {"tallies": {"delivered": 1}, "first": ids[3], "last": ids[4], "left": ids[4:5], "ids": ids[3:5]}
    assert await house.store.report("n1", house.epoch, [(number + 1, line), (number + 2, rest)], NOW) == number + 2
    await come_back_blank(house)
    (task,) = await house.batches("ios")
    assert [recipient.id for recipient in unpack_recipients(task.recipients)] == ids[4:5]
