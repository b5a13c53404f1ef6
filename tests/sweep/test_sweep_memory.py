"""The pipeline's own actors, crashed at every step and cut off at every verb, against a queue and a store in memory."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings

from broadside import topology
from campaigns.where import Share, Where
from storage.store import Store
from storage.tubes import Tubes
from supervision.testing import (
    FaultKind,
    Fired,
    PlannedFault,
    Report,
    crash_at_every_step,
    fault_at_every_call,
    run_schedule,
)
from supervision.testing.schedules import fault_schedules
from tests.lua.audiences import is_in
from tests.sweep.campaign import Campaign, rows
from tests.sweep.memory import MemoryLink, MemoryQueue, MemoryStore

CHANNELS = ["ios", "android"]
ACTORS = ["walker", "batcher", "consumer", "transport", "settler", "reporter", "shepherd", "membership", "link"]
VERBS = [
    "store.campaign_get", "store.campaigns_over", "store.keys_expire", "store.node_join", "store.node_renew",
    "store.nodes_release", "store.page_claim",
    "store.page_read", "store.report", "store.strays", "tubes.adopt", "tubes.baton_put",
    "tubes.baton_release_worker", "tubes.baton_take", "tubes.batch_release_worker", "tubes.batch_take",
    "tubes.batches_expire", "tubes.epoch",
    "tubes.marked_campaigns", "tubes.marks_drop",
    "tubes.outbox_read", "tubes.page_put", "tubes.renew", "tubes.settle", "tubes.standing",
]  # fmt: skip
SUBSCRIBERS = 40
WHERE = Where(share=Share(0.7, "sweep"))
"""Pages of an audience: each has rows that are skipped, and rows that are sent."""


class Memory:
    """The scenario, and what a crash of it is forgiven."""

    def __init__(self, patch: pytest.MonkeyPatch, channels: list[str] = CHANNELS) -> None:
        self.patch, self.channels = patch, channels
        self.now: Campaign | None = None

    async def scenario(self) -> None:
        subscribers = [[id, *row] for id, row in enumerate(rows(SUBSCRIBERS, self.channels), 1)]
        store, queue = MemoryStore(subscribers), MemoryQueue(self.channels)
        link: Any = MemoryLink(store, queue)
        self.now = campaign = Campaign(
            channels=self.channels, campaign=9, page_size=10, seconds=0.05, shepherd=1.0,
            clock=lambda: 10**12 + int(trio.current_time() * 1000), where=WHERE,
        )  # fmt: skip
        campaign.wired(self.patch)
        campaign.ledger.unsettled = queue.leased_recipients
        self.patch.setattr(topology, "Link", lambda endpoints, greetings: link)

        async def state() -> str:
            await trio.lowlevel.checkpoint()
            return str(store.campaigns[9]["state"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(campaign.run_node, MemoryLink(store, queue))
            await trio.sleep(0.1)
            editor: Any = MemoryLink(store, queue, sound=True)  # what is under test here begins after Fire
            await campaign.fire(Store(editor), Tubes(editor, "console"))
            await campaign.wait_done(state, 60)
            await trio.sleep(4)  # for the shepherd, who has marks to drop
            campaign.stop()
        tallies = {name: sums[0] for (_, name), sums in store.totals.items()}
        campaign.judge({row[0] for row in subscribers if is_in(row, WHERE)}, tallies)
        for name in self.channels:
            rows_ = sum(row[1] == name for row in subscribers)
            assert tallies[name]["enqueued"] + tallies[name]["skipped"] == rows_, f"{name}: {tallies[name]}"
        assert not queue.outbox, f"outbox lines left behind: {queue.outbox}"
        assert not queue.marks, f"marks left behind: {queue.marks}"
        left = {name: len(tube.tasks) for name, tube in queue.tubes.items() if name != "batons" and tube.tasks}
        assert not left, f"batches left behind: {left}"

    def fired(self, fired: Fired) -> None:
        assert self.now is not None
        self.now.ledger.crash(fired)

    def crash(self, actor: str, **options: Any) -> Report:
        return crash_at_every_step(self.scenario, actor=actor, on_fire=self.fired, within=2000, **options)

    def cut(self, verb: str, kind: FaultKind, **options: Any) -> Report:
        return fault_at_every_call(
            self.scenario, seam=f"link.{verb}", kind=kind, on_fire=self.fired, within=2000, **options
        )


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return Memory(monkeypatch)


@pytest.mark.parametrize("actor", ACTORS)
def test_a_slice_of_the_crashes_loses_nothing(memory: Memory, actor: str) -> None:
    every = 23
    first = 1 if actor in ("link", "membership") else random.randrange(1, 8)
    print(f"crash {actor}: steps {first}, {first + every}, …")
    memory.crash(actor, first=first, every=every).check()


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("then", [(), (3,)], ids=["once", "and again"])
@pytest.mark.parametrize("actor", ACTORS)
def test_a_crash_at_every_step_loses_nothing(memory: Memory, actor: str, then: tuple[int, ...]) -> None:
    print(memory.crash(actor, then=then).check())


@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER])
def test_a_slice_of_the_lost_links_loses_nothing(memory: Memory, kind: FaultKind) -> None:
    for verb in VERBS:
        memory.cut(verb, kind, every=1000).check()


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER])
@pytest.mark.parametrize("verb", VERBS)
def test_a_link_lost_at_every_call_loses_nothing(memory: Memory, verb: str, kind: FaultKind) -> None:
    print(memory.cut(verb, kind).check())


@pytest.mark.parametrize(
    ("examples", "steps"), [(30, 60), pytest.param(1500, 200, marks=[pytest.mark.sweep, pytest.mark.timeout(900)])]
)
def test_whatever_breaks_in_whatever_order_nothing_is_lost(memory: Memory, examples: int, steps: int) -> None:
    @given(
        faults=fault_schedules(actors=ACTORS, seams=["link", *(f"link.{verb}" for verb in VERBS)], steps=steps, most=5)
    )
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def law(faults: list[Any]) -> None:
        run_schedule(memory.scenario, faults, on_fire=memory.fired, within=2000)

    law()


def test_no_fault_hits_the_editor_who_fires(memory: Memory) -> None:
    """C12: a schedule is counted in the node's own calls, so that none of its faults ends the scenario itself."""
    verbs = ["store.campaign_create", "store.campaign_fire"]
    for verb in verbs:
        assert run_schedule(memory.scenario, [PlannedFault(f"link.{verb}", 1, FaultKind.BEFORE)], within=2000) == []
    for step in range(6, 18):
        faults = [PlannedFault("walker", 1, FaultKind.CRASH), PlannedFault("link", step, FaultKind.BEFORE)]
        fired = run_schedule(memory.scenario, faults, on_fire=memory.fired, within=2000)
        assert [one.fault for one in fired] == faults


