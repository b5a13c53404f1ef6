"""What was sent is settled: what we cannot write down costs its own details, and is never sent again for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from actors.campaign_cache import CampaignCache
from actors.gate import Gate
from actors.messages import Page
from actors.reporter import Reporter
from actors.settlement import SettlementWriter
from actors.shepherd import Shepherd
from actors.walker import Walker
from broadside.newsroom.alarms import outbox_alarms
from broadside.topology import WorkerSupervisor
from campaigns.baton import Baton
from storage.errors import VerbRefused
from storage.records import Settlement, Task
from tests.actors.channel_group import no_answer
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, House, house, settlement

__all__ = ["house"]  # a fixture

TOO_LARGE = {f"{n:0>15000}": 1 for n in range(500)}
"""FCM's errorCode, uncut, of a batch of 500."""


async def walked(house: House, subscribers: int = 8, page_size: int = 4) -> list[Task]:
    """A campaign on its tubes, and the batches of its channel."""
    await house.subscribers(subscribers)
    await house.fire(page_size)
    while await house.walk_page():
        pass
    return await house.batches("ios")


@pytest.mark.parametrize(
    "poison",
    [
        {"dead": [(1, "token-1", 2**64)]},
        {"dead": [(1, "token-\ud800", 5)]},
        {"reasons": TOO_LARGE},
        {"reasons": TOO_LARGE, "dead": [(1, "token-1", -(2**70))]},
    ],
    ids=["a number beyond 64 bits", "half a character", "larger than a tuple", "both"],
)
async def test_a_settlement_that_cannot_be_written_is_written_without_its_details(
    house: House, poison: dict[str, object]
) -> None:
    """S1: one such answer for one phone of 10,000 sent the others a million pushes in 25 s."""
    tasks = await walked(house)
    writer = SettlementWriter(house.tubes, "ios", Gate("ios", ask=no_answer))
    good = [settlement(task, delivered=task.size) for task in tasks]
    bad: Settlement = replace(good[0], **poison)  # type: ignore[arg-type]  # that is the point
    assert await writer.write([bad, *good[1:]]) == [True] * len(tasks)
    assert await house.batches("ios") == [], "nobody is sent to again"
    await house.deliver("android")
    await house.report()
    assert await house.state() == "done"
    assert (await house.tallies())["ios"]["delivered"] == 4


async def test_a_settlement_that_nobody_can_write_has_its_batch_buried_and_ended_with_its_news(house: House) -> None:
    """S1: and a kick would say how many may have been sent to."""
    first, *others = await walked(house)
    writer = SettlementWriter(house.tubes, "ios", Gate("ios", ask=no_answer))
    bad = replace(settlement(first, delivered=2), tallies={"delivered": 2**64})
    assert await writer.write([bad, *(settlement(task, delivered=task.size) for task in others)]) == [True, True]
    (buried,) = await house.tubes.tube_buried("ios", 5)
    assert (buried.id, buried.maybe_sent) == (first.id, 2)
    assert "cannot be written" in buried.why
    await house.deliver("android")
    await house.report()
    assert await house.state() == "firing"
    await look_round(house, NOW + 3_600_001)
    await house.report()
    assert await house.state() == "done"
    assert (await house.tallies())["ios"] == {"audience": 4, "enqueued": 4, "delivered": 2, "rejected": 2}
    campaign = await house.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert campaign.reasons["ios"] == {"buried: its settlement cannot be written": 2}


async def look_round(house: House, now: int) -> None:
    cache = CampaignCache(house.store)
    shepherd = Shepherd(node="n1", tubes=house.tubes, store=house.store, cache=cache, clock=lambda: now, timeout=0.05)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shepherd.run, lambda: None)
        await trio.sleep(0.5)
        shepherd.stop()


async def test_a_worker_that_says_that_it_stops_has_nothing_counted_against_its_batches(house: House) -> None:
    """S1: a node that is restarted in order, however often, buries nothing."""
    await walked(house)
    for _ in range(7):
        house.tubes.stopping()
        assert await house.tubes.batch_release_worker("ios") == 2
        assert len(await house.batches("ios")) == 2
    assert await house.tubes.batch_release_worker("ios") == 2
    first = await house.tubes.tube_buried("ios", 5)
    assert first == []


