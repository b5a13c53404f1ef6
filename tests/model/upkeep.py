"""The steps of what a node, or the whole ring, has one of: clauses 1 and 8 to 12."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import ledger
from tests.model.tubes import plus_baton
from tests.model.walk import Step, said
from tests.model.world import Line, Node, Queue, Scenario, World, send, with_node, with_queue, without_lease

# -- 1. Join -----------------------------------------------------------------------------------------------------------


def membership(scenario: Scenario, world: World, n: int, node: Node) -> Iterator[Step]:
    """Clause 1, in two transactions: the store grants an epoch, the queue adopts it."""
    member, queue = world.store.members[n], node.queue
    if node.grant:
        yield f"node {n} adopts epoch {node.grant}", with_node(world, n, adopted(scenario, world, node))
    elif (member.status != "current" or queue.epoch != member.epoch) and (
        member.status == "fenced" or ledger.may_fence(scenario, world, n)
    ):
        yield f"node {n} joins anew and is granted an epoch", ledger.join(scenario, world, n)
    if node.renewal:
        # it may arrive at any time; counted from the question, it is worth nothing by then
        late = queue
        if not scenario.clauses.lease_counts_from_the_question and queue.epoch == node.renewal:
            late = queue._replace(leased=True)
        yield f"node {n}'s slow renewal arrives", with_node(world, n, node._replace(renewal=0, queue=late))


def adopted(scenario: Scenario, world: World, node: Node) -> Node:
    """The queue in its new epoch."""
    queue = heard(scenario, world, Queue(epoch=node.grant))
    if not scenario.clauses.join_purges:
        queue = node.queue._replace(epoch=node.grant, leased=True, trimmed=0)
    puts = node.puts if node.queue.epoch == node.grant else ()
    return node._replace(queue=queue, grant=0, puts=puts)


# -- 8. Outbox ---------------------------------------------------------------------------------------------------------


def reporter(scenario: Scenario, world: World, n: int, node: Node) -> Iterator[Step]:
    """Clause 8: read, report, trim. Only a slow reporter (a fault) is anywhere in between for longer."""
    queue, slow = node.queue, node.report
    if node.cut:
        return
    if slow is not None:
        epoch = slow.epoch if scenario.clauses.lines_carry_their_epoch else queue.epoch
        after, upto = ledger.report(scenario, world, n, epoch, slow.first, slow.lines)
        after = with_node(after, n, node._replace(report=None))
        if upto is not None and (slow.epoch == queue.epoch or not scenario.clauses.lines_carry_their_epoch):
            after = trimmed(after, n, upto)
        yield f"node {n}'s slow reporter comes to report what it read in epoch {slow.epoch}", after
    elif queue.outbox:
        after, upto = ledger.report(scenario, world, n, queue.epoch, queue.trimmed + 1, queue.outbox)
        if upto is not None:
            yield f"node {n} reports {', '.join(told(line) for line in queue.outbox)}", trimmed(after, n, upto)


def told(line: Line) -> str:
    return f"page {line.seq} enqueued" if line.kind == "enqueued" else f"{said(line.who) or 'nobody'} settled"


def trimmed(world: World, n: int, upto: int) -> World:
    queue = world.nodes[n].queue
    gone = max(0, min(upto - queue.trimmed, len(queue.outbox)))
    return with_queue(world, n, queue._replace(outbox=queue.outbox[gone:], trimmed=queue.trimmed + gone))


# -- 9. Forget ---------------------------------------------------------------------------------------------------------


def forgetting(scenario: Scenario, world: World, n: int, node: Node) -> Iterator[Step]:
    """Clause 9: an operator forgets a lost node (to forget a living one is a fault); time does the rest."""
    member, queue = world.store.members[n], node.queue
    if not node.up and member.status == "current":
        yield f"the operator forgets node {n}", ledger.with_member(world, n, member._replace(status="forgotten"))
    if member.status == "forgotten":
        if queue.leased:
            yield f"node {n}'s lease runs out", without_lease(world, n)
        if ledger.may_fence(scenario, world, n):
            yield f"node {n} is fenced", ledger.fence(scenario, world, n)
    elif member.status == "opened":
        refused = ledger.with_member(world, n, member._replace(status="fenced"))
        yield f"node {n}'s reports are refused from now on", refused
    elif node.cut:
        if queue.leased:
            yield f"node {n}'s lease runs out", without_lease(world, n)
        yield f"node {n} reaches the store again", with_node(world, n, node._replace(cut=False))
    elif not queue.leased and queue.epoch == member.epoch and member.status == "current" and node.up:
        yield f"node {n}'s lease is renewed", with_queue(world, n, heard(scenario, world, queue._replace(leased=True)))


def heard(scenario: Scenario, world: World, queue: Queue) -> Queue:
    """What comes with a lease: whether the campaign is paused, and the version of its texts."""
    texts = world.store.texts if scenario.clauses.texts_come_with_the_lease else 0
    return queue._replace(paused=world.store.state in ("pausing", "paused"), texts=texts)


def opening(world: World) -> Iterator[Step]:
    """Clause 9: pages whose owner may not report any more turn open, one after the other."""
    for seq, page in enumerate(world.store.pages):
        if page.turning:
            yield f"page {seq} turns open", ledger.opened(world, seq)


# -- 10. Shepherd ------------------------------------------------------------------------------------------------------


def shepherd(scenario: Scenario, world: World) -> Iterator[Step]:
    """Clause 10, when it is not early: nobody has such a baton."""
    clauses, store = scenario.clauses, world.store
    lively = {baton.seq for node in world.nodes if node.up for baton in node.queue.batons}
    lively |= {w.walking.seq for node in world.nodes if node.up for w in node.workers if w.walking is not None}
    for seq, page in enumerate(store.pages):
        if seq in lively:
            continue
        for n, node in enumerate(world.nodes):
            if not node.up:
                continue
            if store.state == "firing" and store.cursor == seq and clauses.shepherd_looks_at_cursors:
                why = "the cursor stands still"
            elif page.state == "open" and clauses.shepherd_looks_at_open_pages:
                why = "it is open"
            elif page.state == "claimed" and (page.node, page.epoch) == (n, node.queue.epoch):
                if not clauses.shepherd_looks_at_own_pages or seq in node.queue.marks:
                    continue
                why = "it has no mark"
            else:
                continue
            after = with_queue(world, n, plus_baton(node.queue, seq))
            yield f"node {n}'s shepherd makes a baton for page {seq}: {why}", after


# -- 11. Done ----------------------------------------------------------------------------------------------------------


# Whether a campaign is done is the ledger's to say: see `ledger.check_done`.


def marks_go(scenario: Scenario, world: World, n: int) -> World | None:
    """The marks of a campaign that is over go, when nobody can put a page of it any more."""
    node = world.nodes[n]
    if world.store.state != "done" or not node.queue.marks:
        return None
    if scenario.clauses.marks_outlive_the_leases and any(worker.walking for worker in node.workers):
        return None
    return with_queue(world, n, node.queue._replace(marks=()))


# -- 12. Pause ---------------------------------------------------------------------------------------------------------


def pausing(scenario: Scenario, world: World) -> Iterator[Step]:
    """Clause 12: firing, pausing, paused, firing."""
    clauses, store = scenario.clauses, world.store
    if store.state == "firing" and not world.paused_once:
        yield "the editor pauses", world._replace(store=store._replace(state="pausing"), paused_once=True)
    wanted = store.state in ("pausing", "paused")
    for n, node in enumerate(world.nodes):
        if node.up and node.queue.leased and not node.cut and node.queue != heard(scenario, world, node.queue):
            what = "stops" if wanted else "may go on"
            yield f"node {n} {what}", with_queue(world, n, heard(scenario, world, node.queue))
    if store.state == "pausing" and all(quiet(scenario, node) for node in world.nodes):
        paused = world._replace(store=store._replace(state="paused"))
        yield "all are quiet: paused", paused._replace(broken=uneven(paused))
    if store.state == "paused":
        resumed = world._replace(store=store._replace(state="firing"))
        if clauses.resume_asks_whether_done:
            resumed = ledger.check_done(scenario, resumed)
        yield "the editor resumes", resumed
    early = not clauses.correct_waits_for_paused and store.state in ("firing", "pausing")
    if scenario.correct and not store.texts and (store.state in ("paused", "done") or early):
        yield "the editor corrects", ledger.correct(scenario, world)
    for r in store.due:
        rest = tuple(other for other in store.due if other != r)
        yield (
            f"the second walk sends the new text to r{r}",
            send(world._replace(store=store._replace(due=rest)), (r,), 1),
        )


def quiet(scenario: Scenario, node: Node) -> bool:
    """Has this node nothing under way? A node without a lease is quiet."""
    clauses, queue = scenario.clauses, node.queue
    if not node.up or node.cut:
        return not queue.leased
    sends = any(worker.sending is not None for worker in node.workers) and clauses.paused_waits_for_quiet
    owes = bool(queue.outbox or node.report) and clauses.paused_waits_for_the_outboxes
    stopped = queue.paused or not clauses.pausing_stops_takes
    return stopped and not sends and not owes


def uneven(world: World) -> str:
    """When paused, the editor is told: this many have it, the others not. Is that so?"""
    away = {r for node in world.nodes if node.cut for line in node.queue.outbox for r in line.who}.union(
        *(set(w.sending.batch.who) for node in world.nodes if node.cut for w in node.workers if w.sending)
    )
    for r, (surplus, recorded) in enumerate(zip(world.surplus, world.recorded, strict=True)):
        # of whom a crash left in the dark nobody knows; the law lets them be reached once more
        if surplus > 0 and not recorded and r not in away:
            return f"paused, and the ledger does not know that r{r} was reached"
    return ""
