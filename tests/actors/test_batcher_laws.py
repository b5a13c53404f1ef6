"""A page split into batches: pure laws of `actors.batcher.split`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from actors.batcher import split
from actors.messages import Page
from campaigns.baton import Baton
from campaigns.campaign import Campaign
from campaigns.lane import Lane
from campaigns.message import Message
from campaigns.recipient import Recipient, pack_recipients, unpack_recipients
from storage.records import Claim, PagePart, TakenBaton

Row = tuple[int, str]
"""Id and channel."""

SERVED = {"ios", "android"}
ALL = ("ios", "android", "elsewhere")


def page(rows: list[Row], audience: Sequence[str] = ALL, ended: frozenset[int] = frozenset(), most: int = 4) -> Page:
    """A page of these rows, in parts as the store gives them."""
    parts = []
    for channel in sorted({channel for _, channel in rows}):
        ids = [id for id, each in rows if each == channel]
        for start in range(0, len(ids), most):
            part = ids[start : start + most]
            packed = pack_recipients([Recipient(id, f"token-{id}", "token", 5, "en") for id in part])
            parts.append(PagePart(channel, len(part), packed))
    campaign = Campaign(
        1, 1, "firing", Message(title="t", body="b"), list(audience), {"ttl_ms": 1000}, 10, 20, None, False
    )
    return Page(TakenBaton(Baton(1, 0, 0, 0), 0, 1, 1), Claim("claimed", 0, 10**9, None, ended), campaign, parts)


channels = st.sampled_from(ALL)


@given(st.lists(channels, max_size=40))
def test_every_row_is_in_one_batch_of_its_channel_or_has_expired(cast: list[str]) -> None:
    """A6: nobody is dropped. A page with a channel of other nodes is only walked once the news has expired."""
    rows = list(enumerate(cast, 1))
    result = split(page(rows), SERVED, 10)
    assert result.recipients == len(rows)
    found: dict[str, list[int]] = {}
    for batch, delay, expires_at, *_ in result.placed:
        assert (delay, expires_at) == (0, 1020)
        recipients = unpack_recipients(batch.recipients)
        assert 0 < len(recipients) == batch.size
        found.setdefault(batch.channel, []).extend(r.id for r in recipients)
    for channel in SERVED:
        assert found.get(channel, []) == [id for id, each in rows if each == channel]
    counted = {channel: tally["enqueued"] for channel, tally in result.tallies.items()}
    assert counted == Counter(cast)
    assert result.tallies.get("elsewhere", {}).get("expired", 0) == cast.count("elsewhere")
    assert result.ended == [id for id, each in rows if each == "elsewhere"]


def test_channels_outside_the_audience_are_left_out() -> None:
    result = split(page([(1, "ios"), (2, "android")], audience=["ios"]), SERVED, 10)
    assert [place.part.channel for place in result.placed] == ["ios"]
    assert (result.recipients, result.tallies) == (1, {"ios": {"enqueued": 1}})


def test_what_an_earlier_owner_settled_is_not_put_again() -> None:
    ended = frozenset({1, 3, 4})
    result = split(page([*((id, "ios") for id in range(1, 7)), (9, "android")], ended=ended, most=10), SERVED, 10)
    ids = {place.part.channel: [r.id for r in unpack_recipients(place.part.recipients)] for place in result.placed}
    assert ids == {"ios": [2, 5, 6], "android": [9]}
    assert result.recipients == 4


@given(st.lists(channels, max_size=40), st.dictionaries(channels, st.integers(1, 5)))
def test_a_rated_channels_batches_are_cut_and_nobody_is_lost_by_it(cast: list[str], sizes: dict[str, int]) -> None:
    """21.3: below 500 a second a batch is one second's worth."""
    rows = list(enumerate(cast, 1))
    whole, cut = split(page(rows), SERVED, 10), split(page(rows), SERVED, 10, sizes)
    assert cut._replace(placed=[]) == whole._replace(placed=[])
    parts = [place.part for place in cut.placed]
    assert all(0 < part.size <= sizes.get(part.channel, 4) for part in parts)
    assert all(len(unpack_recipients(part.recipients)) == part.size for part in parts)
    for channel in SERVED:
        ids = [row.id for part in parts if part.channel == channel for row in unpack_recipients(part.recipients)]
        assert ids == [id for id, each in rows if each == channel]


def test_a_split_page_has_the_lane_of_its_campaign() -> None:
    """21.3: fixed by Fire, so that every node of the ring puts it on the same lane."""
    given_page = page([(1, "ios")])
    assert split(given_page, SERVED, 10).lane is Lane.MIDDLE
    policy = {"ttl_ms": 1000, "lane": "upper"}
    urgent = replace(given_page, campaign=replace(given_page.campaign, policy=policy))
    assert split(urgent, SERVED, 10).lane is Lane.UPPER
