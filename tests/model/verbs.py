"""The walk over the real verbs: two nodes, two workers each, and a witness who knows what was sent to whom.

A worker is a set of hands and no loop: the schedule says who does what next, which call is repeated because its reply
was lost, who crashes, who goes on although others have its work, which queue comes back blank.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from campaigns.id_set import pack_ids, unpack_ids
from storage.link import Link

NOW = 1_800_000_000_000
CHANNEL = "ios"
ATTEMPTS = 3
Move = tuple[str, Callable[[], Awaitable[object]]]


class Witness:
    """Counts what is sent, and what the law lets be repeated."""

    def __init__(self) -> None:
        self.sent: Counter[int] = Counter()
        self.excused: Counter[int] = Counter()
        self.recorded: set[int] = set()
        self.ranges: dict[int, tuple[int, int]] = {}

    def claims(self, seq: int, from_id: int, to_id: int) -> None:
        """A page is one range, whoever claims it, however often."""
        assert self.ranges.setdefault(seq, (from_id, to_id)) == (from_id, to_id)

    def check(self, everybody: set[int], tallies: dict[str, int]) -> None:
        """The law, at any moment."""
        for id, sends in self.sent.items():
            assert sends - self.excused[id] <= 1, f"subscriber {id} was sent to {sends} times"
        assert set(self.sent) <= everybody
        assert tallies.get("delivered", 0) == len(self.recorded), "the ledger counts other ends than there are"

    def check_end(self, everybody: set[int], end_id: int) -> None:
        """Nobody is lost, and the pages tile the base."""
        assert set(self.sent) == everybody == self.recorded
        at = 0
        for seq in sorted(self.ranges):
            from_id, at_end = self.ranges[seq]
            assert from_id == at, f"page {seq} begins at {from_id}, the one before it ends at {at}"
            at = at_end
        assert at == end_id


class House:
    """A node: its name, its queue's link (its first worker's), its reporter's hands."""

    def __init__(self, name: str, links: list[Link], campaign: int, witness: Witness) -> None:
        self.name, self.campaign, self.witness = name, campaign, witness
        self.link = links[0]
        self.workers = [Hands(self, f"{name}-worker-{w}", link) for w, link in enumerate(links)]
        self.grant = 0
        self.slow: tuple[int, list[Any]] | None = None
        self.ring: list[House] = []

    async def call(self, verb: str, *args: Any) -> list[Any]:
        return await self.link.call("queue", f"tubes.{verb}", *args)

    async def come_back(self) -> None:
        """Clause 1's first half: a queue that knows nothing asks for an epoch."""
        ((uuid, held, _),) = await self.call("epoch")
        await self.call("renew", held, 0, None, [])  # a restarted queue has no lease
        (_, lines) = await self.call("outbox_read", 1000, 0, 0, 0)
        for _, line in lines:
            self.witness.excused.update(set(line.get("who", [])) - self.witness.recorded)
        for worker in self.workers:
            worker.excuse()
        (self.grant,) = await self.link.call("store", "store.node_join", self.name, uuid, 0, NOW, ["ios"])

    async def adopt(self) -> None:
        """Clause 1's second half."""
        await self.call("adopt", self.grant)
        await self.call("renew", self.grant, 600, None, [])
        self.grant = 0

    async def report(self, *, lost: bool = False) -> None:
        """Clause 8. ``lost``: the reply to the report is."""
        epoch, lines = self.slow or await self.call("outbox_read", 100, 0, 0, 0)
        self.slow = None
        (upto,) = await self.link.call("store", "store.report", self.name, epoch, lines, NOW)
        if upto is not None:
            for _, line in lines:
                self.witness.recorded.update(line.get("who", []))
            if not lost:
                await self.call("outbox_read", 1, epoch, upto, 0)

    async def be_slow(self) -> None:
        epoch, lines = await self.call("outbox_read", 100, 0, 0, 0)
        self.slow = (epoch, lines) if lines else None

    async def shepherd(self) -> None:
        """Clause 10, early whenever it can be."""
        epoch = (await self.call("epoch"))[0][1]
        anyone, own = await self.link.call("store", "store.strays", self.name, epoch, NOW + 1, 0)
        (marked,) = await self.call("marked", [baton[:3] for baton in own]) if own else ([],)
        anyone += [baton for baton, done in zip(own, marked, strict=True) if not done]
        await self.call("baton_put", [baton for baton in anyone if baton[0] == self.campaign])

    def moves(self) -> list[Move]:
        """What may come next here."""
        if self.grant:
            moves: list[Move] = [("adopts", self.adopt)]
        else:
            moves = [("is slow to report", self.be_slow), ("loses its data", self.come_back)]
        moves += [
            ("reports", self.report),
            ("reports, reply lost", lambda: self.report(lost=True)),
            ("looks for strays", self.shepherd),
        ]
        return [(f"{self.name} {words}", do) for words, do in moves]

    def all_moves(self) -> list[Move]:
        return self.moves() + [move for hands in self.workers for move in hands.moves()]


