"""What may go wrong, at any moment, as often as the scenario says."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import ledger
from tests.model.steps import steps
from tests.model.tubes import held, plus_baton
from tests.model.upkeep import marks_go
from tests.model.walk import Step, consumer, same_take, staged, walker
from tests.model.world import (
    NOBODY,
    Node,
    Queue,
    Report,
    Scenario,
    Worker,
    World,
    excuse,
    put_in,
    with_node,
    with_queue,
    with_worker,
)

KINDS = frozenset({
    "crash", "zombie", "lost reply", "lost baton", "early shepherd", "lost node", "blank", "wrong forget",
    "slow reporter", "slow renewal", "cut off",
})  # fmt: skip


def moves(scenario: Scenario, world: World) -> Iterator[Step]:
    """Every step and every fault that may come next."""
    yield from steps(scenario, world)
    for n, node in enumerate(world.nodes):
        if node.up:
            yield from timers(scenario, world, n, node)
    if world.faults:
        less = world._replace(faults=world.faults - 1)
        for n, node in enumerate(world.nodes):
            if node.up:
                yield from at_node(scenario, less, n, node)
                for w in range(len(node.workers)):
                    yield from at_worker(scenario, less, n, w)


def timers(scenario: Scenario, world: World, n: int, node: Node) -> Iterator[Step]:
    """What time does by itself: a lease that nobody works on goes back, old marks go."""
    for baton in node.queue.batons:
        if baton.holder != NOBODY:
            walking = node.workers[baton.holder].walking
            if walking is None or walking.seq != baton.seq:
                back = held(node.queue, baton.seq, baton.holder, NOBODY)
                yield f"the baton of page {baton.seq} comes back after its ttr", with_queue(world, n, back)
    for i, batch in enumerate(node.queue.batches):
        if batch.holder != NOBODY:
            sending = node.workers[batch.holder].sending
            if sending is None or not same_take(sending.batch, batch):
                back = released(node.queue, i)
                yield f"page {batch.seq}'s batch comes back after its ttr", with_queue(world, n, back)
    after = marks_go(scenario, world, n)
    if after is not None:
        yield f"node {n} forgets the marks of the campaign", after


def released(queue: Queue, i: int) -> Queue:
    return queue._replace(batches=put_in(queue.batches, i, queue.batches[i]._replace(holder=NOBODY)))


def at_worker(scenario: Scenario, world: World, n: int, w: int) -> Iterator[Step]:
    """Crashes, zombies, lost replies."""
    kinds, node = scenario.kinds, world.nodes[n]
    worker, queue, me = node.workers[w], node.queue, f"worker {n}.{w}"
    walking, sending = worker.walking, worker.sending
    if "crash" in kinds and (walking or sending):
        yield f"FAULT {me} crashes", crashed(world, n, w)
    if "zombie" in kinds:
        if walking and any(baton == (walking.seq, w) for baton in queue.batons):
            late = with_queue(world, n, held(queue, walking.seq, w, NOBODY))
            yield f"FAULT {me} stalls, the ttr gives its baton of page {walking.seq} to others", late
        for i, batch in enumerate(queue.batches):
            if sending and same_take(sending.batch, batch):
                late = with_queue(excuse(world, batch.who, sending.texts), n, released(queue, i))
                yield f"FAULT {me} stalls, the ttr gives its batch of page {batch.seq} to others", late
    if "lost baton" in kinds and walking and walking.stage == "claimed":
        yield f"FAULT the baton of page {walking.seq + 1} is lost on its way", staged(world, n, w, "passed")
    if "lost reply" in kinds:
        # the effect is there, and the caller does not know: it stands where it stood
        for what, after in _calls(scenario, world, n, w):
            if after != world:
                yield f"FAULT the reply is lost: {what}", with_worker(after, n, w, worker)


def _calls(scenario: Scenario, world: World, n: int, w: int) -> Iterator[Step]:
    worker = world.nodes[n].workers[w]
    yield from walker(scenario, world, n, w)
    if worker.sending is None or worker.sending.sent:
        yield from consumer(scenario, world, n, w)


def crashed(world: World, n: int, w: int) -> World:
    """Its session ends, and gives back what it held."""
    node = world.nodes[n]
    worker, queue = node.workers[w], node.queue
    for batch in queue.batches:
        if worker.sending is not None and worker.sending.sent and same_take(worker.sending.batch, batch):
            world = excuse(world, tuple(r for r in batch.who if r not in worker.sending.refused), worker.sending.texts)
    batons = tuple(sorted(b._replace(holder=NOBODY) if b.holder == w else b for b in queue.batons))
    batches = tuple(b._replace(holder=NOBODY) if b.holder == w else b for b in queue.batches)
    after = with_queue(world, n, queue._replace(batons=batons, batches=batches))
    return with_worker(after, n, w, Worker())


def both(world: World, n: int) -> World:
    """What a node has not reported may be repeated, whichever texts it had."""
    return excuse(excuse(world, ledger.unreported(world, n)), ledger.unreported(world, n), 1)


def at_node(scenario: Scenario, world: World, n: int, node: Node) -> Iterator[Step]:
    """What happens to whole nodes, and to what a node has one of."""
    kinds, queue, member = scenario.kinds, node.queue, world.store.members[n]
    workers = (Worker(),) * len(node.workers)
    if "lost node" in kinds and sum(other.up for other in world.nodes) > 1:
        gone = Node(False, Queue(epoch=queue.epoch, leased=queue.leased), workers)
        yield f"FAULT node {n} is lost with its queue", with_node(both(world, n), n, gone)
    if "blank" in kinds and member.status == "current":
        blank = Node(True, Queue(epoch=0, leased=False), workers)
        if not scenario.clauses.join_raises_the_epoch:
            blank = blank._replace(queue=Queue(epoch=queue.epoch))
        after = with_node(both(world, n), n, blank)
        yield f"FAULT node {n} loses its data and comes back blank", after
    if "cut off" in kinds and member.status == "current" and not node.cut:
        yield f"FAULT node {n} cannot reach the store", with_node(world, n, node._replace(cut=True))
    if "wrong forget" in kinds and member.status == "current":
        forgotten = ledger.with_member(world, n, member._replace(status="forgotten"))
        yield f"FAULT the operator forgets node {n}, which is alive", forgotten
    if "slow reporter" in kinds and queue.outbox and node.report is None:
        report = Report(queue.epoch, queue.trimmed + 1, queue.outbox)
        yield (
            f"FAULT node {n}'s reporter has read its lines and is slow",
            with_node(world, n, node._replace(report=report)),
        )
    if "slow renewal" in kinds and member.status == "current" and queue.epoch == member.epoch and not node.renewal:
        asked = with_node(world, n, node._replace(renewal=queue.epoch))
        yield f"FAULT node {n} may renew its lease, and is slow to do so", asked
    if "early shepherd" in kinds and queue.leased:
        for seq, page in enumerate(world.store.pages):
            own = page.state == "claimed" and (page.node, page.epoch) == (n, queue.epoch) and seq not in queue.marks
            if world.store.cursor == seq or page.state == "open" or own:
                early = with_queue(world, n, plus_baton(queue, seq))
                yield f"FAULT node {n}'s shepherd is early and makes a baton for page {seq}", early
    if "lost reply" in kinds and queue.outbox and node.report is None:
        after, upto = ledger.report(scenario, world, n, queue.epoch, queue.trimmed + 1, queue.outbox)
        if upto is not None and after != world:
            yield f"FAULT the ledger's reply to node {n}'s report is lost: it is reported again", after
