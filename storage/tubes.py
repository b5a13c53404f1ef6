"""The verbs of a node's own queue, typed. One call is one transaction on the queue."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from campaigns.batch import Leave
from campaigns.baton import Baton
from campaigns.id_set import pack_ids
from campaigns.lane import Lane
from storage.errors import LinkLost
from storage.link import Link, Orphan
from storage.records import TASK_FIELDS, Buried, Lease, Memory, Placed, Settlement, Standing, TakenBaton, Whereabouts

log = structlog.get_logger(__name__)

POLL = 2.0
"""Seconds that a take waits at the queue. Longer polls gain nothing and hold up a drain."""

OFFER_DEADLINE = 2.0
"""Seconds for a neighbour to take a baton, before the one after it is asked."""

STOP_DEADLINE = 0.5
"""Seconds for a queue to hear of a stop; a node that does not hear of it learns it by its next heartbeat."""

BATONS_A_CALL = 100

SLEEP = 5.0
"""Seconds that the machine may be suspended while a batch is in hand: a push begins within 25 s of its take and is
answered within 20 s, and the tube's ttr is 60 s."""


def suspended() -> float:
    """Seconds that this machine has been suspended since its start; 0 where the system does not say."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC) if _BOOTTIME else 0.0


_BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")


def _parts(batons: Sequence[Baton]) -> Iterator[list[list[int]]]:
    """Parts of a list of batons, as ``tubes.baton_put`` wants them: a part is one transaction."""
    for first in range(0, len(batons), BATONS_A_CALL):
        yield [list(baton) for baton in batons[first : first + BATONS_A_CALL]]


class Tubes:
    """A node's queue: batons, batches, marks, outbox. ``worker`` owns what it takes."""

    def __init__(self, link: Link, worker: str, where: str = "queue") -> None:
        self._link = link
        self._worker = worker
        self._where = where
        self._polls = itertools.count(1)
        self._lost: dict[str, set[int]] = {}  # verb and channel -> polls whose answers have not come

    def leave(self) -> Callable[[], Leave]:
        """Return a function that says whether the tasks taken just now are still ours.

        Pushes that are sent while the queue is away can be settled only if their leases outlive the outage. They do not
        outlive a restart of the queue: then all of the pushes would be sent again.
        """
        link, where = self._link, self._where
        session, slept = link.session(where), suspended()

        def ask() -> Leave:
            # our clock stands still while the machine sleeps, the tube's does not: the lease may be over
            if link.session(where) != session or suspended() - slept > SLEEP:
                return Leave.GONE
            return Leave.GIVEN if link.connected(where) else Leave.AWAITED

        return ask

    async def epoch(self) -> tuple[str, int, bool]:
        """The instance's uuid, its epoch (0: none yet), and whether its lease holds. Waits out a lost link."""
        ((uuid, epoch, leased),) = await self._link.insist(self._where, "tubes.epoch")
        return str(uuid), int(epoch), bool(leased)

    async def adopt(self, epoch: int) -> None:
        """Forget all work of another epoch and start in this one."""
        await self._link.call(self._where, "tubes.adopt", epoch, deadline=60.0)

    async def standing(self) -> Standing:
        """The queue's part of the next heartbeat, and the moment from which the lease will count."""
        ((asked, still, *stops),) = await self._link.call(self._where, "tubes.standing")
        return Standing(float(asked), [(campaign, version) for campaign, version in still], *stops)

    async def renew(self, epoch: int, lease: Lease, asked: float | None = None) -> bool:
        """Take over a lease and its paused campaigns; False when the queue is in another epoch.

        ``asked``: the queue's clock before the store was asked, from ``standing``; None: now, which is right only if
        no store was asked.
        """
        paused = [list(pause) for pause in lease.paused]
        texts = [[list(entry) for entry in lease.texts.items()]] if lease.texts else []
        renewed = await self._link.call(self._where, "tubes.renew", epoch, lease.seconds, asked, paused, *texts)
        return bool(renewed[0])

    async def stop(self) -> None:
        """Let this queue's node ask the store at once what is stopped. LinkLost if the queue does not answer soon."""
        if not self._link.connected(self._where):
            raise LinkLost(f"{self._where}: not connected")
        await self._link.call(self._where, "tubes.stop", deadline=STOP_DEADLINE)

    async def stopped(self, known: int, seconds: float) -> None:
        """Wait for a ``stop`` after those that are ``known`` (``Standing.stops``), at most this long."""
        await self._link.call(self._where, "tubes.stopped", known, seconds, poll=True, deadline=seconds + 5.0)

    async def baton_put(self, batons: Sequence[Baton], lane: Lane = Lane.MIDDLE) -> None:
        """Put batons of one lane, a hundred a call. A repeat is harmless: the store recognises a stale one."""
        for some in _parts(batons):
            await self._link.insist(self._where, "tubes.baton_put", some, lane.value)

    async def baton_offer(self, batons: Sequence[Baton], lane: Lane = Lane.MIDDLE) -> None:
        """Like ``baton_put``, for a neighbour: LinkLost at once if it is not connected, soon if it is silent."""
        if not self._link.connected(self._where):
            raise LinkLost(f"{self._where}: not connected")
        for some in _parts(batons):
            await self._link.call(self._where, "tubes.baton_put", some, lane.value, deadline=OFFER_DEADLINE)

    async def baton_take(self) -> TakenBaton | None:
        """Wait up to POLL seconds for a baton. A baton that comes after a cancel is given back.

        A task that is not a baton is buried.
        """
        epoch, tasks = await self._poll("tubes.baton_take", self._worker, orphan=self._return_baton)
        for number, (id, _, data) in tasks:
            try:
                return TakenBaton(msgspec.convert(data, Baton), id, number, epoch)
            except msgspec.ValidationError as error:
                why = f"not a baton: {error}"
                log.error("baton buried", task=id, why=why)
                await self._link.insist(self._where, "tubes.baton_bury", id, number, why)
        return None

    async def baton_crashed(self, taken: TakenBaton, why: str) -> tuple[int, bool]:
        """Count a crash against a baton: it comes again, or is buried. Returns (its crashes, whether it is buried)."""
        crashes, over = await self._link.call(self._where, "tubes.baton_crashed", taken.id, taken.number, why)
        return int(crashes), bool(over)

    def _return_baton(self, answer: list[Any]) -> None:
        leases = [[task[0], number] for number, task in answer[1]]
        if leases:
            self._link.tell(self._where, "tubes.baton_release", leases)

    async def baton_ack(self, taken: TakenBaton) -> bool:
        """Ack a baton; False if it was not ours any more. Waits out a lost link."""
        return bool((await self._link.insist(self._where, "tubes.baton_ack", taken.id, taken.number))[0])

    async def baton_release(self, taken: TakenBaton) -> None:
        """Give a baton back. Waits out a lost link."""
        await self._link.insist(self._where, "tubes.baton_release", [[taken.id, taken.number]])

    async def baton_release_worker(self) -> int:
        """Give back every baton that an earlier incarnation of this worker's walkers held."""
        return int((await self._link.insist(self._where, "tubes.baton_release_worker", self._worker))[0])

    async def marked(self, batons: Sequence[Baton]) -> list[bool]:
        """Whether the page of each baton is on the tubes already."""
        pages = [list(baton[:3]) for baton in batons]
        return list((await self._link.call(self._where, "tubes.marked", pages))[0])

    async def marked_campaigns(self) -> list[int]:
        """Campaigns that still have marks."""
        return list((await self._link.call(self._where, "tubes.marked_campaigns"))[0])

    async def marks_drop(self, campaign: int) -> None:
        """Delete the marks of a campaign that is over."""
        await self._link.call(self._where, "tubes.marks_drop", campaign, deadline=30.0)

    async def page_put(
        self,
        taken: TakenBaton,
        placed: Sequence[Placed],
        recipients: int,
        tallies: dict[str, dict[str, int]],
        ended: Sequence[int],
        held: Mapping[str, int],
        lane: Lane = Lane.MIDDLE,
        unsure: bool = False,
        paced: bool = False,
        kept: str | None = None,
    ) -> str:
        """Clauses 4 and 5: a batch for each part of a page, its mark, its outbox line, and the end of its baton.

        ``ended``: ids of the recipients in ``tallies`` that need no batch. ``held``: moment and time zone → recipients
        who wait for it. ``lane``: the campaign's. ``unsure``: see ``Claim.unsure``. ``paced``: whether its batches wait
        for a rate (``pace``). ``kept``: see ``PageRows``.

        Returns ``put``, ``marked``, ``fenced``, ``full`` or ``gone`` (the page is not kept any more: it has to be read
        again); after the last three the baton is still ours.
        """
        wire = [
            [part.channel, delay, part.size, n or part.recipients, until, part.window, begin, end, lane.value]
            for part, delay, until, begin, end, n in placed
        ]
        more = (unsure, paced, kept) if unsure or paced or kept is not None else ()
        return str((await self._link.insist(
            self._where, "tubes.page_put", taken.epoch, *taken.baton[:3], wire, recipients, tallies,
            pack_ids(ended), list(held.items()), taken.id, taken.number, *more,
        ))[0])  # fmt: skip

    async def paced(self) -> list[tuple[int, int]]:
        """The campaigns whose batches wait for a rate here, and how many batches of each wait.

        Waits up to POLL seconds for the first such campaign.
        """
        (campaigns,) = await self._link.call(self._where, "tubes.paced", POLL, poll=True, deadline=POLL + 5.0)
        return [(campaign, int(waiting)) for campaign, waiting in campaigns]

    async def pace(self, rates: Sequence[tuple[int, float]]) -> None:
        """Let each campaign's batches out at its rate, people a second, for the next ten seconds; negative: freely."""
        await self._link.call(self._where, "tubes.pace", [list(each) for each in rates])

    async def batch_take(self, channel: str, most: int, *, upper: bool = False) -> list[tuple[int, int, Any]]:
        """Wait up to POLL seconds for batches, at most ``most``: (id, take number, data as in ``Task.of``).

        ``upper``: only batches of the upper lane. Batches that come after a cancel are given back.
        """

        def give_back(answer: list[Any]) -> None:
            leases = [[task[0], number] for number, task in answer[0]]
            if leases:
                self._link.tell(self._where, "tubes.batch_release", channel, leases)

        (tasks,) = await self._poll("tubes.batch_take", channel, self._worker, most, more=(upper,), orphan=give_back)
        return [(id, number, data) for number, (id, _, data) in tasks]

    async def _poll(self, verb: str, *args: Any, more: tuple[Any, ...] = (), orphan: Orphan) -> list[Any]:
        # Leases outlive a lost connection: if a poll's answer is lost on the way, its tasks would stay taken by nobody.
        # So each poll has a number, and the next poll names the unanswered ones: the queue takes their tasks back.
        poll = next(self._polls)
        lost = self._lost.setdefault(f"{verb} {args[0]}", set())
        named = sorted(lost)
        try:
            answer = await self._link.call(
                self._where, verb, *args, poll, named, POLL, *more, poll=True, deadline=POLL + 5.0, orphan=orphan
            )
        except BaseException:
            lost.add(poll)
            raise
        lost.difference_update(named)
        return answer

    async def batch_release(self, channel: str, leases: Sequence[tuple[int, int]]) -> None:
        """Give batches back untouched: (id, take number) each."""
        await self._link.call(self._where, "tubes.batch_release", channel, [list(lease) for lease in leases])

    async def batch_release_worker(self, channel: str) -> int:
        """Give back every batch that an earlier incarnation of this worker's consumer held."""
        return int((await self._link.insist(self._where, "tubes.batch_release_worker", channel, self._worker))[0])

    async def tube_buried(self, channel: str, limit: int, after: tuple[int, int] | None = None) -> list[Buried]:
        """Batches that were buried. ``after``: ``pri`` and ``id`` of the last one that is known already."""
        pri, id = after or (None, None)
        (tasks,) = await self._link.call(self._where, "tubes.tube_buried", channel, limit, pri, id)
        return [
            Buried(id, data[:-1] if isinstance(data, list) and len(data) == TASK_FIELDS else data, *rest)
            for id, data, *rest in tasks
        ]

    async def tube_end(self, channel: str, limit: int) -> tuple[int, int]:
        """End up to ``limit`` buried batches: their recipients are rejected. Returns (batches, recipients)."""
        batches, recipients = await self._link.call(self._where, "tubes.tube_end", channel, limit)
        return int(batches), int(recipients)

    async def batches_expire(self, now: int, limit: int = 500) -> tuple[int, int]:
        """End batches of expired news (``now``: ms UTC): buried ones, and ones of channels that stand still.

        At most ``limit`` of each channel and state. Returns (batches, recipients).
        """
        batches, recipients = await self._link.call(self._where, "tubes.batches_expire", now, limit)
        return int(batches), int(recipients)

    async def tube_kick(self, channel: str, count: int) -> int:
        """Bring up to ``count`` buried batches back onto the tube; returns how many."""
        return int((await self._link.call(self._where, "tubes.tube_kick", channel, count))[0])

    async def batch_bury(self, channel: str, task_id: int, number: int, why: str, *, sent: bool = False) -> None:
        """Bury a batch that cannot be handled, for a person to look at. ``sent``: pushes of it may have gone out."""
        await self._link.call(self._where, "tubes.batch_bury", channel, task_id, number, why, sent)

    def stopping(self) -> None:
        """Report that this worker is being stopped: batches that it cannot settle are not counted as poison."""
        self._link.tell(self._where, "tubes.worker_stopping", self._worker)

    async def batch_crashed(self, channel: str, task_id: int, number: int, why: str) -> tuple[int, bool]:
        """Count a crash against a batch: it comes again, or is buried. Returns (its crashes, whether it is buried)."""
        crashes, buried = await self._link.call(self._where, "tubes.batch_crashed", channel, task_id, number, why)
        return int(crashes), bool(buried)

    async def settle(self, channel: str, settlements: Sequence[Settlement]) -> list[bool]:
        """Clause 7: ack, remainders, outbox lines, all or nothing. False: the take was not ours any more.

        A settlement with something ``left`` settles a part: the batch stays taken, and only these stay in it.

        Repeating the call changes nothing: batches that the first call settled are not taken any more.
        """
        wire = [settlement.wire() for settlement in settlements]
        return list((await self._link.call(self._where, "tubes.settle", channel, wire))[0])

    async def outbox_read(
        self, limit: int, *, wait: bool = True, known: tuple[int, int] = (0, 0)
    ) -> tuple[int, list[Any]]:
        """The epoch, and the lines that it owes the store: (number, line) each, in order.

        Waits up to POLL seconds for the first. ``known``: an epoch, and the last of its lines that the ledger has; the
        queue deletes the lines up to there.
        """
        seconds = POLL if wait else 0.0
        epoch, lines = await self._link.call(
            self._where, "tubes.outbox_read", limit, *known, seconds, poll=True, deadline=seconds + 5.0
        )
        return int(epoch), list(lines)

    async def batch_of(
        self, channel: str, campaign: int, segment: int, seq: int, subscriber: int
    ) -> Whereabouts | None:
        """The batch of a page that has this recipient; None: no tube of this node has it. LinkLost soon if silent."""
        if not self._link.connected(self._where):
            raise LinkLost(f"{self._where}: not connected")
        (found,) = await self._link.call(
            self._where, "tubes.batch_of", channel, campaign, segment, seq, subscriber, deadline=5.0
        )
        return None if found is None else Whereabouts(*found)

    async def memory(self) -> Memory:
        """How full the queue's memory is; cheap, however full the tubes are."""
        return Memory(**(await self._link.call(self._where, "tubes.memory", deadline=2.0))[0])

    async def outbox_age(self) -> float:
        """Seconds for which the store has been owed the oldest line; 0 if it is owed none."""
        return float((await self._link.call(self._where, "tubes.outbox_age"))[0])

    async def statistics(self) -> dict[str, Any]:
        """Tasks by tube and state, outbox length, marks, memory."""
        return dict((await self._link.call(self._where, "tubes.statistics"))[0])
