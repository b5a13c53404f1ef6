"""The store and the queue in memory: the verbs of storage/lua, one call one transaction, for virtual time.

`MemoryLink` stands in for `storage.link.Link`, so that the real `Store` and `Tubes` run above it. Each call passes the
seam "link.VERB"; an error there is a lost link, before or after the effect, and ends the queue's session: what it had
taken is ready again, as Tarantool Queue does it, while `taken` still names the old take.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections import Counter
from typing import Any

import msgspec
import trio

from campaigns.id_set import unpack_ids
from campaigns.lane import Lane
from campaigns.tally import SKIPPED, ended
from campaigns.where import Where
from storage.errors import LinkLost, VerbRefused
from supervision.testing import seam
from tests.lua.audiences import is_in

REPLY = 0.001
RESERVED = [0] * 4  # see storage/lua/roles/tubes/batch_format.lua
LANE = 8  # where a batch has its lane
PRIS = {Lane.UPPER: 0, Lane.MIDDLE: 1, Lane.LOWER: 2}  # see storage/lua/roles/tubes/lanes.lua


class Tube:
    def __init__(self) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}

    def put(self, data: Any, delay: float = 0.0, lane: int = Lane.MIDDLE) -> None:
        # as the queue does: the lowest free number above the highest, so ids are used again
        id = max(self.tasks, default=-1) + 1
        self.tasks[id] = {
            "data": copy.deepcopy(data),
            "pri": PRIS[Lane(lane)],
            "at": trio.current_time() + delay,
            "session": None,
            "buried": False,
        }

    def take(self, session: int, pris: frozenset[int] = frozenset(PRIS.values())) -> tuple[int, Any] | None:
        for id in sorted(self.tasks, key=lambda id: (self.tasks[id]["pri"], id)):
            task = self.tasks[id]
            if (
                task["pri"] in pris
                and task["session"] is None
                and not task["buried"]
                and task["at"] <= trio.current_time()
            ):
                task["session"] = session
                return id, task["data"]
        return None

    def ours(self, id: int, session: int) -> bool:
        return id in self.tasks and self.tasks[id]["session"] == session


class MemoryQueue:
    """storage/lua/roles/tubes."""

    def __init__(self, channels: list[str]) -> None:
        self.tubes = {name: Tube() for name in ["batons", *(f"push_{channel}" for channel in channels)]}
        self.lease_until = -1.0
        self.session = 1
        self.state = {"epoch": 0, "line": 0, "take": 0}
        self.marks: set[tuple[int, int, int]] = set()
        self.outbox: list[list[Any]] = []
        self.taken: dict[tuple[str, int], tuple[int, str]] = {}
        self.crashes: dict[tuple[str, int], int] = {}
        self.kept: dict[str, list[bytes]] = {}

    def lose_session(self) -> None:
        """The connection broke: a new session, and nothing is taken any more."""
        self.session += 1
        for tube in self.tubes.values():
            for task in tube.tasks.values():
                task["session"] = None

    def leased_recipients(self) -> int:
        """How many recipients are in batches which somebody has taken."""
        return sum(
            task["data"][-2]
            for name, tube in self.tubes.items()
            for task in tube.tasks.values()
            if name != "batons" and task["session"] is not None
        )

    def draw(self, key: str) -> int:
        self.state[key] += 1
        return self.state[key]

    def leased(self) -> bool:
        return trio.current_time() < self.lease_until

    def epoch(self) -> list[Any]:
        return [["queue-1", self.state["epoch"], self.leased()]]

    def standing(self) -> list[Any]:
        return [[trio.current_time(), [], 0]]

    def stopped(self, known: int, seconds: float) -> list[Any]:
        return [0]  # nobody stops anything here: the poll lasts its time

    def renew(self, epoch: int, seconds: float, asked: float, held: list[Any], texts: Any = None) -> list[Any]:
        if self.state["epoch"] != epoch:
            return [False]
        self.lease_until = asked + seconds
        return [True]

    def adopt(self, epoch: int) -> list[Any]:
        if self.state["epoch"] == epoch:
            return [False]
        for tube in self.tubes.values():
            tube.tasks.clear()
        self.marks.clear()
        self.outbox.clear()
        self.taken.clear()
        self.crashes.clear()
        self.state.update(line=0, epoch=epoch)
        return [True]

    def marked(self, pages: list[Any]) -> list[Any]:
        return [[tuple(page) in self.marks for page in pages]]

    def marked_campaigns(self) -> list[Any]:
        return [sorted({mark[0] for mark in self.marks})]

    def marks_drop(self, campaign: int) -> list[Any]:
        self.marks = {mark for mark in self.marks if mark[0] != campaign}
        return [0]

    def baton_put(self, batons: list[Any], lane: int) -> list[Any]:
        for baton in batons:
            self.tubes["batons"].put(baton, lane=lane)
        return [len(batons)]

    def _take(self, name: str, worker: str, most: int, pris: frozenset[int] = frozenset(PRIS.values())) -> list[Any]:
        tasks: list[Any] = []
        while self.leased() and len(tasks) < most and (found := self.tubes[name].take(self.session, pris)) is not None:
            number = self.draw("take")
            self.taken[name, found[0]] = (number, worker)
            tasks.append([number, [found[0], "t", copy.deepcopy(found[1])]])
        return tasks

    def baton_take(self, worker: str, poll: int, lost: list[int], _: float) -> list[Any]:
        return [self.state["epoch"], self._take("batons", worker, 1)]

    def batch_take(
        self, channel: str, worker: str, most: int, poll: int, lost: list[int], _: float, upper: bool
    ) -> list[Any]:
        pris = frozenset({PRIS[Lane.UPPER]} if upper else PRIS.values())
        return [self._take(f"push_{channel}", worker, most, pris)]

    def _held(self, name: str, id: int, number: int) -> bool:
        return self.taken.get((name, id), (0, ""))[0] == number

    def _finish(self, name: str, id: int, number: int) -> Any:
        if not self._held(name, id, number) or not self.tubes[name].ours(id, self.session):
            return None
        del self.taken[name, id]
        return self.tubes[name].tasks.pop(id)["data"]

    def baton_ack(self, id: int, number: int) -> list[Any]:
        return [self._finish("batons", id, number) is not None]

    def _release(self, name: str, leases: list[Any]) -> list[Any]:
        n = 0
        for id, number in leases:
            if self._held(name, id, number) and self.tubes[name].ours(id, self.session):
                self.tubes[name].tasks[id]["session"] = None
                del self.taken[name, id]
                n += 1
        return [n]

    def baton_release(self, leases: list[Any]) -> list[Any]:
        return self._release("batons", leases)

    def batch_release(self, channel: str, leases: list[Any]) -> list[Any]:
        return self._release(f"push_{channel}", leases)

    def _release_worker(self, tube: str, worker: str) -> list[Any]:
        leases = [(id, n) for (name, id), (n, who) in self.taken.items() if name == tube and who == worker]
        return self._release(tube, leases)

    def baton_release_worker(self, worker: str) -> list[Any]:
        return self._release_worker("batons", worker)

    def batch_release_worker(self, channel: str, worker: str) -> list[Any]:
        return self._release_worker(f"push_{channel}", worker)

    def batch_bury(self, channel: str, id: int, number: int, why: str, sent: bool = False) -> list[Any]:
        name = f"push_{channel}"
        if not self._held(name, id, number):
            return [False]
        self.tubes[name].tasks[id].update(buried=True, session=None)
        del self.taken[name, id]
        return [True]

    def batches_expire(self, now: int, limit: int) -> list[Any]:
        return [0, 0]

    def worker_stopping(self, worker: str) -> list[Any]:
        return []  # takes that end in nothing are not counted here: see tests/lua/settlements.lua

    def batch_crashed(self, channel: str, id: int, number: int, why: str) -> list[Any]:
        name = f"push_{channel}"
        if not self._held(name, id, number):
            return [0, False]
        crashes = self.crashes[name, id] = self.crashes.get((name, id), 0) + 1
        if crashes >= 3:
            self.batch_bury(channel, id, number, why)
            return [crashes, True]
        self._release(name, [[id, number]])
        return [crashes, False]

    def _append(self, line: dict[str, Any]) -> None:
        self.outbox.append([self.draw("line"), copy.deepcopy(line)])

    def page_put(
        self,
        epoch: int,
        c: int,
        s: int,
        seq: int,
        batches: Any,
        recipients: int,
        tallies: Any,
        ended: Any,
        held: Any,
        id: int,
        number: int,
        unsure: bool = False,
        paced: bool = False,
        kept: str | None = None,
    ) -> list[Any]:
        if not self.leased() or self.state["epoch"] != epoch:
            return ["fenced"]
        if (c, s, seq) in self.marks:
            return ["marked", *self.baton_ack(id, number)]
        rows = None if kept is None else self.kept.pop(kept, None)
        if kept is not None and rows is None:
            return ["gone"]
        for n, (channel, delay, size, packed, expires_at, *_, lane) in enumerate(batches, 1):
            if rows is not None:
                packed = rows[packed - 1]
            batch = [1, c, epoch, s, seq, n, 1, expires_at, lane, *RESERVED, size, packed]
            self.tubes[f"push_{channel}"].put(batch, delay, lane)
        self.marks.add((c, s, seq))
        line = {
            "kind": "enqueued",
            "campaign": c,
            "segment": s,
            "seq": seq,
            "recipients": recipients,
            "tallies": tallies,
            "ended": ended,
        }
        self._append(line)
        return ["put", *self.baton_ack(id, number)]

    def settle(self, channel: str, settlements: list[Any]) -> list[Any]:
        name, answers = f"push_{channel}", []
        for id, number, line, remainders, *left in settlements:
            if left:
                answers.append(self._settle_part(channel, id, number, line, *left[0]))
                continue
            body = self._finish(name, id, number)
            answers.append(body is not None)
            if body is None:
                continue
            for p, (delay, attempt, size, packed) in enumerate(remainders):
                rest = [*body[:5], -(number * 16 + p), attempt, *body[7:-2], size, packed]
                self.tubes[name].put(rest, delay, body[LANE])
            key = {"campaign": body[1], "segment": body[3], "seq": body[4], "channel": channel}
            self._append({**line, **key, "kind": "settled"})
        return [answers]

    def _settle_part(
        self, channel: str, id: int, number: int, line: dict[str, Any], before: int, size: int, packed: bytes
    ) -> bool:
        name = f"push_{channel}"
        if not self._held(name, id, number) or not self.tubes[name].ours(id, self.session):
            return False
        body = self.tubes[name].tasks[id]["data"]
        if body[-2] == before:
            body[-2:] = [size, packed]
            key = {"campaign": body[1], "segment": body[3], "seq": body[4], "channel": channel}
            self._append({**line, **key, "kind": "settled"})
        return True

    def outbox_read(self, limit: int, known: int, upto: int, _: float) -> list[Any]:
        if self.state["epoch"] == known:
            self.outbox = [entry for entry in self.outbox if entry[0] > upto]
        return [self.state["epoch"], copy.deepcopy(self.outbox[:limit])]


class MemoryStore:
    """storage/lua/roles/store, but for the subscribers' upkeep."""

    def __init__(self, rows: list[list[Any]]) -> None:
        self.rows = {row[0]: row for row in rows}
        self.campaigns: dict[int, dict[str, Any]] = {}
        self.cursors: dict[tuple[int, int], dict[str, Any]] = {}
        self.pages: dict[tuple[int, int, int], dict[str, Any]] = {}
        self.totals: dict[tuple[int, str], tuple[dict[str, int], dict[str, int]]] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.kept: dict[str, list[bytes]] = {}
        self.names = itertools.count(1)

    def campaign_create(
        self, id: int, message: str, audience: Any, policy: Any, now: int, once: Any, listed: Any = None
    ) -> list[Any]:
        if id in self.campaigns:
            return [False, None]
        self.campaigns[id] = {
            "id": id, "version": 1, "state": "draft", "message": message, "audience": audience, "policy": policy,
            "created": now, "fired": 0, "finished": 0, "segments_open": 0, "pages_open": 0,
        }  # fmt: skip
        return [True, None]

    def campaign_fire(self, id: int, segments: int, now: int, windows: None, guard: None) -> list[Any]:
        c = self.campaigns.get(id)
        if c is None:
            return [None]
        if c["state"] != "draft":
            return [[]]
        end = max(self.rows, default=0)
        segments, batons = max(1, min(segments, end)), []
        for s in range(segments):
            start, to = end * s // segments, end if s == segments - 1 else end * (s + 1) // segments
            if to > start:
                self.cursors[id, s] = {"seq": 0, "after": start, "end": to, "ended": False, "moved": now}
                batons.append([id, s, 0, start])
        c.update(state="firing", fired=now, segments_open=len(batons))
        self._check_done(id, now)
        return [batons]

    def campaign_get(self, id: int) -> list[Any]:
        c = self.campaigns.get(id)
        if c is None:
            return [None]
        channels = [[name, *map(dict, totals)] for (campaign, name), totals in self.totals.items() if campaign == id]
        return [[copy.deepcopy(list(c.values())), channels]]

    def campaigns_over(self, ids: list[int], now: int, age: int) -> list[Any]:
        ended = ("done", "cancelled")
        known = self.campaigns
        return [[i for i in ids if i not in known or (known[i]["state"] in ended and known[i]["finished"] + age < now)]]

    def keys_expire(self, now: int) -> list[Any]:
        return [0]

    def _check_done(self, id: int, now: int) -> None:
        c = self.campaigns[id]
        if c["state"] == "firing" and c["segments_open"] == 0 and c["pages_open"] == 0:
            c.update(state="done", finished=now, version=c["version"] + 1)

    def _tally(self, id: int, channel: str, tallies: dict[str, int], reasons: dict[str, int]) -> None:
        sums = self.totals.setdefault((id, channel), ({}, {}))
        for total, new in zip(sums, (tallies, reasons), strict=True):
            for key, n in new.items():
                total[key] = total.get(key, 0) + n

    def _current(self, name: str, epoch: int) -> bool:
        node = self.nodes.get(name)
        return node is not None and node["status"] == "current" and node["epoch"] == epoch

    def node_join(self, name: str, uuid: str, epoch: int, now: int, channels: Any) -> list[Any]:
        node = self.nodes.get(name)
        if node is not None and node["uuid"] != uuid:
            raise VerbRefused("store.node_join", 0, f"node name {name!r} is taken")
        if self._current(name, epoch) and epoch > 0:
            return [epoch]
        granted = max(node["epoch"] if node else 0, epoch) + 1
        for page in self.pages.values():
            if (
                node
                and (page["node"], page["epoch"]) == (name, node["epoch"])
                and page["state"] in ("claimed", "enqueued")
            ):
                page["state"] = "open"
        self.nodes[name] = {"uuid": uuid, "epoch": granted, "status": "current", "reported": 0}
        return [granted]

    def node_renew(
        self, name: str, epoch: int, now: int, still: list[Any], states: dict[str, Any], text: str
    ) -> list[Any]:
        return [10, [], []] if self._current(name, epoch) else [None]

    def dead_judge(self, limits: dict[str, float], now: int) -> list[Any]:
        return [False, []]

    def nodes_release(self) -> list[Any]:
        return [[]]

    def page_claim(
        self, node: str, epoch: int, campaign: int, segment: int, seq: int, after: int, now: int
    ) -> list[Any]:
        if not self._current(node, epoch):
            return ["fenced"]
        c, cursor = self.campaigns.get(campaign), self.cursors.get((campaign, segment))
        if c is None or cursor is None:
            return ["stale"]
        key = (campaign, segment, seq)
        if c["state"] == "firing" and not cursor["ended"] and (cursor["seq"], cursor["after"]) == (seq, after):
            return self._advance(c, key, cursor, node, epoch, now)
        page = self.pages.get(key)
        if page is None:
            return ["stale"]
        if page["state"] == "claimed" and (page["node"], page["epoch"]) == (node, epoch):
            return ["claimed", page["from"], page["to"], self._next(key, page, cursor), list(page["ended"])]
        if page["state"] == "open" and c["state"] == "firing":
            page.update(node=node, epoch=epoch, claimed_at=now, state="claimed")
            return ["claimed", page["from"], page["to"], None, list(page["ended"])]
        return ["stale"]

    def _next(self, key: tuple[int, int, int], page: dict[str, Any], cursor: dict[str, Any]) -> list[int] | None:
        return None if page["to"] >= cursor["end"] else [key[0], key[1], key[2] + 1, page["to"]]

    def _advance(self, c: Any, key: Any, cursor: Any, node: str, epoch: int, now: int) -> list[Any]:
        size, after = c["policy"].get("page_size", 1000), cursor["after"]
        ids = sorted(id for id in self.rows if id > after)
        last = len(ids) < size or ids[size - 1] >= cursor["end"]
        to = cursor["end"] if last else ids[size - 1]
        empty = not ids or ids[0] > to
        page = self.pages[key] = {
            "from": after, "to": to, "node": node, "epoch": epoch, "claimed_at": now,
            "state": "settled" if empty else "claimed", "recipients": 0, "settled": 0, "ended": [],
            "skipped": {},
        }  # fmt: skip
        cursor.update(moved=now)
        if last:
            cursor.update(ended=True)
        else:
            cursor.update(seq=cursor["seq"] + 1, after=to)
        c["segments_open"] -= last
        c["pages_open"] += not empty
        self._check_done(c["id"], now)
        return ["empty" if empty else "claimed", after, to, self._next(key, page, cursor), []]

    def page_read(
        self,
        after: int,
        to: int,
        _: int | None,
        most: int,
        campaign: int | None = None,
        fields: Any = None,
        already: Any = (),
        versions: Any = None,
        only: None = None,
        keep: bool | None = None,
    ) -> list[Any]:
        parts: list[Any] = []
        rows = [self.rows[id] for id in sorted(self.rows) if after < id <= to]
        skipped: Counter[str] = Counter()
        if campaign is not None:
            where = msgspec.convert(self.campaigns[campaign]["audience"]["where"], Where)
            settled = unpack_ids(already or ())
            rows = [row for row in rows if row[0] not in settled]
            skipped.update(row[1] for row in rows if not is_in(row, where))
            rows = [row for row in rows if is_in(row, where)]
        for channel in sorted({row[1] for row in rows}):
            ours = [[row[0], *row[2:6]] for row in rows if row[1] == channel]
            for start in range(0, len(ours), most):
                part = ours[start : start + most]
                parts.append([channel, len(part), msgspec.msgpack.encode(part)])
        if keep:
            name = f"page {next(self.names)}"
            self.kept[name] = [part[2] for part in parts]
            return [[[channel, size, ""] for channel, size, _ in parts], dict(skipped), name]
        return [parts] if campaign is None else [parts, dict(skipped)]

    def report(self, node: str, epoch: int, lines: list[Any], now: int) -> list[Any]:
        if not self._current(node, epoch):
            return [None]
        for number, line in lines:
            if number > self.nodes[node]["reported"]:
                self._apply(node, epoch, line, now)
                self.nodes[node]["reported"] = number
        return [self.nodes[node]["reported"]]

    def _apply(self, node: str, epoch: int, line: dict[str, Any], now: int) -> None:
        campaign = line["campaign"]
        page = self.pages.get((campaign, line["segment"], line["seq"]))
        if page is None or (page["node"], page["epoch"]) != (node, epoch):
            return
        if line["kind"] == "enqueued":
            page.update(state="enqueued", recipients=page["settled"] + line["recipients"])
            before = page["skipped"]
            page["skipped"] = {name: sums[SKIPPED] for name, sums in line["tallies"].items() if SKIPPED in sums}
            for channel, n in before.items():
                self._tally(campaign, channel, {SKIPPED: -n}, {})
            for channel, tallies in line["tallies"].items():
                self._tally(campaign, channel, tallies, {})
                page["settled"] += ended(tallies)
        else:
            self._tally(campaign, line["channel"], line["tallies"], line["reasons"])
            page["settled"] += ended(line["tallies"])
            for id, token, bound, *_ in line["dead"]:
                if id in self.rows and self.rows[id][2] == token and self.rows[id][4] <= bound:
                    del self.rows[id]
        page["ended"] += line["ended"]
        if page["state"] == "enqueued" and page["settled"] >= page["recipients"]:
            page.update(state="settled", ended=[])
            self.campaigns[campaign]["pages_open"] -= 1
        self._check_done(campaign, now)

    def strays(self, node: str, epoch: int, now: int, timeout: int) -> list[Any]:
        lost, own = [], []
        for (campaign, segment), cursor in self.cursors.items():
            firing = self.campaigns[campaign]["state"] == "firing"
            if firing and not cursor["ended"] and cursor["moved"] + timeout <= now:
                lost.append([campaign, segment, cursor["seq"], cursor["after"]])
        for key, page in self.pages.items():
            if page["state"] == "open":
                lost.append([*key, page["from"]])
            elif page["state"] == "claimed" and (page["node"], page["epoch"], True) == (
                node,
                epoch,
                page["claimed_at"] + timeout <= now,
            ):
                own.append([*key, page["from"]])
        return [lost, own]


