"""Nothing is begun that the lease may not outlive (B3), and what was sent is settled, whatever we cannot count (S1)."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors import consumer
from campaigns.batch import Batch
from campaigns.campaign import Campaign
from campaigns.outcome import Outcome
from storage.errors import LinkLost, VerbRefused
from storage.records import Settlement
from tests.actors import channel_group
from tests.actors.channel_group import Cache, Group, MemoryTubes, ScriptedTransport, delivered
from transports.contract import Exceptional, Outcomes

TTR = 60.0
ANSWER = 20.0
"""Seconds that an answer may take."""


class Seen(ScriptedTransport):
    """Remembers until when each batch may be begun."""

    def __init__(self) -> None:
        super().__init__(delivered)
        self.begin_until: list[float] = []

    async def send(self, batch: Batch) -> Outcomes:
        self.begin_until.append(batch.begin_until)
        return await super().send(batch)


class SlowCache(Cache):
    """The store is out of reach until ``away``."""

    away = 0.0

    async def get(self, id: int, texts: int = 0) -> Campaign | None:
        await trio.sleep_until(self.away)
        return await super().get(id)


@pytest.mark.parametrize("away", [0.0, 5.0, 9.9, 10.5, 24.0, 50.0, 120.0])
async def test_a_push_is_begun_and_answered_before_its_lease_ends_however_long_the_store_is_away(
    away: float, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """B3: pushes began up to 75 s after a take whose lease ended at 60 s."""
    SlowCache.away = trio.current_time() + away
    monkeypatch.setattr(channel_group, "Cache", SlowCache)
    tubes, transport = MemoryTubes(2), Seen()
    await Group(tubes, transport).run(away + 30)
    assert len(tubes.settled) == 2
    last = tubes.takes[-1]
    assert all(until + ANSWER < last + TTR for until in transport.begin_until)
    assert all(until <= last + consumer.BEGIN_WITHIN for until in transport.begin_until)
    assert len(transport.sent) == 2, "what was given back had not been sent"


async def test_a_batch_that_waits_for_the_store_goes_back_untouched(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """B3."""
    SlowCache.away = trio.current_time() + 1000
    monkeypatch.setattr(channel_group, "Cache", SlowCache)
    tubes, transport = MemoryTubes(1), Seen()
    await Group(tubes, transport).run(100)
    assert tubes.released >= 8
    assert (transport.sent, tubes.crashes, tubes.buried) == ([], [], [])
    assert [id for id, _ in tubes.ready] == [0]


class Refusing(MemoryTubes):
    """Refuses a settlement whose batch ``poison`` names: with its details, or always."""

    def __init__(self, batches: int, poison: int, *, always: bool) -> None:
        super().__init__(batches)
        self.poison, self.always = poison, always
        self.refused = 0

    async def settle(self, channel: str, settlements: list[Settlement]) -> list[bool]:
        for settlement in settlements:
            if settlement.task_id == self.poison and (self.always or settlement.reasons):
                self.refused += 1
                raise VerbRefused("tubes.settle", 110, "tuple is too large")
        return await super().settle(channel, settlements)


def one_rejected(batch: Batch) -> Outcomes:
    return Outcomes(len(batch.recipients) - 1, [Exceptional(0, Outcome.REJECTED, "odd")])


@pytest.mark.parametrize("always", [False, True])
async def test_a_refused_settlement_costs_nobody_a_second_push(
    always: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """S1: the group crashed, and all that it had sent was sent again, for ever."""
    tubes, transport = Refusing(9, poison=4, always=always), ScriptedTransport(one_rejected)
    await Group(tubes, transport).run(30)
    assert len(transport.sent) == 9, "each batch once"
    assert sorted([*tubes.buried, *(settlement.task_id for settlement in tubes.settled)]) == list(range(9))
    assert tubes.buried == ([4] if always else [])
    assert tubes.sent_before == tubes.buried, "a kick has to know that it may have been sent"
    assert [settlement.reasons for settlement in tubes.settled if settlement.task_id == 4] == ([] if always else [{}])


async def test_outcomes_that_cannot_be_counted_bury_their_batch_and_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """S1: an error of our own in `settle` crashed the group after every push was out."""

    def answer(batch: Batch) -> Outcomes:
        if batch.recipients[0].id == 6:
            return Outcomes(2, [Exceptional(99, Outcome.REJECTED, "nobody's index")])
        return delivered(batch)

    tubes, transport = MemoryTubes(9), ScriptedTransport(answer)
    await Group(tubes, transport).run(30)
    assert (tubes.buried, tubes.sent_before) == ([2], [2])
    assert len(transport.sent) == 9
    assert len(tubes.settled) == 8


async def test_a_verb_that_is_refused_counts_as_a_crash_and_an_outage_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """S1: the poison counter did not count what Tarantool itself refuses."""

    async def crashed(error: Exception) -> list[tuple[int, str]]:
        def answer(batch: Batch) -> Outcomes:
            raise error

        tubes = MemoryTubes(1)
        with pytest.raises(ExceptionGroup):
            await Group(tubes, ScriptedTransport(answer)).run(5)
        return tubes.crashes

    assert await crashed(LinkLost("cut")) == []
    assert await crashed(VerbRefused("tubes.settle", 110, "too large")) == [(0, "VerbRefused: tubes.settle: too large")]
