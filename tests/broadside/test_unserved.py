"""A channel that no node serves: named at the import and before Fire, and never dropped in silence (A6)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from actors.batcher import Batcher
from actors.campaign_cache import CampaignCache
from actors.messages import Page
from actors.shepherd import Shepherd
from actors.walker import Walker
from campaigns.baton import Baton
from campaigns.identity import parse_campaign
from campaigns.message import Message
from storage.link import Link
from storage.records import Lease
from storage.store import Store
from storage.tubes import Tubes
from tests.broadside.fake_node import FakeNode, Said, broadside, folder, node
from tests.broadside.test_fire_once import NOW, client, newsroom
from tests.conftest import Server, linked

__all__ = ["broadside", "folder", "node"]  # fixtures

BOTH = ["android", "ios"]


async def join(link: Link, name: str, channels: list[str]) -> int:
    """Let a node join, and give its queue a lease where it is the first of this instance."""
    tubes = Tubes(link, name)
    uuid, held, _ = await tubes.epoch()
    epoch = await Store(link).node_join(name, uuid if name == "n1" else f"queue of {name}", 0, NOW, channels)
    assert epoch is not None
    if name == "n1":
        if epoch != held:
            await tubes.adopt(epoch)
        await tubes.renew(epoch, Lease(60.0, []))
    return epoch


async def phones(store: Store, **channels: int) -> None:
    for name, count in channels.items():
        channel = name.replace("_", "-")
        await store.subscribers_put(
            [(channel, f"{channel}-{n}", "token", 1, "", "", "", "", "", None, [], {}) for n in range(count)]
        )


async def fire(api: httpx.AsyncClient, *channels: str) -> httpx.Response:
    body: dict[str, Any] = {"message": {"title": "t", "body": "b"}}
    if channels:
        body["channels"] = list(channels)
    return await api.post("/v1/campaigns", content=json.dumps(body))


# -- what the ring serves ----------------------------------------------------------------------------------------------


async def test_the_ring_serves_what_its_current_nodes_say_at_their_join(own_link: Link) -> None:
    store = Store(own_link)
    assert await store.channels_served() is None, "nobody has joined"
    await join(own_link, "n1", ["ios"])
    await join(own_link, "n2", ["android", "ios"])
    assert await store.channels_served() == {"android", "ios"}
    assert await store.nodes_serving(["ios"]) == {"n1", "n2"}
    assert await store.nodes_serving(BOTH) == {"n2"}
    await store.node_forget("n2")
    assert await store.channels_served() == {"ios"}


async def test_a_node_that_starts_again_in_its_epoch_says_anew_what_it_serves(own_link: Link) -> None:
    store, tubes = Store(own_link), Tubes(own_link, "n1")
    epoch = await join(own_link, "n1", ["ios"])
    uuid, _, _ = await tubes.epoch()
    assert await store.node_join("n1", uuid, epoch, NOW, BOTH) == epoch
    assert await store.channels_served() == set(BOTH)


# -- the import --------------------------------------------------------------------------------------------------------


async def test_a_subscriber_of_a_channel_that_no_node_serves_is_refused(own_link: Link) -> None:
    """A6: a misspelt channel went in, and its phones never got anything."""
    await join(own_link, "n1", BOTH)
    row = {"channel": "andriod", "token": "b" * 64}
    async with client(own_link) as api:
        answer = await api.post("/v1/subscribers", content=json.dumps(row))
        error = answer.json()
        assert (answer.status_code, error["field"], error["value"]) == (400, "channel", "andriod")
        assert 'no node serves "andriod"' in error["detail"]
        assert error["remedy"] == "did you mean android? served: android, ios"
        assert (await api.get("/v1/subscribers/count")).json()["total"] == 0


@pytest.mark.parametrize("format", ["csv", "ndjson"])
def test_an_import_rejects_each_line_of_a_channel_that_no_node_serves(
    broadside: Said, node: FakeNode, tmp_path: Path, format: str
) -> None:
    """A6: "1,000 new", exit code 0."""
    node.served = ["android-news", "ios-news"]
    rows = [("ios-news", "a"), *(("ios-nwes", f"b{n}") for n in range(1000)), ("web", "c")]
    file = tmp_path / f"base.{format}"
    if format == "csv":
        file.write_text("channel,token\n" + "".join(f"{channel},{token}\n" for channel, token in rows))
    else:
        file.write_text("".join(json.dumps({"channel": channel, "token": token}) + "\n" for channel, token in rows))
    code, out, err = broadside("subscribers", "import", str(file))
    assert code == 1
    assert "1 new, 0 updated, 1,001 rejected" in out
    first = 3 if format == "csv" else 2
    assert f'line {first}: channel: no node serves "ios-nwes" (did you mean ios-news? served: ' in err
    assert list(node.rows) == [("ios-news", "a")]
    assert len((tmp_path / f"base.{format}.rejected").read_text().splitlines()) == 1001 + (format == "csv")


# -- Fire --------------------------------------------------------------------------------------------------------------


async def test_fire_to_a_channel_that_no_node_serves_is_refused_before_anything_is_sent(own_link: Link) -> None:
    """A6: named by the editor."""
    await join(own_link, "n1", BOTH)
    await phones(Store(own_link), isos=1000, ios=1)
    async with client(own_link) as api:
        answer = await fire(api, "ios", "isos")
        error = answer.json()
        assert (answer.status_code, error["field"]) == (400, "channels")
        assert "isos" in error["detail"]
        assert "did you mean ios?" in error["remedy"]
        assert (await api.get("/v1/campaigns")).json()["items"] == []


async def test_fire_to_all_is_refused_when_no_node_serves_any_of_them(own_link: Link) -> None:
    await join(own_link, "n1", BOTH)
    await phones(Store(own_link), ios_nwes=1000)
    async with client(own_link) as api:
        answer = await fire(api)
        assert answer.status_code == 400
        assert "no node serves ios-nwes: 1,000 phones" in answer.json()["detail"]
        assert (await api.get("/v1/campaigns")).json()["items"] == []


async def test_fire_to_all_goes_to_those_that_are_served_and_says_in_words_whom_it_leaves_out(own_link: Link) -> None:
    """A6: 1,000 phones were *dropped* after the fact, and the campaign was done."""
    await join(own_link, "n1", BOTH)
    await phones(Store(own_link), ios_nwes=1000, ios=3)
    async with client(own_link) as api:
        report = (await fire(api)).json()
        assert report["unserved"] == {"ios-nwes": 1000}
        assert report["notes"][0].startswith("no node serves ios-nwes: 1,000 phones get nothing")
        assert list(report["channels"]) == ["ios"]
        assert (await api.get(f"/v1/campaigns/{report['id']}")).json()["unserved"] == {"ios-nwes": 1000}
    fired = await Store(own_link).campaign_get(parse_campaign(report["id"]))
    assert fired is not None
    assert (fired.audience, fired.channels) == (["ios"], {"ios"})


async def test_fire_is_refused_where_no_single_node_serves_all_of_its_channels(own_link: Link) -> None:
    """A6: a page has subscribers of all channels, so who walks it needs every one."""
    await join(own_link, "n1", ["ios"])
    await join(own_link, "n2", ["android"])
    await phones(Store(own_link), ios=3, android=3)
    async with client(own_link) as api:
        answer = await fire(api)
        assert answer.status_code == 400
        assert "no node serves all of" in answer.json()["detail"]
        assert "--channel NAME" in answer.json()["remedy"]
        assert (await fire(api, "android")).status_code == 201


async def test_the_store_itself_refuses_what_the_ring_has_ceased_to_serve_since_the_draft(own_link: Link) -> None:
    store = Store(own_link)
    await join(own_link, "n1", BOTH)
    await phones(store, ios=3)
    room = newsroom(own_link)
    await store.campaign_create(7, Message(title="t", body="b"), ["ios"], {"ttl_ms": 1000}, NOW)
    uuid, epoch, _ = await Tubes(own_link, "n1").epoch()
    assert await store.node_join("n1", uuid, epoch, NOW, ["android"]) == epoch
    with pytest.raises(Exception, match="no node serves ios: 3 phones"):
        await store.campaign_fire(7, 1, NOW)
    draft = await room.campaign(7)
    assert draft is not None
    assert draft.state == "draft"


# -- the walk ----------------------------------------------------------------------------------------------------------


class Walk:
    """The walker and the batcher of a node, on an instance that is store and queue."""

    def __init__(self, link: Link, channels: list[str], peers: dict[str, Tubes], now: int = NOW) -> None:
        self.store, self.tubes = Store(link), Tubes(link, "walker")
        send, receive = trio.open_memory_channel[Page](2)
        self.batcher = Batcher(tubes=self.tubes, pages=receive, intake=send, channels=channels, clock=lambda: now)
        self.walker = Walker(
            node="n1",
            tubes=self.tubes,
            ring=peers,
            channels=channels,
            store=self.store,
            cache=CampaignCache(self.store),
            pages=send.clone(),
            clock=lambda: now,
        )

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.batcher.run, lambda: None)
            nursery.start_soon(self.walker.run, task_status.started)

    async def batons(self) -> int:
        """How many there are on the tube, in whatever state."""
        return int((await self.tubes.statistics())["tubes"]["batons"]["total"])


async def fired(link: Link, ttl_ms: int = 3_600_000) -> list[Baton]:
    """A campaign to both channels, fired while a node had both; then n1 starts again with ios alone."""
    store = Store(link)
    epoch = await join(link, "n1", BOTH)
    await phones(store, ios=5, android=5)
    await store.campaign_create(7, Message(title="t", body="b"), None, {"page_size": 100, "ttl_ms": ttl_ms}, NOW)
    batons = await store.campaign_fire(7, 1, NOW)
    uuid, _, _ = await Tubes(link, "n1").epoch()
    assert await store.node_join("n1", uuid, epoch, NOW, ["ios"]) == epoch
    assert batons
    return batons


async def until_no_baton(walk: Walk) -> None:
    with trio.fail_after(10):
        while await walk.batons():  # noqa: ASYNC110 - the tube tells nobody
            await trio.sleep(0.02)


async def test_a_walker_that_lacks_a_channel_hands_the_baton_on_and_claims_nothing(
    own_link: Link, tarantool: Server
) -> None:
    """A6: its half of the page was dropped."""
    batons = await fired(own_link)
    await join(own_link, "n2", BOTH)
    await join(own_link, "n3", ["ios"])
    async with linked(tarantool) as other, trio.open_nursery() as nursery:
        there, elsewhere = Tubes(other, "n2"), Tubes(own_link, "n3")
        _, held, _ = await there.epoch()
        await there.adopt(held + 1)
        await there.renew(held + 1, Lease(60.0, []))
        walk = Walk(own_link, ["ios"], {"n3": elsewhere, "n2": there})
        await nursery.start(walk.run)
        await walk.tubes.baton_put(batons)
        with trio.fail_after(10):
            got = await there.baton_take()
        assert got is not None
        assert got.baton == batons[0]
        await there.baton_ack(got)
        await until_no_baton(walk)
        assert await walk.store.campaign_pages(7) == []
        nursery.cancel_scope.cancel()


async def test_where_no_living_node_has_a_channel_the_baton_ends_and_the_shepherd_makes_it_again(
    own_link: Link,
) -> None:
    """A6: no busy loop between nodes that all lack it, no claim, and the channel says why it stands still."""
    batons = await fired(own_link)
    async with trio.open_nursery() as nursery:
        walk = Walk(own_link, ["ios"], {"n2": Tubes(own_link, "n2")})
        await nursery.start(walk.run)
        await walk.tubes.baton_put(batons)
        await until_no_baton(walk)
        assert await walk.store.campaign_pages(7) == []
        room = newsroom(own_link)
        report = await room.campaign(7)
        assert report is not None
        assert report.state == "firing"
        assert "no living node serves android" in report.paused_channels["android"]
        assert "ios" not in report.paused_channels
        nursery.cancel_scope.cancel()
    # the channel is served again: the shepherd's next round brings the baton back, and the page is walked
    uuid, epoch, _ = await Tubes(own_link, "n1").epoch()
    await Store(own_link).node_join("n1", uuid, epoch, NOW, BOTH)
    async with trio.open_nursery() as nursery:
        shepherd = Shepherd(
            node="n1",
            tubes=walk.tubes,
            store=walk.store,
            cache=CampaignCache(walk.store),
            clock=lambda: NOW + 60_000,
            timeout=0.05,
        )
        walk = Walk(own_link, BOTH, {})
        await nursery.start(walk.run)
        nursery.start_soon(shepherd.run, lambda: None)
        with trio.fail_after(10):
            while not (pages := await walk.store.campaign_pages(7)):  # noqa: ASYNC110 - the store tells nobody
                await trio.sleep(0.02)
        assert [page.node for page in pages] == ["n1"]
        report = await newsroom(own_link).campaign(7)
        assert report is not None
        assert report.paused_channels == {}
        nursery.cancel_scope.cancel()


async def test_news_that_nobody_could_walk_expires_and_its_campaign_ends(own_link: Link) -> None:
    """A6: the news waits until it expires, and then its recipients have an end in the ledger: expired, not dropped."""
    batons = await fired(own_link, ttl_ms=1000)
    async with trio.open_nursery() as nursery:
        walk = Walk(own_link, ["ios"], {}, now=NOW + 1000)
        await nursery.start(walk.run)
        await walk.tubes.baton_put(batons)
        await until_no_baton(walk)
        nursery.cancel_scope.cancel()
    epoch, lines = await walk.tubes.outbox_read(10)
    assert await walk.store.report("n1", epoch, lines, NOW) is not None
    campaign = await walk.store.campaign_get(7)
    assert campaign is not None
    assert campaign.tallies["android"] == {"audience": 5, "enqueued": 5, "expired": 5}
    assert campaign.tallies["ios"] == {"audience": 5, "enqueued": 5}, "on its tube, where the consumer ends it"