class Hands:
    """A worker's walker and consumer."""

    def __init__(self, house: House, name: str, link: Link) -> None:
        self.house, self.name, self.link = house, name, link
        self.baton: dict[str, Any] | None = None
        self.batch: dict[str, Any] | None = None

    async def call(self, verb: str, *args: Any) -> list[Any]:
        return await self.link.call("queue", f"tubes.{verb}", *args)

    async def take_baton(self) -> None:
        epoch, tasks = await self.call("baton_take", self.name, 0, [], 0)
        for number, (id, _, data) in tasks:
            self.baton = {"id": id, "number": number, "data": data, "epoch": epoch, "stage": "took"}

    async def walk(self, *, lost: bool = False) -> None:
        """The next of clauses 3 to 5. ``lost``: its reply is, so that it comes again."""
        baton = self.baton
        assert baton is not None
        before = dict(baton)
        await getattr(self, f"_{baton['stage']}")(baton)
        if lost and self.baton is not None:
            self.baton = before

    async def _took(self, baton: dict[str, Any]) -> None:
        house = self.house
        answer = await self.link.call("store", "store.page_claim", house.name, baton["epoch"], *baton["data"], NOW)
        if answer[0] == "claimed":
            _, from_id, to_id, following, ended = answer[:5]
            house.witness.claims(baton["data"][2], from_id, to_id)
            baton.update(stage="claimed", range=(from_id, to_id), next=following, ended=unpack_ids(ended))
        else:
            verb = "baton_release" if answer[0] == "fenced" else "baton_ack"
            lease = [baton["id"], baton["number"]]
            await self.call(verb, *([[lease]] if answer[0] == "fenced" else lease))
            self.baton = None

    async def _claimed(self, baton: dict[str, Any]) -> None:
        if baton["next"] is not None:
            await self.house.ring[0].call("baton_put", [baton["next"]])
        baton["stage"] = "passed"

    async def _passed(self, baton: dict[str, Any]) -> None:
        chosen = (self.house.campaign, None, pack_ids([*baton["ended"]]))
        parts, skipped = await self.link.call("store", "store.page_read", *baton["range"], None, 100, *chosen)
        ids = [row[0] for part in parts for row in msgspec.msgpack.decode(part[2])]
        batches = [[CHANNEL, 0, len(ids), msgspec.msgpack.encode(ids), NOW]] if ids else []
        tallies = {CHANNEL: {"enqueued": len(ids), "skipped": skipped.get(CHANNEL, 0)}}
        page = baton["data"][:3]
        lease = (baton["id"], baton["number"])
        verdict, *_ = await self.call("page_put", baton["epoch"], *page, batches, len(ids), tallies, [], [], *lease)
        if verdict == "fenced":
            await self.call("baton_release", [[baton["id"], baton["number"]]])
            self.baton = None
        baton["stage"] = "put"

    async def _put(self, baton: dict[str, Any]) -> None:
        await self.call("baton_ack", baton["id"], baton["number"])
        self.baton = None

    async def lose_baton(self) -> None:
        assert self.baton is not None
        self.baton["stage"] = "passed"

    async def take_batch(self, *, lost: bool = False) -> None:
        (tasks,) = await self.call("batch_take", CHANNEL, self.name, 1, 0, [], 0)
        for number, (id, _, data) in tasks:
            if not lost:
                ids = msgspec.msgpack.decode(data[-1])
                self.batch = {"id": id, "number": number, "n": data[5], "attempt": data[6], "who": ids, "left": None}
                self.batch["parting"] = False

    async def send(self, *, refused: bool = False) -> None:
        """Clause 7 from here on. ``refused``: the batch's last recipient is, and goes back."""
        batch = self.batch
        assert batch is not None
        batch["left"] = batch["who"][-1:] if refused else []
        self.house.witness.sent.update(id for id in batch["who"] if id not in batch["left"])

    async def settle(self, *, lost: bool = False) -> None:
        batch = self.batch
        assert batch is not None
        who, left = batch["who"], batch["left"]
        ends = [id for id in who if id not in left]
        line: dict[str, Any] = {
            "tallies": {"delivered": len(ends)} if ends else {}, "reasons": {}, "dead": [],
            "ended": pack_ids(ends), "who": ends,
        }  # fmt: skip
        rest = [[0, batch["attempt"] + 1, len(left), msgspec.msgpack.encode(left)]] if left else []
        await self.call("settle", CHANNEL, [[batch["id"], batch["number"], line, rest]])
        if not lost:
            self.batch = None

    async def settle_part(self, *, lost: bool = False) -> None:
        """The last answer of those who are not refused is late; the others are settled, again until this is known."""
        batch = self.batch
        assert batch is not None
        batch["parting"] = True
        who, left = batch["who"], batch["left"]
        ends = [id for id in who if id not in left][:-1]
        rest = [id for id in who if id not in ends]
        line = {"tallies": {"delivered": len(ends)}, "reasons": {}, "dead": [], "ended": pack_ids(ends), "who": ends}
        part = [len(who), len(rest), msgspec.msgpack.encode(rest)]
        await self.call("settle", CHANNEL, [[batch["id"], batch["number"], line, [], part]])
        if not lost:
            batch.update(who=rest, parting=False)

    def excuse(self) -> None:
        """What is in these hands may be sent once more."""
        if self.batch is not None:
            self.house.witness.excused.update(set(self.batch["who"]) - self.house.witness.recorded)

    async def give_back(self) -> None:
        """The queue gives this worker's leases to others (its ttr, or the end of its session)."""
        self.excuse()
        await self.call("worker_stopping", self.name)  # or a batch that is given back five times would be buried
        await self.call("baton_release_worker", self.name)
        await self.call("batch_release_worker", CHANNEL, self.name)

    async def crash(self) -> None:
        await self.give_back()
        self.baton = self.batch = None

    def moves(self) -> list[Move]:
        """What may come next here: twice over what goes well."""
        moves: list[Move] = [("crashes", self.crash), ("is passed over", self.give_back)]
        if self.baton is None:
            moves += [("takes a baton", self.take_baton)] * 2
        else:
            stage = self.baton["stage"]
            moves += [(f"walks on from {stage!r}", self.walk)] * 2
            moves += [(f"walks on from {stage!r}, reply lost", lambda: self.walk(lost=True))]
            if stage == "claimed":
                moves += [("loses the next baton", self.lose_baton)]
        if self.batch is None:
            moves += [("takes a batch", self.take_batch)] * 2
            moves += [("takes a batch, reply lost", lambda: self.take_batch(lost=True))]
        elif self.batch["left"] is None:
            moves += [("sends", self.send)] * 2
            if self.batch["attempt"] < ATTEMPTS:
                moves += [("sends, one is refused", lambda: self.send(refused=True))]
        else:
            if not self.batch["parting"]:
                moves += [("settles", self.settle)] * 2
                moves += [("settles, reply lost", lambda: self.settle(lost=True))]
            if len(self.batch["who"]) - len(self.batch["left"]) > 1:
                moves += [("settles a part", self.settle_part)]
                moves += [("settles a part, reply lost", lambda: self.settle_part(lost=True))]
        return [(f"{self.name} {words}", do) for words, do in moves]