async def test_a_workers_tree_says_that_it_stops_before_anything_in_it_does() -> None:
    """S1."""
    said: list[str] = []
    tree = WorkerSupervisor("worker-1", [], farewell=lambda: said.append("farewell"))
    await tree.run(tree.stop)
    assert said == ["farewell"]


async def test_what_a_person_ends_is_rejected_at_once(house: House) -> None:
    """S1."""
    for task in await walked(house):
        await house.tubes.batch_bury("ios", task.id, task.number, "RuntimeError: a defect", sent=True)
    assert await house.tubes.tube_end("ios", 1) == (1, 2)
    assert await house.tubes.tube_end("ios", 100) == (1, 2)
    assert await house.tubes.tube_end("ios", 100) == (0, 0)
    await house.deliver("android")
    await house.report()
    assert await house.state() == "done"
    assert (await house.tallies())["ios"]["rejected"] == 4


async def test_a_line_that_the_ledger_refuses_does_not_stop_the_lines_after_it(house: House) -> None:
    """S1, S6: what cannot be written costs itself; every later campaign once stood still behind it."""
    first, second = await walked(house)
    odd = replace(settlement(first, delivered=2), dead=[(1, "token-1", "yesterday", "certain", "")])  # type: ignore[list-item]
    worse = replace(settlement(second, delivered=2), tallies={"delivered": "two"})  # type: ignore[dict-item]
    assert await house.tubes.settle("ios", [odd, worse]) == [True, True]
    await house.deliver("android")
    with pytest.raises(VerbRefused):
        await house.report()
    reporter = Reporter(node="n1", tubes=house.tubes, store=house.store, clock=lambda: NOW)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reporter.run, lambda: None)
        with trio.fail_after(10):
            while (await house.tubes.statistics())["outbox"]:  # noqa: ASYNC110
                await trio.sleep(0.05)
        reporter.stop()
    tallies = await house.tallies()
    assert tallies["ios"]["delivered"] == 2, "the first line without its dead, the second not at all"
    assert tallies["android"]["delivered"] == 4


async def test_reasons_that_never_repeat_are_counted_as_other_after_fifty(house: House) -> None:
    """S6: a request id in each error filled one map until the ledger stopped for all later campaigns."""
    (task,) = await walked(house, subscribers=80, page_size=80)
    (other,) = await house.batches("android")
    many = {f"request {n}": 1 for n in range(400)}
    assert await house.tubes.settle("ios", [replace(settlement(task, rejected=40), reasons=many)]) == [True]
    few = {"BadDeviceToken": 38, "x" * 101: 2}
    assert await house.tubes.settle("android", [replace(settlement(other, rejected=40), reasons=few)]) == [True]
    await house.report()
    campaign = await house.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert len(campaign.reasons["ios"]) == 51
    assert sum(campaign.reasons["ios"].values()) == 400
    assert campaign.reasons["android"] == {"BadDeviceToken": 38, "other": 2}


async def test_a_line_that_waits_for_a_minute_is_an_alarm(house: House) -> None:
    """S6: /readyz said ready while the ledger stood still."""
    assert await house.tubes.outbox_age() == 0
    await walked(house)
    await trio.sleep(0.1)
    assert 0.05 < await house.tubes.outbox_age() < 30
    await house.report()
    assert await house.tubes.outbox_age() == 0
    assert outbox_alarms(59.0) == []
    assert "for 61 s" in outbox_alarms(61.0)[0].text


async def test_a_baton_whose_walk_crashes_is_buried_and_the_walker_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8: its poison counter."""
    await house.subscribers(4)
    await house.fire()
    claim = house.store.page_claim

    async def defective(node: str, epoch: int, baton: Baton, now: int) -> object:
        if baton.segment == 99:
            raise VerbRefused("store.page_claim", 0, "a defect")
        return await claim(node, epoch, baton, now)

    monkeypatch.setattr(house.store, "page_claim", defective)
    await house.tubes.baton_put([Baton(CAMPAIGN, 99, 0, 0)])
    outlet, intake = trio.open_memory_channel[Page](10)
    walker = Walker(
        node="n1", tubes=house.tubes, ring={}, channels={"ios", "android"},
        store=house.store, cache=CampaignCache(house.store), pages=outlet,
        clock=lambda: NOW,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(walker.run, lambda: None)
        with trio.fail_after(15):
            await intake.receive()
            while (await house.tubes.statistics())["tubes"]["batons"]["buried"] == 0:  # noqa: ASYNC110
                await trio.sleep(0.1)
        walker.stop()
