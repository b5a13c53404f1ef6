"""A channel's consumer, transport actor and settler on a queue in memory and a scripted provider."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import trio
import trio.testing

from actors.consumer import Consumer
from actors.gate import Gate
from actors.hands import Hands
from actors.limiter import Limiter
from actors.messages import Answered, PartAnswered
from actors.refusals import Doubt
from actors.settler import Settler
from actors.transport_actor import TransportActor
from campaigns.batch import Batch, Leave, always
from campaigns.campaign import Campaign
from campaigns.lane import Lane
from campaigns.message import Message
from campaigns.recipient import Recipient, pack_recipients
from storage.errors import LinkLost
from storage.records import Settlement
from transports.contract import Outcomes

FAR = 10**15
LANE = 8
PRIS = {Lane.UPPER: 0, Lane.MIDDLE: 1, Lane.LOWER: 2}


def lane_of(data: Any) -> Lane:
    """The lane of a task; the queue gives the middle one to what is no batch."""
    written = data[LANE] if isinstance(data, list) and len(data) > LANE else None
    return next((lane for lane in Lane if lane == written), Lane.MIDDLE)


class MemoryTubes:
    """The queue's contract, in memory: take, settle, release, bury; and, where wanted, remainders that come back."""

    def __init__(self, batches: int, size: int = 3, *, come_back: bool = False) -> None:
        self.come_back = come_back
        self.later: list[tuple[float, int, Any]] = []
        self.numbers = itertools.count(batches)
        recipients = [
            pack_recipients([Recipient(b * size + i, "aa", "token", 1, "en") for i in range(size)])
            for b in range(batches)
        ]
        self.ready: list[tuple[int, Any]] = [
            (b, [1, 9, 1, 0, 0, b + 1, 1, FAR, *[0] * 5, size, recipients[b]]) for b in range(batches)
        ]
        self.taken: dict[int, Any] = {}
        self.settled: list[Settlement] = []
        self.buried: list[int] = []
        self.sent_before: list[int] = []
        self.crashes: list[tuple[int, str]] = []
        self.most_taken = 0
        self.takes: list[float] = []
        self.lost_settlements = 0
        self.released = 0
        self.more = trio.Event()

    def leave(self) -> Callable[[], Leave]:
        return always

    async def batch_release_worker(self, channel: str) -> int:
        self.ready += list(self.taken.items())
        self.released += len(self.taken)
        self.taken.clear()
        await trio.lowlevel.checkpoint()
        return self.released

    async def batch_release(self, channel: str, leases: list[tuple[int, int]]) -> None:
        await trio.lowlevel.checkpoint()
        self.ready += [(id, self.taken.pop(id)) for id, _ in leases]
        self.released += len(leases)

    async def batch_take(self, channel: str, most: int, *, upper: bool = False) -> list[tuple[int, int, Any]]:
        with trio.move_on_after(2.0):
            while not self._due(upper):  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.1)
        await trio.lowlevel.checkpoint()
        tasks = self._due(upper)[:most]
        ids = {id for id, _ in tasks}
        self.ready = [task for task in self.ready if task[0] not in ids]
        self.taken.update(tasks)
        self.most_taken = max(self.most_taken, len(self.taken))
        if tasks:
            self.takes.append(trio.current_time())
        return [(id, id + 1, data) for id, data in tasks]

    def _due(self, upper: bool) -> list[tuple[int, Any]]:
        now = trio.current_time()
        self.ready += [(id, data) for due, id, data in self.later if due <= now]
        self.later = [entry for entry in self.later if entry[0] > now]
        self.ready.sort(key=lambda task: PRIS[lane_of(task[1])])
        return [task for task in self.ready if not upper or lane_of(task[1]) is Lane.UPPER]

    async def batch_bury(self, channel: str, id: int, number: int, why: str, *, sent: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        self.buried.append(id)
        self.sent_before += [id] if sent else []
        del self.taken[id]

    async def batch_crashed(self, channel: str, id: int, number: int, why: str) -> tuple[int, bool]:
        await trio.lowlevel.checkpoint()
        self.crashes.append((id, why))
        if len([crash for crash in self.crashes if crash[0] == id]) == 3:
            await self.batch_bury(channel, id, number, why)
            return 3, True
        self.ready.append((id, self.taken.pop(id)))
        return 1, False

    async def settle(self, channel: str, settlements: list[Settlement]) -> list[bool]:
        await trio.sleep(0.01)
        if self.lost_settlements:
            self.lost_settlements -= 1
            await trio.sleep(5)
            raise LinkLost("cut")
        for settlement in settlements:
            if settlement.left is not None:
                self.settled.append(settlement)
                continue
            data = self.taken.pop(settlement.task_id)
            for rest in settlement.remainders if self.come_back else ():
                id = next(self.numbers)
                task = [*data[:5], -id, rest.attempt, *data[7:-2], rest.size, rest.recipients]
                self.later.append((trio.current_time() + rest.delay, id, task))
            self.settled.append(settlement)
        return [True] * len(settlements)


class ScriptedTransport:
    """Answers as ``answer`` says, after ``seconds``."""

    outage = None

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


class Cache:
    async def get(self, id: int, texts: int = 0) -> Campaign | None:
        await trio.lowlevel.checkpoint()
        if id != 9:
            return None
        return Campaign(9, 1, "firing", Message(title="t", body="b"), None, {"ttl_ms": 1}, 1, 1, None, False)


def delivered(batch: Batch) -> Outcomes:
    return Outcomes(len(batch.recipients))


async def no_answer(doubt: Doubt) -> str:
    """A dead ledger that is out of reach."""
    await trio.lowlevel.checkpoint()
    return ""


class Group:
    def __init__(
        self,
        tubes: MemoryTubes,
        transport: Any,
        *,
        hands: int = 6,
        limiter: Limiter | None = None,
        clock: Callable[[], int] = lambda: 1000,
    ) -> None:
        self.tubes, self.transport = tubes, transport
        self.word = "stopped"
        """The dead ledger's answer to a doubt."""
        self.doubts: list[Doubt] = []
        self.successors: dict[int, Recipient] = {}
        """Subscriber → the recipient under the newest token, where the base has another one than the batch."""
        self.gate = gate = Gate("c", ask=self._ask, limiter=limiter, clock=clock)
        self.breaker, self.refusals = gate.breaker, gate.refusals
        places = Hands(lambda: hands)
        work_in, work_out = trio.open_memory_channel[Batch](places.count)
        done_in, done_out = trio.open_memory_channel[Answered | PartAnswered](places.count)
        fake: Any = tubes
        cache: Any = Cache()
        self.settler = Settler(
            channel="c",
            tubes=fake,
            done=done_out,
            intake=done_in,
            hands=places,
            gate=gate,
            clock=clock,
        )
        self.actor = TransportActor(
            channel="c",
            tubes=fake,
            transport=transport,
            work=work_out,
            intake=work_in,
            done=done_in.clone(),
            gate=gate,
            clock=clock,
            find=self._find,
        )
        self.consumer = Consumer(
            channel="c",
            tubes=fake,
            cache=cache,
            work=work_in.clone(),
            hands=places,
            gate=gate,
        )

    async def _find(self, refused: Sequence[tuple[int, str]]) -> dict[int, Recipient]:
        await trio.lowlevel.checkpoint()
        found = {id: self.successors[id] for id, _ in refused if id in self.successors}
        return {id: found[id] for id, token in refused if id in found and found[id].token != token}

    async def _ask(self, doubt: Doubt) -> str:
        await trio.lowlevel.checkpoint()
        self.doubts.append(doubt)
        return self.word

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
