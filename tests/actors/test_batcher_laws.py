"""A page split into batches: pure laws of `actors.batcher.split`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.batcher import RECIPIENTS_A_BATCH, split
from actors.messages import Page
from storage.records import Baton, Campaign, Claim, HeldBaton, Span, Target
from transports.contract import Message, recipients_from_json

SERVED = {"ios", "android"}


def page(rows: list[Target], audience: list[str] | None = None, spans: tuple[Span, ...] = ()) -> Page:
    campaign = Campaign(1, 1, "firing", Message(title="t", body="b"), audience, {"ttl_ms": 1000}, 10, 20, None, False)
    return Page(HeldBaton(Baton(1, 0, 0, 0), 0, 1, 1), Claim("claimed", 0, 10**9, None, spans), campaign, rows)


def row(id: int, channel: str, locale: str = "en") -> Target:
    return Target(id, channel, f"token-{id}", "token", 5, locale)


channels = st.sampled_from(["ios", "android", "elsewhere"])


@given(st.lists(st.tuples(channels, st.sampled_from(["en", "de", ""])), max_size=1500))
def test_every_row_is_in_one_batch_of_its_channel_or_dropped(cast: list[tuple[str, str]]) -> None:
    rows = [row(id, channel, locale) for id, (channel, locale) in enumerate(cast, 1)]
    result = split(page(rows), SERVED)
    assert result.recipients == len(rows)
    found: dict[str, list[tuple[int, str]]] = {}
    for batch in result.batches:
        recipients = recipients_from_json(batch.recipients)
        assert 0 < len(recipients) <= RECIPIENTS_A_BATCH
        assert batch.expires_at == 1020
        found.setdefault(batch.channel, []).extend((r.id, batch.locales[r.locale]) for r in recipients)
    for channel in SERVED:
        assert found.get(channel, []) == [(r.id, r.locale) for r in rows if r.channel == channel]
    strangers = sum(r.channel == "elsewhere" for r in rows)
    assert result.tallies.get("elsewhere", {}).get("dropped", 0) == strangers


def test_channels_outside_the_audience_are_left_out() -> None:
    result = split(page([row(1, "ios"), row(2, "android")], audience=["ios"]), SERVED)
    assert [batch.channel for batch in result.batches] == ["ios"]
    assert (result.recipients, result.tallies) == (1, {"ios": {"enqueued": 1}})


def test_what_an_earlier_owner_settled_is_not_put_again() -> None:
    spans = (Span("ios", 1, 4, frozenset({2})),)
    result = split(page([row(id, "ios") for id in range(1, 7)] + [row(9, "android")], spans=spans), SERVED)
    ids = {batch.channel: [r.id for r in recipients_from_json(batch.recipients)] for batch in result.batches}
    assert ids == {"ios": [2, 5, 6], "android": [9]}
    assert result.recipients == 4
