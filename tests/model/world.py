"""The world of the walk: one store, some nodes. Immutable, so that a search can remember every world it has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from tests.model.clauses import Clauses

T = TypeVar("T")

NOBODY = -1


@dataclass(frozen=True)
class Scenario:
    """How large the world is, and what may go wrong in it."""

    nodes: int = 2
    workers: int = 1
    pages: int = 2
    recipients: int = 1  # of each page
    attempts: int = 1  # the last one is terminal; with more, the provider may refuse a batch's last recipient
    always_refused: bool = False
    lacking: frozenset[int] = frozenset()  # nodes whose configuration lacks the campaign's channel
    interleaved: bool = False  # a page is put as two batches, and the ids of one lie between those of the other
    parts: bool = False  # the answer to a batch's last recipient may be late: the others are settled before
    fickle: bool = False  # a page's last recipient may be in the audience at one put, and not at the next
    pause: bool = False  # the editor may pause once, and resumes
    correct: bool = False  # and may correct the texts once
    faults: int = 1
    kinds: frozenset[str] = frozenset()
    clauses: Clauses = field(default_factory=Clauses)


class Page(NamedTuple):
    """A row of the ledger. Page n is of the ids (n, n + 1]."""

    state: str = "unclaimed"  # claimed, enqueued, settled, open
    node: int = NOBODY
    epoch: int = 0
    recipients: int = 0
    settled: int = 0
    turning: bool = False  # it turns open soon: its owner may not report any more
    skipped: int = 0
    believed: tuple[int, ...] = ()  # who is settled, as the next owner of the page is told


class Member(NamedTuple):
    """What the store knows of a node."""

    epoch: int = 1
    # forgotten: no claims, no renewals; fenced: no reports either, its pages turn open (opened: only the latter)
    status: str = "current"
    reported: int = 0


class Store(NamedTuple):
    """Campaign, cursor (``len(pages)``: ended), ledger, nodes."""

    state: str
    cursor: int
    pages: tuple[Page, ...]
    members: tuple[Member, ...]
    texts: int = 0  # the version of the texts
    due: tuple[int, ...] = ()  # who gets the new texts from the second walk


class Baton(NamedTuple):
    """A task of the tube `batons`."""

    seq: int
    holder: int = NOBODY  # the worker that has taken it


class Batch(NamedTuple):
    """A task of a channel's tube: (seq, epoch, attempt) is its key, `id` is used again by later ones."""

    id: int
    seq: int
    epoch: int
    attempt: int
    who: tuple[int, ...]
    take: int = 0  # its takes so far: with the key it names each take once
    holder: int = NOBODY


class Line(NamedTuple):
    """A line of the outbox."""

    kind: str  # enqueued, settled
    seq: int
    recipients: int = 0
    who: tuple[int, ...] = ()  # terminal now
    told: tuple[int, ...] = ()  # who is terminal now, as the line says it
    skipped: int = 0  # who is not in the audience
    texts: int = 0  # the version that was sent


class Queue(NamedTuple):
    """A node's own queue."""

    epoch: int = 1
    leased: bool = True
    paused: bool = False
    texts: int = 0  # as the lease brought it
    batons: tuple[Baton, ...] = ()
    batches: tuple[Batch, ...] = ()
    marks: tuple[int, ...] = ()
    outbox: tuple[Line, ...] = ()
    trimmed: int = 0  # the number of the last line that is gone


class Walking(NamedTuple):
    """What a walker has in hand."""

    stage: str  # took, claimed, passed, put, handed on
    seq: int
    epoch: int
    owed: tuple[int, ...] = ()  # recipients of the claimed page


class Sending(NamedTuple):
    """What a consumer has in hand: a copy of the batch that it took."""

    batch: Batch
    sent: bool = False
    refused: tuple[int, ...] = ()
    late: tuple[int, ...] = ()  # whose answer is late: the part without them is to be settled, and nothing else is
    texts: int = 0  # of the lease under which it was taken
    over: bool = False  # that lease has run out
    acked: bool = False  # only where a settlement is not one transaction


class Worker(NamedTuple):
    """One process: a walker and a consumer, which die together."""

    walking: Walking | None = None
    sending: Sending | None = None


