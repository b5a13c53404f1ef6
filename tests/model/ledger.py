"""The store's transactions: what `store.page_claim`, `store.report`, `store.node_join` and forget do."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.world import Line, Member, Page, Scenario, World, excuse, put_in, recipients_of


class Claim(NamedTuple):
    """The answer to a claim."""

    verdict: str  # claimed, stale, fenced
    owed: tuple[int, ...] = ()
    next: int = 0  # 0: no next baton


def with_page(world: World, seq: int, page: Page) -> World:
    store = world.store
    return world._replace(store=store._replace(pages=put_in(store.pages, seq, page)))


def with_member(world: World, n: int, member: Member) -> World:
    store = world.store
    return world._replace(store=store._replace(members=put_in(store.members, n, member)))


def owed(scenario: Scenario, world: World, seq: int) -> tuple[int, ...]:
    """Clause 3: the range less what is settled."""
    everybody = recipients_of(scenario, seq)
    if not scenario.clauses.claim_leaves_out_what_is_settled:
        return everybody
    return tuple(r for r in everybody if r not in world.store.pages[seq].believed)


def claim(scenario: Scenario, world: World, n: int, epoch: int, seq: int) -> tuple[World, Claim]:
    """Clause 3."""
    clauses, store = scenario.clauses, world.store
    member, page = store.members[n], store.pages[seq]
    if clauses.claim_asks_for_the_epoch and (member.status != "current" or member.epoch != epoch):
        return world, Claim("fenced")
    following = seq + 1 if seq + 1 < len(store.pages) else 0
    firing = store.state == "firing" or (store.state in ("pausing", "paused") and not clauses.pausing_stops_claims)
    ours = page._replace(state="claimed", node=n, epoch=epoch)
    if firing and (store.cursor == seq or not clauses.claim_asks_for_the_cursor):
        if page.state != "unclaimed":
            world = world._replace(broken=f"page {seq} is claimed from the cursor twice")
        if store.state == "paused":
            world = world._replace(broken="the cut line moved after the pause")
        world = world._replace(store=world.store._replace(cursor=seq + 1))
        return with_page(world, seq, ours), Claim("claimed", recipients_of(scenario, seq), following)
    if page.state == "claimed" and (page.node, page.epoch) == (n, epoch) and clauses.claim_can_be_repeated:
        return world, Claim("claimed", owed(scenario, world, seq), following)
    if page.state == "open" and firing:
        return with_page(world, seq, ours), Claim("claimed", owed(scenario, world, seq))
    return world, Claim("stale")


def _apply(scenario: Scenario, world: World, n: int, epoch: int, line: Line) -> World:
    page = world.store.pages[line.seq]
    if scenario.clauses.lines_come_from_the_owner and (page.node, page.epoch) != (n, epoch):
        return world
    if page.state == "settled":
        world = world._replace(broken=f"page {line.seq} is settled, and then gets one more line")
    if line.kind == "enqueued":
        before = page.settled if scenario.clauses.put_counts_what_was_settled else 0
        skipped = 0 if scenario.clauses.put_replaces_what_was_skipped else page.skipped
        page = page._replace(state="enqueued", recipients=line.recipients + before, skipped=line.skipped + skipped)
    else:
        recorded = list(world.recorded)
        for r in line.who:
            recorded[r] += 1
        world = world._replace(recorded=tuple(recorded))
        if line.texts < world.store.texts and scenario.clauses.lines_carry_their_texts:
            world = world._replace(store=world.store._replace(due=tuple(sorted({*world.store.due, *line.who}))))
        believed = tuple(sorted({*page.believed, *line.told}))
        page = page._replace(settled=page.settled + len(line.who), believed=believed)
    if page.state == "enqueued" and page.settled >= page.recipients:
        page = page._replace(state="settled", believed=())
    return with_page(world, line.seq, page)


def report(
    scenario: Scenario, world: World, n: int, epoch: int, first: int, lines: tuple[Line, ...]
) -> tuple[World, int | None]:
    """Clause 8: answers the last number that is in the ledger, None when fenced."""
    member = world.store.members[n]
    if scenario.clauses.report_asks_for_the_epoch and (member.status == "fenced" or member.epoch != epoch):
        return world, None
    for number, line in enumerate(lines, first):
        if number > member.reported or not scenario.clauses.lines_are_numbered:
            world = _apply(scenario, world, n, epoch, line)
    member = member._replace(reported=max(member.reported, first + len(lines) - 1))
    return check_done(scenario, with_member(world, n, member)), first + len(lines) - 1


def check_done(scenario: Scenario, world: World) -> World:
    """Clause 11."""
    clauses, store = scenario.clauses, world.store
    if store.state != "firing":
        return world
    if clauses.done_waits_for_the_cursor and store.cursor < len(store.pages):
        return world
    for page in store.pages:
        if page.state in ("claimed", "open") and clauses.done_waits_for_the_put:
            return world
        if page.state == "enqueued" and clauses.done_waits_for_the_settlements:
            return world
    return world._replace(store=store._replace(state="done"))


def may_fence(scenario: Scenario, world: World, n: int) -> bool:
    """Clause 9: the lease has run out."""
    return not world.nodes[n].queue.leased or not scenario.clauses.lease_is_waited_for


def fence(scenario: Scenario, world: World, n: int) -> World:
    """Clause 9: this owner's reports are refused from now on; afterwards its unsettled pages turn open, one by one."""
    member, first = world.store.members[n], scenario.clauses.reports_are_refused_first
    for seq, page in enumerate(world.store.pages):
        owned = page.state in ("claimed", "enqueued") and (page.node, page.epoch) == (n, member.epoch)
        if owned and scenario.clauses.forgotten_pages_turn_open:
            world = with_page(world, seq, page._replace(turning=True) if first else page._replace(state="open"))
    world = with_member(world, n, member._replace(status="fenced" if first else "opened"))
    return excuse(excuse(world, unreported(world, n)), unreported(world, n), 1)


def opened(world: World, seq: int) -> World:
    """Clause 9, the last step: anybody may claim the page."""
    page = world.store.pages[seq]
    state = "open" if page.state in ("claimed", "enqueued") else page.state
    return with_page(world, seq, page._replace(state=state, turning=False))


def unreported(world: World, n: int) -> tuple[int, ...]:
    """What a node has in hand or has not told the ledger: the law allows these to be repeated when it is forgotten."""
    node, reported = world.nodes[n], world.store.members[n].reported
    who: tuple[int, ...] = ()
    for worker in node.workers:
        if worker.sending is not None:
            who += worker.sending.batch.who
    for number, line in enumerate(node.queue.outbox, node.queue.trimmed + 1):
        if number > reported:
            who += line.who
    return who


def join(scenario: Scenario, world: World, n: int) -> World:
    """Clause 1: fence the old epoch as in 9, grant a new one."""
    member = world.store.members[n]
    if member.status not in ("fenced", "opened"):
        world = fence(scenario, world, n)
    epoch = member.epoch + 1 if scenario.clauses.join_raises_the_epoch else member.epoch
    world = with_member(world, n, Member(epoch))
    node = world.nodes[n]
    return world._replace(nodes=put_in(world.nodes, n, node._replace(grant=epoch)))


def correct(scenario: Scenario, world: World) -> World:
    """Clause 13: new texts. Who is settled gets them from a second walk."""
    due = tuple(r for r, recorded in enumerate(world.recorded) if recorded)
    if not scenario.clauses.second_walk_goes_to_the_settled:
        due = tuple(range(len(world.recorded)))
    return world._replace(store=world.store._replace(texts=1, due=due))
