"""Clauses 9 and 12 at the store and the queue: forgetting a node, pausing, resuming and cancelling a campaign."""

from __future__ import annotations

import time

import pytest
import trio

from campaigns.baton import Baton
from campaigns.message import Message
from campaigns.recipient import pack_recipients, unpack_recipients
from storage.link import Link
from storage.records import Lease, Remainder
from storage.store import Store
from storage.tubes import Tubes
from tests.storage.test_walk_verbs import BOTH, CAMPAIGN, NOW, House, settlement

OTHER = CAMPAIGN + 7


class Ring(House):
    """A node that renews its lease by hand, and whose workers have nothing in hand but what is taken."""

    async def beat(self) -> Lease | None:
        standing = await self.tubes.standing()
        lease = await self.store.node_renew("n1", self.epoch, NOW, standing.still)
        if lease is not None:
            assert await self.tubes.renew(self.epoch, lease, standing.asked)
        return lease

    async def settle_down(self) -> None:
        """Report and renew as a node does, until the store waits for nothing any more."""
        for _ in range(50):
            await self.report()
            lease = await self.beat()
            assert lease is not None
            if not any(pause.settling for pause in lease.paused):
                await trio.sleep(0.1)  # the queue moves batches in the background
                return
        raise AssertionError(f"still {await self.state()}")

    async def sums(self) -> tuple[int, int, int]:
        """Ended, on tubes, unclaimed: over all channels."""
        tallies = (await self.tallies()).values()
        ended = sum(t.get(name, 0) for t in tallies for name in ("delivered", "dead", "cancelled", "rejected"))
        enqueued = sum(t.get("enqueued", 0) for t in tallies)
        return ended, enqueued - ended, sum(t.get("audience", 0) for t in tallies) - enqueued

    async def on_tubes(self) -> int:
        """Recipients that are really in the queue's spaces, counted on their way out."""
        statistics = await self.tubes.statistics()
        return int(statistics["parked"]) + sum(
            tube["ready"] + tube["delayed"] for name, tube in statistics["tubes"].items() if name != "batons"
        )


@pytest.fixture
async def ring(own_link: Link) -> Ring:
    ring = Ring(own_link)
    await ring.join()
    await ring.beat()
    return ring


async def test_a_pause_cuts_at_the_cursor_and_adds_up(ring: Ring) -> None:
    await ring.subscribers(1000)
    await ring.fire(page_size=100)
    for _ in range(4):
        await ring.walk_page()
    (task,) = await ring.batches("ios", 1)
    assert await ring.store.campaign_pause(CAMPAIGN, NOW) == "pausing"
    await ring.beat()
    # what is being sent holds the pause open; nothing more is handed out, and no page is claimed
    await ring.report()
    await ring.beat()
    assert await ring.state() == "pausing"
    assert await ring.batches("ios") == []
    assert await ring.batches("android") == []
    await ring.walk_page()
    assert await ring.tubes.settle("ios", [settlement(task, delivered=50)]) == [True]
    await ring.beat()
    assert await ring.state() == "pausing", "its line is still owed"
    await ring.settle_down()
    assert await ring.state() == "paused"
    assert await ring.sums() == (50, 350, 600)
    assert await ring.on_tubes() == 7, "batches of 50"
    assert await ring.store.strays("n1", ring.epoch, NOW + 10**6, 5000) == ([], [])


async def test_a_resumed_campaign_ends_with_everybody_reached_once(ring: Ring) -> None:
    await ring.subscribers(600)
    await ring.fire(page_size=100)
    for _ in range(3):
        await ring.walk_page()
    (task,) = await ring.batches("ios", 1)
    rest = [Remainder(0.1, 2, task.size, task.recipients)]
    assert await ring.tubes.settle("ios", [settlement(task, retried=50, remainders=rest)]) == [True]
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.settle_down()
    assert await ring.batches("ios") == await ring.batches("android") == []
    await ring.walk_page()  # the baton that was still under way is stale now
    resumed = await ring.store.campaign_resume(CAMPAIGN, NOW)
    assert resumed is not None
    state, batons = resumed
    assert (state, [baton.seq for baton in batons]) == ("firing", [3])
    await ring.tubes.baton_put(batons)
    await ring.settle_down()
    while await ring.walk_page() is not None:
        pass
    assert await ring.deliver("ios") + await ring.deliver("android") == 600
    await ring.report()
    assert await ring.state() == "done"
    assert await ring.sums() == (600, 0, 0)


