"""A worker's steps, clauses 2 to 7: each is one transaction somewhere, or one push."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import ledger
from tests.model.tubes import held, marked, plus_batch, plus_baton, serving, successor
from tests.model.world import (
    NOBODY,
    Batch,
    Line,
    Queue,
    Scenario,
    Sending,
    Walking,
    World,
    excuse,
    put_in,
    send,
    with_node,
    with_queue,
    with_worker,
)

Step = tuple[str, World]

# -- 2 to 5. The walk --------------------------------------------------------------------------------------------------


def walker(scenario: Scenario, world: World, n: int, w: int) -> Iterator[Step]:
    """One worker's walker and batcher."""
    node = world.nodes[n]
    worker, queue = node.workers[w], node.queue
    walking = worker.walking
    me = f"worker {n}.{w}"
    if walking is None:
        if queue.leased:
            for seq in sorted({baton.seq for baton in queue.batons if baton.holder == NOBODY}):
                after = with_queue(world, n, held(queue, seq, NOBODY, w))
                after = with_worker(after, n, w, worker._replace(walking=Walking("took", seq, queue.epoch)))
                yield f"{me} takes the baton of page {seq}", after
    elif walking.stage == "took" and n in scenario.lacking and scenario.clauses.claim_asks_for_the_channels:
        to = serving(scenario, world, n)
        if to is None:
            what = f"{me} drops the baton of page {walking.seq}: no node has the channel"
            yield what, done_walking(world, n, w, None)
        else:
            after = with_queue(world, to, plus_baton(world.nodes[to].queue, walking.seq))
            what = f"{me} lacks the channel and hands the baton of page {walking.seq} on to node {to}"
            yield what, staged(after, n, w, "handed on")
    elif walking.stage == "took" and not node.cut:
        after, claim = ledger.claim(scenario, world, n, walking.epoch, walking.seq)
        if claim.verdict == "claimed":
            stage = "claimed" if claim.next else "passed"
            if not scenario.clauses.ack_follows_the_put:
                after = with_queue(after, n, held(queue, walking.seq, w, None))
            took = walking._replace(stage=stage, owed=claim.owed)
            yield f"{me} claims page {walking.seq}", with_worker(after, n, w, worker._replace(walking=took))
        else:
            acked = claim.verdict == "stale" and scenario.clauses.baton_is_acked
            holder = None if acked else NOBODY
            yield f"{me}'s baton of page {walking.seq} is {claim.verdict}", done_walking(after, n, w, holder)
    elif walking.stage == "claimed":
        to = successor(world, n)
        after = with_queue(world, to, plus_baton(world.nodes[to].queue, walking.seq + 1))
        yield f"{me} passes the baton of page {walking.seq + 1} to node {to}", staged(after, n, w, "passed")
    elif walking.stage == "took":
        pass  # it waits for the store
    elif walking.stage in ("passed", "batches put"):
        yield from put(scenario, world, n, w, walking)
    elif scenario.clauses.baton_is_acked:
        yield f"{me} acks the baton of page {walking.seq}", done_walking(world, n, w, None)
    else:
        yield f"{me} lets go of the baton of page {walking.seq}", done_walking(world, n, w, NOBODY)


def put(scenario: Scenario, world: World, n: int, w: int, walking: Walking) -> Iterator[Step]:
    """Clause 4, `page_put`."""
    clauses, node = scenario.clauses, world.nodes[n]
    queue, seq, me = node.queue, walking.seq, f"worker {n}.{w}"
    epoch_right = queue.epoch == walking.epoch or not clauses.epoch_is_remembered
    if not epoch_right or (clauses.put_asks_for_the_lease and not queue.leased):
        yield f"{me}'s put of page {seq} is fenced", done_walking(world, n, w, NOBODY)
        return
    if seq in queue.marks and clauses.put_asks_for_the_mark:
        yield f"{me}'s put of page {seq} is a no-op: it has its mark", staged(world, n, w, "put")
        return
    yield from put_of(scenario, world, n, w, walking, walking.owed)
    if scenario.fickle and walking.owed and walking.stage == "passed":
        yield from put_of(scenario, world, n, w, walking, walking.owed[:-1])