async def follow(schedule: list[int], seed: int, houses: list[House], everybody: set[int], end_id: int) -> None:
    """The drawn interleaving, and then work without a fault until the store says done."""
    store, campaign, witness = houses[0].link, houses[0].campaign, houses[0].witness
    trace: list[str] = []

    async def state() -> str:
        ((row, channels),) = await store.call("store", "store.campaign_get", campaign)
        tallies = {name: tallies for name, tallies, _ in channels}
        witness.check(everybody, tallies.get(CHANNEL, {}))
        return str(row[2])

    try:
        for choice in schedule:
            moves = [move for house in houses for move in house.all_moves()]
            words, do = moves[choice % len(moves)]
            trace.append(words)
            await do()
            await state()
        dice = random.Random(seed)
        for _ in range(60):
            if await state() == "done":
                break
            trace.append("all work")
            await work(houses, dice)
        assert await state() == "done"
        witness.check_end(everybody, end_id)
        ((_, ((_, tallies, _),)),) = await store.call("store", "store.campaign_get", campaign)
        assert (tallies["enqueued"], tallies["enqueued"] + tallies["skipped"]) == (len(everybody), tallies["rows"])
    except AssertionError as broken:
        raise AssertionError("\n".join((str(broken), *trace))) from broken


async def work(houses: list[House], dice: random.Random) -> None:
    """A round without a fault, in any order."""
    for house in dice.sample(houses, len(houses)):
        if house.grant:
            await house.adopt()
        for hands in dice.sample(house.workers, len(house.workers)):
            await (hands.walk() if hands.baton else hands.take_baton())
            if hands.batch is None:
                await hands.call("batch_release_worker", CHANNEL, hands.name)  # whose reply was lost
                await hands.take_batch()
            await (hands.send() if hands.batch and hands.batch["left"] is None else _nothing())
            await (hands.settle_part() if hands.batch and hands.batch["parting"] else _nothing())
            await (hands.settle() if hands.batch else _nothing())
        await house.report()
        await house.shepherd()


async def _nothing() -> None:
    pass
