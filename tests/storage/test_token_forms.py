"""Rows from before tokens had one form are brought into it, a little at a time, while nothing fires."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors import normaliser
from actors.normaliser import Normaliser
from broadside.newsroom.coverage import verify
from campaigns.message import Message
from storage.link import Link
from storage.records import Row
from storage.store import Store
from transports import registry

PLATFORMS = {"ios": "apns", "android": "fcm"}
RULE = "apns 1"
NOW = 1_790_000_000_000


def row(token: str, registered_at: int = 1000, locale: str = "en", channel: str = "ios") -> list[Any]:
    return [channel, token, "token", registered_at, locale, "UTC", "AT", "1", "", None, [], {}]


def apple(n: int) -> str:
    return f"{n:06x}{'c0ffee' * 10}"[:64]


def actor(store: Store, node: str = "n1") -> Normaliser:
    channels = {name: (platform, registry.load(platform)) for name, platform in PLATFORMS.items()}
    return Normaliser(store=store, node=node, channels=channels, clock=lambda: time.time_ns() // 1_000_000)


@pytest.fixture
def store(own_link: Link, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(normaliser, "PACE", 0.0)
    monkeypatch.setattr(normaliser, "WAIT", 0.05)
    return Store(own_link)


async def base(store: Store) -> dict[int, Row]:
    return {found.id: found for found in await store.subscribers_page(0, 10_000)}


@asynccontextmanager
async def fired(store: Store, id: int) -> AsyncIterator[None]:
    """While a campaign fires, which nobody walks."""
    await store.campaign_create(id, Message(title="t", body="b"), None, {"page_size": 10}, NOW)
    assert await store.campaign_fire(id, 1, NOW)
    yield
    assert await store.campaign_cancel(id, NOW) == "cancelling"
    await trio.sleep(0.2)
    assert await store.node_join("n1", "uuid-1", 0, NOW, ["ios", "android"]) == 1
    campaign = await store.campaign_get(id)
    assert campaign is not None
    lease = await store.node_renew("n1", 1, NOW, [(id, campaign.version)])
    assert lease is not None
    campaign = await store.campaign_get(id)
    assert campaign is not None
    assert campaign.state == "cancelled"


async def test_two_rows_of_one_phone_become_one_that_keeps_the_older_id_and_says_what_was_registered_last(
    store: Store,
) -> None:
    """A4: AB and ab are one phone, which got every piece of news twice."""
    await store.subscribers_put([row(apple(1), 2000, "old"), row(apple(1).upper(), 3000, "new")])
    await store.subscribers_put([row(apple(2).upper(), 3000, "new"), row(apple(2), 2000, "old")])
    await store.subscribers_put([row(apple(3).upper(), 3000, "de"), row("NULL"), row(apple(4)), row(f"<{apple(5)}>")])
    await store.subscribers_put([row(f"x:{apple(6)}0\n", channel="android"), row(f"x:{apple(6)}1", channel="android")])
    before = await store.removals()
    await actor(store).run(lambda: None)
    rows = {(found.id, found.token, found.locale) for found in (await base(store)).values()}
    assert rows == {
        (1, apple(1), "new"), (3, apple(2), "new"), (5, apple(3), "de"), (6, "NULL", "en"), (7, apple(4), "en"),
        (8, apple(5), "en"), (9, f"x:{apple(6)}0", "en"), (10, f"x:{apple(6)}1", "en"),
    }  # fmt: skip
    assert await store.subscribers_count() == {"ios": 6, "android": 2}
    after = await store.removals()
    assert {name: after[name] - before[name] for name in after} == {"ios": 2, "android": 0}
    report = await store.tokens_report()
    assert report["ios"] == (True, 2, 2, 1)
    assert report["android"] == (True, 1, 0, 0)


async def test_nothing_is_rewritten_while_a_campaign_fires_and_its_ledger_stays_right(store: Store) -> None:
    """A4: a row that leaves the base under way would be missing from the page that it was counted in."""
    await store.subscribers_put([row(apple(n).upper()) for n in range(20)])
    async with trio.open_nursery() as nursery, fired(store, 1):
        nursery.start_soon(actor(store).run, lambda: None)
        await trio.sleep(0.3)
        assert [found.token for found in (await base(store)).values()] == [apple(n).upper() for n in range(20)]
        page = await store.tokens_page("ios", RULE, "n1", None, 5, NOW)
        assert (page.state, await store.tokens_write("ios", RULE, "n1", ("", "z", True), [], 0, NOW)) == (
            "fires",
            "fires",
        )
    assert [found.token for found in (await base(store)).values()] == [apple(n) for n in range(20)]
    campaign = await store.campaign_get(1)
    assert campaign is not None
    assert (await verify(store, campaign)).ok


async def test_a_merged_row_is_counted_as_one_that_left_the_base(store: Store) -> None:
    """A4: `campaign verify` compares the ledger with a base that has lost rows since."""
    await store.subscribers_put([row(apple(n)) for n in range(10)] + [row(apple(3).upper())])
    before = await store.removals()
    await actor(store).run(lambda: None)
    assert (await store.removals())["ios"] - before["ios"] == 1
    assert (await store.subscribers_count())["ios"] == len(await base(store)) == 10


async def test_it_goes_on_where_it_was_and_is_done_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4: a start does not walk two million rows again."""
    monkeypatch.setattr(normaliser, "ROWS", 7)
    monkeypatch.setattr(normaliser, "REWRITTEN", 3)
    monkeypatch.setattr(normaliser, "WRITE_EVERY", 2)
    await store.subscribers_put([row(apple(n).upper() if n % 3 else apple(n)) for n in range(100)])
    pages: list[str | None] = []
    original = Store.tokens_page

    async def counted(self: Store, channel: str, rule: str, node: str, after: str | None, *rest: Any) -> Any:
        pages.append(after)
        if len(pages) == 8:
            first.stop()
        return await original(self, channel, rule, node, after, *rest)

    monkeypatch.setattr(Store, "tokens_page", counted)
    first = actor(store)
    await first.run(lambda: None)
    report = (await store.tokens_report())["ios"]
    assert not report.done
    assert 0 < report.normalised < 66
    pages.clear()
    await actor(store).run(lambda: None)
    assert len(pages) < 20, "from where the first was stopped"
    assert (await store.tokens_report())["ios"] == (True, 66, 0, 0)
    assert {found.token for found in (await base(store)).values()} == {apple(n) for n in range(100)}
    pages.clear()
    await actor(store).run(lambda: None)
    assert pages == [None, None], "each channel is asked for once, and is done"


async def test_one_node_does_it_and_the_other_goes_on_when_that_one_is_silent(store: Store) -> None:
    """A4: one winner, and no page is written down by two."""
    await store.subscribers_put([row(apple(n).upper()) for n in range(9)])
    change = [(1, apple(0).upper(), apple(0))]
    for node in ("n1", "n2"):
        assert (await store.tokens_page("ios", RULE, node, None, 5, NOW)).state == "page"
    span = ("", apple(0).upper(), False)
    assert await store.tokens_write("ios", RULE, "n1", span, change, 0, NOW) == "written"
    assert await store.tokens_write("ios", RULE, "n2", span, change, 0, NOW) == "lost"
    assert (await store.tokens_page("ios", RULE, "n2", None, 5, NOW + 29_000)).state == "busy"
    assert (await store.tokens_page("ios", RULE, "n2", None, 5, NOW + 31_000)).state == "page"
    assert (await store.tokens_report())["ios"] == (False, 1, 0, 0)
    assert (await store.tokens_page("ios", "apns 2", "n2", None, 5, NOW)).since == "", "another rule begins anew"