class Report(NamedTuple):
    """Lines that a slow reporter has read and not yet reported."""

    epoch: int
    first: int
    lines: tuple[Line, ...]


class Node(NamedTuple):
    """A node: its queue, its workers, what its reporter and its membership have in hand."""

    up: bool
    queue: Queue
    workers: tuple[Worker, ...]
    grant: int = 0  # the epoch that the store granted and the queue has not adopted
    report: Report | None = None
    renewal: int = 0  # the epoch for which a renewal is on its way
    cut: bool = False  # the store is out of reach
    puts: tuple[int, ...] = ()  # history: pages put in this epoch, marked or not


class World(NamedTuple):
    """Everything. The last six are the witness's notes, which no actor can see."""

    store: Store
    nodes: tuple[Node, ...]
    paused_once: bool
    faults: int
    surplus: tuple[int, ...]  # each recipient's sends of the first texts, less the repeats that the law allows
    again: tuple[int, ...]  # the same of the corrected texts
    fates: tuple[int, ...]  # each recipient's last text: 0 none, 1 the first, 2 the corrected one
    reached: tuple[bool, ...]  # was sent at all
    recorded: tuple[int, ...]  # terminal outcomes in the ledger
    broken: str = ""  # a law that a step broke on the spot


def put_in(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    """The same with another item at ``index``."""
    return (*items[:index], item, *items[index + 1 :])


def start(scenario: Scenario) -> World:
    """Fired: the cursor stands at 0 and its baton lies at node 0."""
    everybody = scenario.pages * scenario.recipients
    nodes = tuple(
        Node(True, Queue(batons=(Baton(0),) if n == 0 else ()), (Worker(),) * scenario.workers)
        for n in range(scenario.nodes)
    )
    store = Store("firing", 0, (Page(),) * scenario.pages, (Member(),) * scenario.nodes)
    return World(
        store,
        nodes,
        False,
        scenario.faults,
        (0,) * everybody,
        (0,) * everybody,
        (0,) * everybody,
        (False,) * everybody,
        (0,) * everybody,
    )


def recipients_of(scenario: Scenario, seq: int) -> tuple[int, ...]:
    """Recipients of a page."""
    return tuple(range(seq * scenario.recipients, (seq + 1) * scenario.recipients))


def with_node(world: World, n: int, node: Node) -> World:
    """The same with another node ``n``."""
    return world._replace(nodes=put_in(world.nodes, n, node))


def with_queue(world: World, n: int, queue: Queue) -> World:
    """The same with another queue at node ``n``."""
    return with_node(world, n, world.nodes[n]._replace(queue=queue))


def with_worker(world: World, n: int, w: int, worker: Worker) -> World:
    """The same with another worker ``w`` at node ``n``."""
    node = world.nodes[n]
    return with_node(world, n, node._replace(workers=put_in(node.workers, w, worker)))


def without_lease(world: World, n: int) -> World:
    """The lease of node ``n`` runs out, and with it that of all that its workers have in hand."""
    node = world.nodes[n]
    workers = tuple(
        w._replace(sending=w.sending._replace(over=True)) if w.sending is not None and not w.sending.sent else w
        for w in node.workers
    )
    return with_node(world, n, node._replace(queue=node.queue._replace(leased=False), workers=workers))


def excuse(world: World, who: tuple[int, ...], texts: int = 0) -> World:
    """The law allows one repeat to each of these, of the texts of this version."""
    if not who:
        return world
    sends = list(world.again if texts else world.surplus)
    for r in who:
        sends[r] -= 1
    return world._replace(again=tuple(sends)) if texts else world._replace(surplus=tuple(sends))


def send(world: World, who: tuple[int, ...], texts: int) -> World:
    """Each of these is shown a text."""
    sends, fates, reached = list(world.again if texts else world.surplus), list(world.fates), list(world.reached)
    for r in who:
        if fates[r] > texts + 1:
            world = world._replace(broken=f"r{r} is shown the old text after the new one")
        sends[r] += 1
        fates[r] = texts + 1
        reached[r] = True
    world = world._replace(again=tuple(sends)) if texts else world._replace(surplus=tuple(sends))
    return world._replace(fates=tuple(fates), reached=tuple(reached))