def test_pages_that_are_lost_on_their_way_to_the_tubes_are_read_again(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Tarantool restarts: it keeps them in no space."""
    put, lost = MemoryQueue.page_put, 0

    def forgetful(self: MemoryQueue, *args: Any) -> list[Any]:
        nonlocal lost
        if lost < 3:
            assert self.kept, "pages are kept here"
            self.kept.clear()
            lost += 1
        return put(self, *args)

    monkeypatch.setattr(MemoryQueue, "page_put", forgetful)
    assert run_schedule(memory.scenario, [], within=2000) == []
    assert lost == 3


async def _keep(self: Tubes, channel: str) -> int:
    await trio.lowlevel.checkpoint()
    return 0


def test_the_sweep_is_red_when_a_new_consumer_does_not_give_back_the_leases(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tubes, "batch_release_worker", _keep)
    report = memory.crash("transport", first=4, every=25)
    print(report)
    assert any("the campaign is 'firing'" in broken.law for broken in report.broken)


def test_the_sweep_is_red_when_a_page_leaves_no_mark(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    put = MemoryQueue.page_put

    def unmarked(self: MemoryQueue, *args: Any) -> list[Any]:
        self.marks.clear()
        return put(self, *args)

    monkeypatch.setattr(MemoryQueue, "page_put", unmarked)
    report = memory.cut("tubes.page_put", FaultKind.AFTER)
    print(report)
    assert any("duplicates" in broken.law for broken in report.broken)