async def test_a_cancel_ends_what_was_on_tubes_and_unclaimed_as_cancelled(ring: Ring) -> None:
    await ring.subscribers(1000)
    await ring.fire(page_size=100)
    for _ in range(4):
        await ring.walk_page()
    (task,) = await ring.batches("ios", 1)
    recipients = unpack_recipients(task.recipients)
    assert await ring.store.campaign_cancel(CAMPAIGN, NOW) == "cancelling"
    await ring.beat()
    later = [Remainder(60.0, 2, 10, pack_recipients(recipients[:10]))]
    assert await ring.tubes.settle("ios", [settlement(task, delivered=40, retried=10, remainders=later)])
    await ring.settle_down()
    assert await ring.state() == "cancelled"
    tallies = await ring.tallies()
    assert (tallies["ios"]["delivered"], tallies["ios"]["cancelled"]) == (40, 460)
    assert tallies["android"]["cancelled"] == 500
    assert await ring.sums() == (1000, -600, 600), "enqueued stays what was put on tubes"
    assert await ring.batches("ios") == await ring.batches("android") == []
    assert await ring.on_tubes() == 0, "delayed ones too"
    pages = await ring.store.campaign_pages(CAMPAIGN)
    assert {page.state for page in pages} == {"settled"}
    assert sum(page.settled for page in pages) == 400


async def test_a_paused_campaign_can_be_cancelled_and_others_go_on_meanwhile(ring: Ring) -> None:
    await ring.subscribers(100)
    await ring.fire()
    await ring.walk_page()
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.settle_down()
    await ring.store.campaign_create(
        OTHER, Message(title="t", body="b"), None, {"page_size": 100, "ttl_ms": 10**6}, NOW
    )
    batons = await ring.store.campaign_fire(OTHER, 1, NOW)
    assert batons
    held = None
    await ring.tubes.baton_put(batons)
    while held is None:
        held = await ring.take()
    claim = await ring.store.page_claim("n1", held.epoch, held.baton, NOW)
    await ring.put(held, claim)
    await ring.tubes.baton_ack(held)
    assert {task.campaign for task in await ring.batches("ios")} == {OTHER}, "it lies behind a paused batch"
    assert await ring.store.campaign_cancel(CAMPAIGN, NOW) == "cancelling"
    await ring.settle_down()
    assert await ring.state() == "cancelled"
    assert (await ring.tallies())["ios"]["cancelled"] == 50
    assert {task.campaign for task in await ring.batches("android")} == {OTHER}
    assert (await ring.tubes.statistics())["parked"] == 0


async def test_what_an_earlier_pause_was_told_counts_for_nothing_in_the_next(ring: Ring) -> None:
    await ring.subscribers(100)
    await ring.fire(page_size=10)
    await ring.walk_page()
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.beat()
    await ring.report()
    old = (await ring.tubes.standing()).still
    await ring.store.campaign_resume(CAMPAIGN, NOW)
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    assert old
    await ring.store.node_renew("n1", ring.epoch, NOW, old)
    assert await ring.state() == "pausing"


async def test_a_restarted_queue_hands_out_nothing_of_a_paused_campaign(ring: Ring) -> None:
    await ring.subscribers(100)
    await ring.fire()
    await ring.walk_page()
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.settle_down()
    await ring.tubes.renew(ring.epoch, Lease(0.0, []))  # as after a restart: no lease, no pauses
    assert await ring.batches("ios") == []
    await ring.beat()
    assert await ring.batches("ios") == []
    assert await ring.on_tubes() == 2


async def test_a_node_without_a_lease_does_not_hold_a_pause_up(ring: Ring) -> None:
    await ring.subscribers(300)
    await ring.fire(page_size=100)
    # another node claims a page, and is gone
    assert await ring.store.node_join("n2", "uuid-2", 0, NOW, BOTH) == 1
    await ring.store.page_claim("n2", 1, Baton(CAMPAIGN, 0, 0, 0), NOW)
    await ring.store.campaign_pause(CAMPAIGN, NOW)
    await ring.report()
    await ring.beat()
    await ring.beat()
    assert await ring.state() == "pausing", "n2 may hold a lease"
    with trio.fail_after(20):
        while await ring.state() == "pausing":
            await trio.sleep(0.5)
            await ring.beat()
    assert await ring.state() == "paused"


@pytest.mark.parametrize("state", ["draft", "done", "cancelled"])
async def test_only_a_campaign_under_way_is_paused_or_resumed(ring: Ring, state: str) -> None:
    await ring.store.campaign_create(CAMPAIGN, Message(title="t", body="b"), None, {"ttl_ms": 1000}, NOW)
    if state == "done":
        await ring.store.campaign_fire(CAMPAIGN, 1, NOW)
    elif state == "cancelled":
        assert await ring.store.campaign_cancel(CAMPAIGN, NOW) == "cancelled"
    assert await ring.store.campaign_pause(CAMPAIGN, NOW) == state
    assert await ring.store.campaign_resume(CAMPAIGN, NOW) == (state, [])
    assert await ring.store.campaign_cancel(CAMPAIGN, NOW) == ("cancelled" if state == "draft" else state)
    assert await ring.store.campaign_pause(77, NOW) is None
    assert await ring.store.campaign_resume(77, NOW) is None


