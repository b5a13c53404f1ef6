"""A queue's tubes: what put, take, release and ack do to it."""

from __future__ import annotations

from tests.model.world import Batch, Baton, Line, Queue, Scenario, World


def held(queue: Queue, seq: int, by: int, now: int | None) -> Queue:
    """One baton changes hands; to None: it is gone."""
    batons = list(queue.batons)
    if Baton(seq, by) in batons:
        batons.remove(Baton(seq, by))
        if now is not None:
            batons.append(Baton(seq, now))
    return queue._replace(batons=tuple(sorted(batons)))


def plus_baton(queue: Queue, seq: int) -> Queue:
    return queue._replace(batons=tuple(sorted((*queue.batons, Baton(seq)))))


def plus_batch(queue: Queue, batch: Batch) -> Queue:
    """Put a batch under the lowest free id: ids are used again."""
    ids = {other.id for other in queue.batches}
    free = next(id for id in range(len(ids) + 1) if id not in ids)
    return queue._replace(batches=tuple(sorted((*queue.batches, batch._replace(id=free)))))


def marked(queue: Queue, seq: int, who: tuple[int, ...], skipped: int = 0) -> Queue:
    line = Line("enqueued", seq, len(who), skipped=skipped)
    return queue._replace(marks=tuple(sorted({*queue.marks, seq})), outbox=(*queue.outbox, line))


def successor(world: World, n: int) -> int:
    """The next peer that answers; the own queue last."""
    count = len(world.nodes)
    return next(m % count for m in range(n + 1, n + count + 1) if world.nodes[m % count].up)


def serving(scenario: Scenario, world: World, n: int) -> int | None:
    """The next peer that answers and has the channel, if any."""
    count = len(world.nodes)
    peers = (m % count for m in range(n + 1, n + count))
    return next((m for m in peers if world.nodes[m].up and m not in scenario.lacking), None)
