"""A push that was refused under a token which has a successor goes to that one, and is no death."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
import trio
import trio.testing

from actors.successors import LINGER, WAIT, Find, finding, follow
from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Death, Outcome
from campaigns.recipient import Recipient, pack_recipients, unpack_recipients
from storage.errors import LinkDown, LinkLost, VerbRefused
from storage.link import Link
from storage.store import Store
from tests.actors.channel_group import Group, MemoryTubes, ScriptedTransport
from tests.conftest import Server, linked
from transports.contract import Exceptional, Outcomes


def refusing(old: str = "aa", death: Death | None = Death.LIKELY) -> ScriptedTransport:
    """A provider that refuses the token ``old``, and accepts every other one."""

    def answer(batch: Batch) -> Outcomes:
        bad = [n for n, phone in enumerate(batch.recipients) if phone.token == old]
        outcome = Outcome.REJECTED if death is Death.DOUBTFUL else Outcome.DEAD
        entries = [Exceptional(n, outcome, "no", death=death) for n in bad]
        return Outcomes(len(batch.recipients) - len(bad), entries)

    return ScriptedTransport(answer)


def new(id: int, token: str = "bb") -> Recipient:
    return Recipient(id, token, "fid", 2, "de")


@pytest.mark.parametrize("death", list(Death))
async def test_a_base_whose_tokens_were_all_replaced_is_reached_and_no_key_looks_wrong(
    autojump_clock: trio.testing.MockClock, death: Death
) -> None:
    """Item 2: without the successors every push is refused, and the channel stops with a question."""
    tubes, transport = MemoryTubes(4, 100, come_back=True), refusing(death=death)
    group = Group(tubes, transport)
    group.successors = {id: new(id) for id in range(400)}
    await group.run(20)
    assert group.doubts == []
    assert group.breaker.reason is None
    assert [s.dead for s in tubes.settled if s.dead] == []
    tallies: Counter[str] = Counter()
    for settled in tubes.settled:
        tallies.update(settled.tallies)
    assert tallies == {"delivered": 400}
    accepted = Counter(phone.id for batch in transport.sent for phone in batch.recipients if phone.token == "bb")
    assert accepted == Counter(range(400)), "each phone once"
    assert sum(len(batch.recipients) for batch in transport.sent) == 800, "and asked twice, at most"


async def test_only_refused_pushes_with_a_successor_come_back(autojump_clock: trio.testing.MockClock) -> None:
    """Item 2."""
    tubes, transport = MemoryTubes(1, 100, come_back=True), refusing("cc")
    tubes.ready[0][1][-1] = pack_recipients([new(id, "cc" if id < 10 else "aa") for id in range(100)])
    group = Group(tubes, transport)
    group.successors = {id: new(id) for id in (3, 4, 50)}
    await group.run(20)
    first, second = tubes.settled
    assert first.tallies == {"delivered": 90, "dead": 8}
    assert set(range(100)) - set(first.ended) == {3, 4}
    assert [entry[0] for entry in first.dead] == [0, 1, 2, 5, 6, 7, 8, 9]
    assert unpack_recipients(first.remainders[0].recipients) == [new(3), new(4)]
    assert (second.tallies, second.ended) == ({"delivered": 2}, [3, 4])


async def test_a_successor_that_is_refused_as_well_has_died(autojump_clock: trio.testing.MockClock) -> None:
    """Item 2: it is sent again only as often as the app has replaced its token."""
    tubes, transport = MemoryTubes(1, 30, come_back=True), refusing()
    tubes.ready[0][1][-1] = pack_recipients([new(id, "aa" if id == 7 else "cc") for id in range(30)])
    group = Group(tubes, transport)
    group.successors = {7: new(7, "aa")}
    await group.run(20)
    assert [entry[:2] for settled in tubes.settled for entry in settled.dead] == [(7, "aa")]
    assert len(transport.sent) == 1


BATCH = Batch(1, Message(title="t", body="b"), 1, 10**15, [Recipient(id, "aa", "token", 1, "") for id in range(3)])
ONE_DEAD = Outcomes(2, [Exceptional(1, Outcome.DEAD, "no", death=Death.LIKELY)])


async def test_a_batch_without_refused_tokens_asks_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Item 2: the healthy path costs nothing."""

    async def find(refused: Sequence[tuple[int, str]]) -> Mapping[int, Recipient]:
        raise AssertionError(refused)

    for entries in ([], [Exceptional(0, Outcome.RETRY, "busy"), Exceptional(1, Outcome.REJECTED, "too large")]):
        outcomes = Outcomes(3 - len(entries), entries)
        assert await follow(BATCH, outcomes, find) == (BATCH, outcomes)