def put_of(scenario: Scenario, world: World, n: int, w: int, walking: Walking, who: tuple[int, ...]) -> Iterator[Step]:
    """``who``: those of the owed recipients that are in the audience now."""
    clauses, node = scenario.clauses, world.nodes[n]
    queue, seq, me = node.queue, walking.seq, f"worker {n}.{w}"
    skipped = walking.owed[len(who) :]
    if walking.stage == "passed":
        if not clauses.read_waits_for_the_claim:
            blank = with_queue(world, n, marked(queue, seq, ()))
            yield (
                f"{me} reads page {seq} from a replica that lags, finds nobody, and puts an empty page",
                staged(blank, n, w, "put"),
            )
        if seq in node.puts:
            world = world._replace(broken=f"page {seq} is put twice in one epoch")
        here = who if n not in scenario.lacking else ()  # there is no tube for the others
        with_batches = queue
        for part in (here[::2], here[1::2]) if scenario.interleaved else (here,):
            if part:
                with_batches = plus_batch(with_batches, Batch(0, seq, queue.epoch, 1, part))
        after = with_node(world, n, node._replace(queue=with_batches, puts=tuple(sorted({*node.puts, seq}))))
        if not clauses.put_is_one_transaction:
            yield f"{me} puts page {seq}'s batches, without mark and line", staged(after, n, w, "batches put")
            return
    else:
        after, with_batches = world, queue
    put_now = marked(with_batches, seq, who, len(skipped))
    if n in scenario.lacking and who:
        put_now = put_now._replace(outbox=(*put_now.outbox, Line("settled", seq, 0, who, who)))
    what = f", and skips {said(skipped)}" if skipped else ""
    yield f"{me} puts page {seq}{what}", staged(with_queue(after, n, put_now), n, w, "put")


def staged(world: World, n: int, w: int, stage: str) -> World:
    worker = world.nodes[n].workers[w]
    assert worker.walking is not None
    walking = worker.walking._replace(stage=stage, owed=() if stage == "put" else worker.walking.owed)
    return with_worker(world, n, w, worker._replace(walking=walking))


def done_walking(world: World, n: int, w: int, holder: int | None) -> World:
    """The walker's hands are free. ``holder``: NOBODY gives the baton back, None acks it, if it is still ours."""
    node = world.nodes[n]
    walking = node.workers[w].walking
    assert walking is not None
    after = with_queue(world, n, held(node.queue, walking.seq, w, holder))
    return with_worker(after, n, w, node.workers[w]._replace(walking=None))


# -- 6 and 7. Take, send, settle ---------------------------------------------------------------------------------------


def consumer(scenario: Scenario, world: World, n: int, w: int) -> Iterator[Step]:
    """One worker's consumer, transport and settler."""
    clauses, node = scenario.clauses, world.nodes[n]
    worker, queue = node.workers[w], node.queue
    sending, me = worker.sending, f"worker {n}.{w}"
    if sending is None:
        leased = queue.leased or not clauses.take_asks_for_the_lease
        if leased and not (queue.paused and clauses.pausing_stops_takes):
            for i, batch in enumerate(queue.batches):
                if batch.holder == NOBODY:
                    taken = batch._replace(holder=w, take=batch.take + 1)
                    after = with_queue(world, n, queue._replace(batches=put_in(queue.batches, i, taken)))
                    after = with_worker(
                        after, n, w, worker._replace(sending=Sending(taken, texts=queue.texts, over=not queue.leased))
                    )
                    yield f"{me} takes {called(scenario, batch)}", after
    elif not sending.sent and sending.over and clauses.send_asks_for_the_lease:
        back = with_worker(world, n, w, worker._replace(sending=None))
        for i, batch in enumerate(queue.batches):
            if same_take(sending.batch, batch):
                kept = put_in(queue.batches, i, batch._replace(holder=NOBODY, take=batch.take - 1))
                back = with_queue(back, n, queue._replace(batches=kept))
        yield f"{me} gives {called(scenario, sending.batch)} back: the lease under which it was taken is over", back
    elif not sending.sent:
        who = sending.batch.who
        after = send(world, who, sending.texts)
        if sending.texts < world.store.texts and queue.leased:
            after = after._replace(broken="the old text is sent after it was corrected")
        if world.store.state == "paused":
            after = after._replace(broken="something is sent while the campaign is paused")
        if not scenario.always_refused:
            answered = with_worker(after, n, w, worker._replace(sending=sending._replace(sent=True)))
            yield f"{me} sends {called(scenario, sending.batch)} to {said(who)}", answered
        if scenario.attempts > 1:
            refused = sending._replace(sent=True, refused=who[-1:])
            # a refused push reached nobody: to send it again is no repeat
            answered = with_worker(excuse(after, who[-1:], sending.texts), n, w, worker._replace(sending=refused))
            yield f"{me} sends {called(scenario, sending.batch)}, and {said(who[-1:])} is refused", answered
    else:
        yield from settle(scenario, world, n, w, sending)