class MemoryLink:
    """`Link`'s calls, answered from memory.

    `sound`: no fault is injected here, and no call is counted: the link of somebody outside of what is under test.
    """

    def __init__(self, store: MemoryStore, queue: MemoryQueue, *, sound: bool = False) -> None:
        self._seam: Any = (lambda name, error: contextlib.nullcontext()) if sound else seam
        self._roles: dict[str, Any] = {"store": store, "tubes": queue}
        queue.kept = store.kept  # one instance is both
        self._queue = queue
        self._stopping = trio.Event()

    async def run(self, ready: Any) -> None:
        self._stopping = trio.Event()
        ready()
        try:
            await self._stopping.wait()
        finally:
            self._queue.lose_session()

    def stop(self) -> None:
        self._stopping.set()

    def connected(self, where: str) -> bool:
        return True

    def session(self, where: str) -> int:
        return self._queue.session

    async def call(
        self, where: str, verb: str, *args: Any, deadline: float = 10.0, poll: bool = False, orphan: Any = None
    ) -> list[Any]:
        role, _, name = verb.partition(".")
        wait = next((arg for arg in reversed(args) if isinstance(arg, float)), 0.0)  # a poll's seconds
        until = trio.current_time() + (wait if poll else 0.0)
        try:
            with self._seam(f"link.{verb}", LinkLost):
                await trio.sleep(REPLY)
                while True:
                    answer: list[Any] = getattr(self._roles[role], name)(*copy.deepcopy(args))
                    if not poll or answer[-1] or trio.current_time() >= until:
                        break
                    await trio.sleep(0.05)
                try:
                    await trio.sleep(REPLY)  # the answer is under way: whoever is cancelled now has taken something
                except trio.Cancelled:
                    if orphan is not None:
                        orphan(answer)
                    raise
        except LinkLost:
            self._queue.lose_session()
            raise
        return answer

    async def insist(self, where: str, verb: str, *args: Any, deadline: float = 10.0) -> list[Any]:
        while True:
            try:
                return await self.call(where, verb, *args)
            except LinkLost:
                await trio.sleep(0.05)

    def tell(self, where: str, verb: str, *args: Any) -> None:
        role, _, name = verb.partition(".")
        getattr(self._roles[role], name)(*args)