@pytest.mark.parametrize("fault", [LinkLost("cut"), LinkDown("stopping"), VerbRefused("v", 1, "no"), None])
async def test_a_store_that_does_not_answer_holds_up_no_settlement(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    """Item 2."""

    async def silent(store: Store, channel: str, refused: Sequence[tuple[int, str]]) -> Mapping[int, Recipient]:
        if fault is not None:
            raise fault
        await trio.sleep_forever()
        return {}

    monkeypatch.setattr(Store, "subscribers_successors", silent)
    began = trio.current_time()
    find = finding(Store(Link({})), "ios")
    assert await follow(BATCH, ONE_DEAD, find) == (BATCH, ONE_DEAD)
    assert trio.current_time() - began <= WAIT


async def test_batches_that_end_together_share_one_call_to_the_store(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24: with one dead phone in a hundred each batch would have a call of its own."""
    calls: list[list[tuple[int, str]]] = []

    async def successors(store: Store, channel: str, refused: Sequence[tuple[int, str]]) -> Mapping[int, Recipient]:
        calls.append(list(refused))
        await trio.sleep(0.05)
        return {id: new(id) for id, token in refused if id < 100 and token != "bb"}

    monkeypatch.setattr(Store, "subscribers_successors", successors)
    find = finding(Store(Link({})), "ios")
    found: dict[int, Mapping[int, Recipient]] = {}

    async def ask(n: int, token: str, after: float = 0.0) -> None:
        await trio.sleep(after)
        found[n] = await find([(n % 10, token), (n + 1000, token)])

    async with trio.open_nursery() as nursery:
        for n in range(10):
            nursery.start_soon(ask, n, "aa")
        nursery.start_soon(ask, 13, "bb")  # another campaign's batch went to phone 3's new token
        nursery.start_soon(ask, 20, "aa", 2 * LINGER)  # too late for the first call
    assert [len(call) for call in calls] == [22, 2]
    assert [found[n] for n in range(10)] == [{n: new(n)} for n in range(10)]
    assert (found[13], found[20]) == ({}, {0: new(0)})


async def test_one_batch_that_is_cancelled_leaves_no_other_waiting(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def successors(store: Store, channel: str, refused: Sequence[tuple[int, str]]) -> Mapping[int, Recipient]:
        await trio.sleep(0.05)
        return {id: new(id) for id, _ in refused}

    monkeypatch.setattr(Store, "subscribers_successors", successors)
    find = finding(Store(Link({})), "ios")
    for at in (LINGER / 2, 2 * LINGER):
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(at):
                nursery.start_soon(_joining, find)
                await find([(1, "aa")])
    assert await find([(1, "aa")]) == {1: new(1)}


async def _joining(find: Find) -> None:
    await trio.lowlevel.checkpoint()
    with trio.fail_after(0.2):
        assert await find([(2, "aa")]) in ({}, {2: new(2)})


@pytest.mark.tarantool
async def test_while_the_store_is_away_nobody_waits_for_it(own_tarantool: Server) -> None:
    """Item 2: the settlements of a whole campaign would wait a second each."""
    async with linked(own_tarantool) as link:
        store = Store(link)
        await store.subscribers_put([["ios", "bb", "fid", 2, "de", "", "", "", "", None, [], {}]])
        find = finding(store, "ios")
        assert await find([(1, "aa"), (2, "aa")]) == {1: new(1)}
        assert await find([(1, "bb")]) == {}
        own_tarantool.kill()
        with trio.fail_after(10):
            while link.connected("store"):  # noqa: ASYNC110
                await trio.sleep(0.01)
        began = trio.current_time()
        assert await find([(1, "aa")]) == {}
        assert trio.current_time() - began < WAIT / 2