def same_take(batch: Batch, other: Batch) -> bool:
    """Whether both are the same take of one batch; of either a part may have been settled."""
    shared = set(batch.who) & set(other.who)
    return bool(shared) and other._replace(id=batch.id, who=batch.who) == batch


def ours(scenario: Scenario, queue: Queue, batch: Batch) -> Batch | None:
    """The task that a settlement means, if it is still taken."""
    for other in queue.batches:
        if scenario.clauses.settle_asks_for_the_take:
            if same_take(batch, other):
                return other
        elif other.id == batch.id and other.holder != NOBODY:
            return other
    return None


def settle(scenario: Scenario, world: World, n: int, w: int, sending: Sending) -> Iterator[Step]:
    """Clause 7."""
    clauses, node = scenario.clauses, world.nodes[n]
    queue, batch, me = node.queue, sending.batch, f"worker {n}.{w}"
    free = with_worker(world, n, w, node.workers[w]._replace(sending=None))
    task = ours(scenario, queue, batch)
    if task is None and not sending.acked:
        yield f"{me}'s settlement of {called(scenario, batch)} is not its own any more: dropped", free
        return
    if sending.late and task is not None:
        yield settle_part(scenario, world, n, w, sending, task)
        return
    if scenario.parts and len(batch.who) > 1:
        late = sending._replace(late=batch.who[-1:])
        after = with_worker(world, n, w, node.workers[w]._replace(sending=late))
        yield f"{me} waits for the answer to {said(late.late)}", after
    rest = tuple(other for other in queue.batches if other != task)
    if not clauses.settle_is_one_transaction and not sending.acked:
        acked = with_queue(world, n, queue._replace(batches=rest))
        acked = with_worker(acked, n, w, node.workers[w]._replace(sending=sending._replace(acked=True)))
        yield f"{me} acks {called(scenario, batch)}, without remainder and line", acked
        return
    last = batch.attempt >= scenario.attempts and clauses.remainders_end
    again = () if last else sending.refused
    terminal = tuple(r for r in batch.who if r not in again)
    # a line that settles nobody tells this ledger nothing: without it a world that goes round stays finite
    line = Line("settled", batch.seq, 0, terminal, told(scenario, batch, terminal, again), texts=sending.texts)
    lines = (line,) if terminal else ()
    after = queue._replace(batches=rest, outbox=queue.outbox + lines)
    if again:
        attempt = batch.attempt + 1 if clauses.remainders_end else batch.attempt
        after = plus_batch(after, Batch(0, batch.seq, batch.epoch, attempt, again))
    what = f", with a remainder of {said(again)}" if again else ""
    yield f"{me} settles {called(scenario, batch)}{what}", with_queue(free, n, after)


def settle_part(scenario: Scenario, world: World, n: int, w: int, sending: Sending, task: Batch) -> Step:
    """Some answers are late: all others are settled, and these stay in the batch."""
    clauses, node, batch, late = scenario.clauses, world.nodes[n], sending.batch, sending.late
    queue, who = node.queue, tuple(r for r in batch.who if r not in late)
    if len(task.who) == len(batch.who) or not clauses.part_is_settled_once:
        left = task._replace(who=late) if clauses.part_leaves_its_batch else task
        others = tuple(other for other in queue.batches if other != task)
        line = Line("settled", batch.seq, 0, who, who, texts=sending.texts)
        queue = queue._replace(batches=tuple(sorted((*others, left))), outbox=(*queue.outbox, line))
    rest = sending._replace(batch=batch._replace(who=late), late=())
    after = with_worker(world, n, w, node.workers[w]._replace(sending=rest))
    return f"worker {n}.{w} settles {said(who)} of {called(scenario, batch)}", with_queue(after, n, queue)


def told(scenario: Scenario, batch: Batch, terminal: tuple[int, ...], again: tuple[int, ...]) -> tuple[int, ...]:
    """Who is settled, as the line says it. A range also covers the ids between; a remainder always lists its own."""
    if scenario.clauses.settled_is_kept_by_id or batch.attempt > 1:
        return terminal
    return tuple(r for r in range(batch.who[0], batch.who[-1] + 1) if r not in again)


def called(scenario: Scenario, batch: Batch) -> str:
    """A batch in a trace."""
    return f"page {batch.seq}'s batch" + (f" of {said(batch.who)}" if scenario.interleaved else "")


def said(who: tuple[int, ...]) -> str:
    return ", ".join(f"r{r}" for r in who)
