"""Consumer, transport actor and settler together, on a virtual clock: a queue in memory, a scripted provider."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from actors.consumer import TASKS_A_TAKE, Consumer
from actors.messages import Done, Gate, Work
from actors.settler import Settler
from actors.transport import TransportActor
from storage.errors import LinkLost
from storage.records import Campaign, Settlement
from transports.breaker import Breaker
from transports.contract import Batch, Exceptional, Message, Outcome, Outcomes, Recipient, recipients_to_json
from transports.limiter import Limiter
from transports.refusals import Refusals

FAR = 10**15


class MemoryTubes:
    """The queue's contract, in memory: take, settle, release, bury."""

    def __init__(self, batches: int, size: int = 3) -> None:
        recipients = [
            recipients_to_json([Recipient(b * size + i, "aa", "token", 1, 0) for i in range(size)])
            for b in range(batches)
        ]
        self.ready: list[tuple[int, Any]] = [
            (b, [1, 9, 1, 0, 0, b + 1, 1, FAR, ["en"], recipients[b]]) for b in range(batches)
        ]
        self.taken: dict[int, Any] = {}
        self.settled: list[Settlement] = []
        self.buried: list[int] = []
        self.most_taken = 0
        self.takes: list[float] = []
        self.lost_settlements = 0
        self.released = 0
        self.more = trio.Event()

    async def batch_release_worker(self, channel: str) -> int:
        self.ready += list(self.taken.items())
        self.released += len(self.taken)
        self.taken.clear()
        await trio.lowlevel.checkpoint()
        return self.released

    async def batch_take(self, channel: str, most: int) -> list[tuple[int, int, Any]]:
        with trio.move_on_after(2.0):
            while not self.ready:  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.1)
        await trio.lowlevel.checkpoint()
        tasks, self.ready = self.ready[:most], self.ready[most:]
        self.taken.update(tasks)
        self.most_taken = max(self.most_taken, len(self.taken))
        if tasks:
            self.takes.append(trio.current_time())
        return [(id, id + 1, data) for id, data in tasks]

    async def batch_bury(self, channel: str, id: int, number: int) -> None:
        await trio.lowlevel.checkpoint()
        self.buried.append(id)
        del self.taken[id]

    async def settle(self, channel: str, settlements: list[Settlement]) -> list[bool]:
        await trio.sleep(0.01)
        if self.lost_settlements:
            self.lost_settlements -= 1
            await trio.sleep(5)
            raise LinkLost("cut")
        for settlement in settlements:
            del self.taken[settlement.task_id]
            self.settled.append(settlement)
        return [True] * len(settlements)


class ScriptedTransport:
    """Answers as ``answer`` says, after ``seconds``."""

    def __init__(self, answer: Callable[[Batch], Outcomes], seconds: float = 0.05) -> None:
        self.answer = answer
        self.seconds = seconds
        self.sent: list[Batch] = []
        self.at_once = 0
        self.most_at_once = 0
        self.ended = trio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        await self.ended.wait()

    def stop(self) -> None:
        self.ended.set()

    def check(self, message: Message) -> None: ...

    async def send(self, batch: Batch) -> Outcomes:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await trio.sleep(self.seconds)
        self.at_once -= 1
        self.sent.append(batch)
        return self.answer(batch)


class Book:
    async def get(self, id: int) -> Campaign | None:
        await trio.lowlevel.checkpoint()
        if id != 9:
            return None
        return Campaign(9, 1, "firing", Message(title="t", body="b"), None, {"ttl_ms": 1}, 1, 1, None, False)


def delivered(batch: Batch) -> Outcomes:
    return Outcomes(len(batch.recipients))


class Group:
    def __init__(
        self, tubes: MemoryTubes, transport: ScriptedTransport, *, hands: int = 6, limiter: Limiter | None = None
    ) -> None:
        self.tubes, self.transport = tubes, transport
        self.breaker = Breaker(30.0)
        gate, places = Gate(), trio.Semaphore(hands)
        work_in, work_out = trio.open_memory_channel[Work](hands)
        done_in, done_out = trio.open_memory_channel[Done](hands)
        fake: Any = tubes
        book: Any = Book()
        self.settler = Settler(
            channel="c",
            tubes=fake,
            done=done_out,
            intake=done_in,
            hands=places,
            gate=gate,
            in_hand=Counter(),
            clock=lambda: 1000,
        )
        self.actor = TransportActor(
            channel="c",
            transport=transport,
            work=work_out,
            intake=work_in,
            done=done_in.clone(),
            breaker=self.breaker,
            refusals=Refusals(),
            gate=gate,
        )
        self.consumer = Consumer(
            channel="c",
            tubes=fake,
            book=book,
            work=work_in.clone(),
            hands=places,
            gate=gate,
            in_hand=Counter(),
            breaker=self.breaker,
            limiter=limiter,
        )

    async def run(self, seconds: float) -> None:
        """Run for so long, then stop in reverse order, as the supervisor does."""
        async with trio.open_nursery() as nursery:
            for actor in (self.settler, self.actor, self.consumer):
                nursery.start_soon(actor.run, lambda: None)
            await trio.sleep(seconds)
            nursery.cancel_scope.deadline = trio.current_time() + 60
            for actor in (self.consumer, self.actor, self.settler):
                actor.stop()
        assert not nursery.cancel_scope.cancelled_caught, "a stop must end all three"
        assert self.tubes.taken == {}, "a drain leaves no lease behind"