async def test_a_forgotten_node_reports_until_its_lease_is_over_and_then_its_pages_are_open(
    ring: Ring, own_link: Link
) -> None:
    await ring.subscribers(200)
    await ring.fire(page_size=100)
    await ring.walk_page()
    (task,) = await ring.batches("ios")
    sent = frozenset(recipient.id for recipient in unpack_recipients(task.recipients))
    assert await ring.tubes.settle("ios", [settlement(task, delivered=task.size)]) == [True]
    started = time.monotonic()
    assert await ring.beat() is not None
    assert await ring.store.node_forget("nobody") is None
    assert await ring.store.node_forget("n1") == "fenced"
    # renewals and claims are refused at once
    assert await ring.beat() is None
    held = await ring.take()
    assert held is not None
    assert (await ring.store.page_claim("n1", held.epoch, held.baton, NOW)).verdict == "fenced"
    # what it has sent is still believed, and its pages are nobody else's yet
    assert await ring.report() is not None
    assert (await ring.tallies())["ios"]["delivered"] == 50
    assert await ring.store.nodes_release() == []
    assert await ring.store.strays("n2", 1, NOW, 10**9) == ([], [])
    uuid, epoch, _ = await ring.tubes.epoch()
    assert await ring.store.node_join("n1", uuid, epoch, NOW, BOTH) is None, "it may not come back in the meantime"
    with trio.fail_after(20):
        while not await ring.store.nodes_release():  # noqa: ASYNC110 - the store tells nobody
            await trio.sleep(0.2)
    assert time.monotonic() - started > 10, "a lease of 10 s was renewed just before"
    assert await ring.store.report("n1", epoch, [], NOW) is None
    (anyone, _) = await ring.store.strays("n2", 1, NOW, 10**9)
    assert [baton.seq for baton in anyone] == [0]
    # another queue may take the name now, in a new epoch; what was settled is not sent again
    assert await ring.store.node_join("n1", "another-uuid", 0, NOW, BOTH) == epoch + 1
    claim = await ring.store.page_claim("n1", epoch + 1, anyone[0], NOW)
    assert (claim.verdict, claim.ended) == ("claimed", sent)


async def test_a_forgotten_node_comes_back_in_a_new_epoch_with_nothing_on_its_tubes(ring: Ring) -> None:
    await ring.subscribers(100)
    await ring.fire()
    await ring.walk_page()
    await ring.store.node_forget("n1")
    with trio.fail_after(20):
        while await ring.store.node_forget("n1") != "forgotten":  # noqa: ASYNC110 - the store tells nobody
            await trio.sleep(0.5)
    before = ring.epoch
    await ring.join()
    await ring.beat()
    assert ring.epoch == before + 1
    assert await ring.batches("ios") == []
    (anyone, _) = await ring.store.strays("n1", ring.epoch, NOW, 10**9)
    await ring.tubes.baton_put(anyone)
    while await ring.walk_page() is not None:
        pass
    assert await ring.deliver("ios") + await ring.deliver("android") == 100
    await ring.report()
    assert await ring.state() == "done"
    assert (await ring.tallies())["ios"] == {"audience": 50, "enqueued": 50, "delivered": 50}
    pages = await ring.store.campaign_pages(CAMPAIGN)
    assert [(page.recipients, page.epoch) for page in pages] == [(100, ring.epoch)]


async def test_a_lease_counts_from_before_the_store_was_asked(ring: Ring) -> None:
    standing = await ring.tubes.standing()
    await trio.sleep(0.3)
    assert await ring.tubes.renew(ring.epoch, Lease(0.2, []), standing.asked)
    assert (await ring.tubes.epoch())[2] is False
    assert not await ring.tubes.renew(ring.epoch, Lease(5.0, []), standing.asked + 1000), "a clock of before a reboot"


async def test_a_late_line_of_a_cancelled_page_is_told_as_what_it_was(ring: Ring, own_link: Link) -> None:
    await ring.subscribers(100)
    await ring.fire()
    await ring.walk_page()
    await ring.report()
    (task,) = await ring.batches("ios")
    assert await ring.tubes.settle("ios", [settlement(task, delivered=50)]) == [True]
    _, lines = await ring.tubes.outbox_read(10, wait=False)
    await ring.store.campaign_cancel(CAMPAIGN, NOW)
    await ring.beat()
    # the node is away with its line; the store, which started anew, would count its lease out. Told here by hand:
    pause = (await Store(own_link).node_renew("n1", ring.epoch, NOW)).paused[0]  # type: ignore[union-attr]
    await ring.store.node_renew("n1", ring.epoch, NOW, [(pause.campaign, pause.version)])
    assert (await ring.tallies())["ios"]["cancelled"] == 50
    assert await ring.store.report("n1", ring.epoch, lines, NOW) == lines[-1][0]
    tallies = await ring.tallies()
    assert (tallies["ios"]["delivered"], tallies["ios"]["cancelled"]) == (50, 0)
    assert await Tubes(own_link, "w").epoch()