async def test_every_batch_is_sent_and_settled_once(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(20), ScriptedTransport(delivered)
    await Group(tubes, transport).run(10)
    assert sorted(s.task_id for s in tubes.settled) == list(range(20))
    assert transport.most_at_once > 1, "batches go side by side"


async def test_leases_never_exceed_the_hands(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(50), ScriptedTransport(delivered, seconds=1.0)
    await Group(tubes, transport, hands=5).run(60)
    assert tubes.most_taken <= 5
    assert len(tubes.settled) == 50


async def test_a_stop_drains_what_is_in_hand_and_takes_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(50), ScriptedTransport(delivered, seconds=10.0)
    await Group(tubes, transport).run(1.0)
    assert 0 < len(tubes.settled) == len(transport.sent) < 50
    assert len(tubes.ready) == 50 - len(tubes.settled)


async def test_leases_of_an_earlier_incarnation_are_given_back_first(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(4), ScriptedTransport(delivered)
    tubes.taken.update(tubes.ready)
    tubes.ready = []
    await Group(tubes, transport).run(5)
    assert tubes.released == 4
    assert len(tubes.settled) == 4


async def test_after_a_failed_settlement_nothing_is_taken_until_it_succeeds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tubes, transport = MemoryTubes(1), ScriptedTransport(delivered)
    group = Group(tubes, transport)
    tubes.lost_settlements = 3  # 15 s of trouble
    more = MemoryTubes(9).ready[1:]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 60)
        await trio.sleep(8)
        tubes.ready += more
    first, *later = tubes.takes
    assert first < 1.0
    assert min(later) > 15.0
    assert len(tubes.settled) == 9


async def test_a_stop_answer_pauses_the_channel_and_a_probe_reopens_it(autojump_clock: trio.testing.MockClock) -> None:
    well = False

    def answer(batch: Batch) -> Outcomes:
        if well:
            return delivered(batch)
        held = [Exceptional(i, Outcome.HELD, "InvalidProviderToken") for i in range(len(batch.recipients))]
        return Outcomes(0, held, stop="Apple refuses the key: put the right one under credentials")

    tubes, transport = MemoryTubes(30), ScriptedTransport(answer)
    group = Group(tubes, transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 200)
        await trio.sleep(20)
        assert len(transport.sent) <= 6 + TASKS_A_TAKE
        assert group.breaker.reason is not None
        before = len(transport.sent)
        await trio.sleep(40)
        assert len(transport.sent) - before <= 2, "one probe a cool-down"
        well = True
    assert group.breaker.reason is None
    assert len(tubes.settled) == 30


async def test_a_share_of_dead_tokens_far_above_the_usual_pauses_before_anything_is_deleted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wrong = True

    def answer(batch: Batch) -> Outcomes:
        if not wrong:
            return delivered(batch)
        return Outcomes(0, [Exceptional(i, Outcome.DEAD, "BadDeviceToken") for i in range(len(batch.recipients))])

    tubes, transport = MemoryTubes(30, size=120), ScriptedTransport(answer)
    group = Group(tubes, transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, 200)
        await trio.sleep(50)
        assert group.breaker.reason is not None
        assert "BadDeviceToken" in group.breaker.reason
        assert not any(s.dead or s.tallies.get("dead") for s in tubes.settled)
        wrong = False
    assert group.breaker.reason is None
    assert not any(s.dead for s in tubes.settled)


async def test_the_usual_share_of_dead_tokens_is_deleted_and_stops_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def answer(batch: Batch) -> Outcomes:
        dead = len(batch.recipients) // 6
        return Outcomes(
            len(batch.recipients) - dead, [Exceptional(i, Outcome.DEAD, "Unregistered") for i in range(dead)]
        )

    tubes = MemoryTubes(30, size=120)
    group = Group(tubes, ScriptedTransport(answer))
    await group.run(20)
    assert sum(len(s.dead) for s in tubes.settled) == 30 * 20
    assert group.breaker.reason is None


async def test_a_provider_too_busy_for_a_tenth_slows_its_channel_more_and_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    busy = True

    def answer(batch: Batch) -> Outcomes:
        if not busy:
            return delivered(batch)
        return Outcomes(80, [Exceptional(i, Outcome.RETRY, "ServiceUnavailable", 1.0) for i in range(20)], put_off=20)

    tubes, transport = MemoryTubes(200, size=100), ScriptedTransport(answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Group(tubes, transport).run, 100)
        await trio.sleep(40)
        while_busy = len(transport.sent)
        assert while_busy <= 100, "pauses of 1, 2, 4, 8 … seconds, ten batches between two of them"
        busy = False
    assert len(transport.sent) == 200


async def test_a_rate_is_kept_before_the_take_so_that_no_lease_grows_old(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tubes, transport = MemoryTubes(10, size=100), ScriptedTransport(delivered, seconds=0.0)
    await Group(tubes, transport, limiter=Limiter(10.0, 100.0)).run(200)
    assert len(tubes.settled) == 10
    assert tubes.takes[-1] - tubes.takes[0] >= 80.0, "1,000 pushes at 10/s, 100 at once"
    assert tubes.most_taken <= 2


@pytest.mark.parametrize(
    "data", ["garbage", [1, 2], [2, 9, 1, 0, 0, 1, 1, FAR, [], "[]"], [1, 9, 1, 0, 0, 1, 1, FAR, [], "[["]]
)
async def test_an_unreadable_task_is_buried_and_the_rest_goes_on(
    data: Any, autojump_clock: trio.testing.MockClock
) -> None:
    tubes, transport = MemoryTubes(3), ScriptedTransport(delivered)
    tubes.ready.insert(1, (77, data))
    await Group(tubes, transport).run(5)
    assert tubes.buried == [77]
    assert len(tubes.settled) == 3


async def test_a_task_of_an_unknown_campaign_is_buried(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(1), ScriptedTransport(delivered)
    tubes.ready.insert(0, (77, [1, 8, 1, 0, 0, 1, 1, FAR, ["en"], "[]"]))
    await Group(tubes, transport).run(5)
    assert tubes.buried == [77]


async def test_an_infinite_limiter_is_no_limit(autojump_clock: trio.testing.MockClock) -> None:
    tubes, transport = MemoryTubes(5), ScriptedTransport(delivered)
    await Group(tubes, transport, limiter=Limiter(math.inf, 1.0)).run(5)
    assert len(tubes.settled) == 5


async def test_a_provider_that_asks_for_less_gets_nothing_for_that_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers = [Outcomes(3, slow=60.0)]
    tubes = MemoryTubes(1)
    transport = ScriptedTransport(lambda batch: answers.pop() if answers else delivered(batch))
    more = MemoryTubes(5).ready[1:]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Group(tubes, transport).run, 100)
        await trio.sleep(3)
        tubes.ready += more
    assert len(tubes.settled) == 5
    assert min(tubes.takes[1:]) >= 60.0


async def test_every_push_is_begun_long_before_its_lease_ends(autojump_clock: trio.testing.MockClock) -> None:
    transport = ScriptedTransport(delivered)
    await Group(MemoryTubes(2), transport).run(5)
    assert all(20.0 <= batch.begin_until <= 31.0 for batch in transport.sent)


async def test_a_stop_does_not_wait_for_the_long_poll(autojump_clock: trio.testing.MockClock) -> None:
    started = trio.current_time()
    await Group(MemoryTubes(0), ScriptedTransport(delivered)).run(3.0)
    assert trio.current_time() - started < 3.1


async def test_a_settler_whose_group_never_came_up_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    done_in, done_out = trio.open_memory_channel[Done](1)
    tubes: Any = MemoryTubes(0)
    settler = Settler(
        channel="c",
        tubes=tubes,
        done=done_out,
        intake=done_in,
        hands=trio.Semaphore(1),
        gate=Gate(),
        in_hand=Counter(),
        clock=lambda: 0,
    )
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(settler.run, lambda: None)
            await trio.testing.wait_all_tasks_blocked()
            settler.stop()


async def test_channels_of_one_project_keep_its_rising_rate_together(autojump_clock: trio.testing.MockClock) -> None:
    limiter = Limiter(100.0, 100.0, ramp=60.0)
    sent: list[float] = []

    def answer(batch: Batch) -> Outcomes:
        sent.append(trio.current_time())
        return delivered(batch)

    groups = [Group(MemoryTubes(300, size=25), ScriptedTransport(answer), limiter=limiter) for _ in range(2)]
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for group in groups:
            nursery.start_soon(group.run, 100)
    for number, at in enumerate(sent):
        rising = min(60.0, at - begin)
        allowed = 100 * (0.05 + 0.95 * rising / 120) * rising + 100 * max(0.0, at - begin - 60)
        # each channel may have drawn one batch more than there was
        assert 25 * (number + 1) <= 100 + allowed + 2 * 25 + 1
    assert 25 * len(sent) > 0.95 * (100 * 0.525 * 60 + 100 * 40), "all that the rate gives"
    shares = [len(group.transport.sent) / len(sent) for group in groups]
    assert min(shares) > 0.4, "neither channel starves"
