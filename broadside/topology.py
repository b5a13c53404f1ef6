"""The only wiring: which actor gets which collaborator, and the trees that supervise them (ARCHITECTURE, §5)."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import structlog
import trio

from actors.archivist import Archivist
from actors.batcher import Batcher
from actors.campaign_cache import CampaignCache
from actors.channel_activity import ChannelActivity
from actors.consumer import Consumer
from actors.dead_judge import DeadJudge, asking
from actors.gate import Gate
from actors.hands import Hands
from actors.limiter import Limiter
from actors.messages import Answered, Page, PartAnswered
from actors.permit import Permit
from actors.refusals import Ask, Refusals
from actors.reporter import Reporter
from actors.settler import Settler
from actors.shepherd import Shepherd
from actors.successors import Find, finding
from actors.transport_actor import TransportActor
from actors.walker import Walker
from broadside import wire
from broadside.logs import observe
from broadside.shared_tokens import TokenHolder
from campaigns.batch import RECIPIENTS_A_BATCH, Batch
from campaigns.channel_figures import ChannelFigures
from campaigns.channel_state import ChannelState
from campaigns.clock import Clock, wall_clock
from campaigns.recipient import unpack_recipients
from campaigns.walk_figures import WalkFigures
from campaigns.where import AppVersions, version_bounds
from storage.errors import StorageError
from storage.link import Endpoint, Link
from storage.store import Store
from storage.tubes import Tubes
from supervision import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    Actor,
    ChildExists,
    ChildRunning,
    ChildSpec,
    Intensity,
    NoSuchChild,
    NotRunning,
    Parking,
    Supervisor,
)
from transports.contract import Pooling, Transport, TransportSettings
from transports.load import Load
from transports.registry import load

log = structlog.get_logger(__name__)

HANDS_A_CONNECTION = 7
"""Room for batches of 500 that a channel has in hand, and sends at once, per connection. Two would fill 1,000 streams,
but nobody of a batch is settled before a quarter of a second has passed since its last push, or all have been answered:
with five, answers that vary leave an eighth of the streams empty (tests/actors/test_stragglers.py). They bound what a
crash may repeat."""
FEWER_FROM = 8
HANDS_FROM_THERE = 3
"""Further connections of a worker bring fewer hands: by then its core is busy, and what is in hand takes memory."""
LEAST_CONNECTIONS = 2
"""Always kept up in a worker: one may be lost, and the other one sends."""
PAGES_IN_HAND = 2
REHEARSED_ROWS = 2_000
"""Of the page that is read beforehand: as many as a campaign's page usually has …"""
REHEARSE_EVERY = 10.0
"""… and seconds between two of them, at least."""
BUGS = Intensity(5, 30.0)
"""Restarts allowed inside a worker: actors wait outages out by themselves, so every restart is a bug."""
ON_TRIAL = Intensity(0, 30.0)
"""Restarts allowed for a channel that was parked, while it is on trial."""


def hands_of(connections: int) -> int:
    """Batches that a channel of a worker has in hand with so many connections."""
    return HANDS_A_CONNECTION * min(connections, FEWER_FROM) + HANDS_FROM_THERE * max(0, connections - FEWER_FROM)


def settings(setup: wire.ChannelSetup) -> TransportSettings:
    """The settings from which a channel's transport is built."""
    return TransportSettings(
        channel=setup.name,
        platform=setup.platform,
        app=setup.app,
        credentials=setup.credentials,
        origin=setup.origin,
        ca=None if setup.ca is None else Path(setup.ca),
        connections=min(LEAST_CONNECTIONS, setup.connections),
        most_connections=setup.connections,
        connect_every=setup.connect_every,
        proxy=setup.proxy,
        upper_lane=True,
        warm_up=setup.warm_up,
        quiet_channel=setup.quiet_channel,
        android_v2=setup.android_v2,
        collapse_slots=setup.collapse_slots,
        devices=setup.devices,
        push_services=setup.push_services,
        labelled=setup.labelled,
        broadcast_origin=setup.broadcast_origin,
        manage_origin=setup.manage_origin,
    )


def build_transport(setup: wire.ChannelSetup) -> Transport:
    """Build a channel's transport (CredentialsError, naming field and remedy, if the setup cannot work)."""
    return load(setup.platform).build(settings(setup))


class ChannelGroup:
    """One channel's settler, transport actor and consumer, and the memory channels between them.

    The gate outlives restarts; each incarnation of the group gets new memory channels.
    """

    def __init__(
        self,
        setup: wire.ChannelSetup,
        *,
        tubes: Tubes,
        cache: CampaignCache,
        clock: Clock,
        limiter: Limiter | None,
        tokens: TokenHolder,
        drain: float,
        ask: Ask,
        find: Find,
        permit: Permit,
    ) -> None:
        self._setup = setup
        self._tubes = tubes
        self._cache = cache
        self._clock = clock
        self.gate = Gate(setup.name, ask=ask, limit=setup.dead_limit, limiter=limiter, clock=clock)
        self._find = find
        self._permit = permit
        self._tokens = tokens
        self._drain = drain
        self._parking: Parking | None = None
        self._connect()

    async def change(self, setup: wire.ChannelSetup, limiter: Limiter | None) -> None:
        """Go on with other settings. The connections stay, unless it is more than the rate that has changed.

        What is in hand is settled before: the group drains, and the next one begins.
        """
        before, self._setup = self._setup, setup
        self.gate.change(setup.dead_limit, limiter)
        if self._parking is not None and _without_pace(before) != _without_pace(setup):
            await self._parking.renew()
            self.gate.breaker.retry(trio.current_time())

    def _connect(self) -> None:
        self.gate.begin_anew()
        self._pooling: Pooling | None = None  # asked for once: isinstance takes 15 µs, and each take counts the hands
        self._hands = Hands(self._usual_hands)
        most = hands_of(self._setup.connections) + 1
        self._work_in, self._work_out = trio.open_memory_channel[Batch](most)
        self._done_in, self._done_out = trio.open_memory_channel[Answered | PartAnswered](most)

    def _usual_hands(self) -> int:
        wanted = LEAST_CONNECTIONS if self._pooling is None else self._pooling.wanted
        return hands_of(min(wanted, self._setup.connections))

    def parking(self) -> Parking:
        """The group, isolated from other channels: if it crashes too often it is parked, and retried every minute."""
        parking = Parking(f"channel:{self._setup.name}", self._supervisor, observe=observe)
        self._parking = self.gate.parking = parking
        return parking

    def _supervisor(self, trial: bool) -> Supervisor:
        # sinks start first, so that a stop begins at the source
        return Supervisor(
            f"channel:{self._setup.name}",
            [
                ChildSpec("settler", self._settler, shutdown=self._drain),
                ChildSpec("transport", self._transport, shutdown=self._drain),
                ChildSpec("consumer", self._consumer),
            ],
            strategy=ONE_FOR_ALL,
            intensity=ON_TRIAL if trial else BUGS,
            observe=observe,
        )

    def _settler(self) -> Actor:
        self._connect()
        return Settler(
            channel=self._setup.name,
            tubes=self._tubes,
            done=self._done_out,
            intake=self._done_in,
            hands=self._hands,
            gate=self.gate,
            clock=self._clock,
        )

    def _transport(self) -> Actor:
        transport = build_transport(self._setup)
        self._pooling = transport if isinstance(transport, Pooling) else None
        self._tokens.lend(self._setup.name, transport)
        return TransportActor(
            channel=self._setup.name,
            tubes=self._tubes,
            transport=transport,
            work=self._work_out,
            intake=self._work_in,
            done=self._done_in.clone(),
            gate=self.gate,
            clock=self._clock,
            find=self._find,
            receipts=self._setup.receipts,
        )

    def _consumer(self) -> Actor:
        return Consumer(
            channel=self._setup.name,
            tubes=self._tubes,
            cache=self._cache,
            work=self._work_in.clone(),
            hands=self._hands,
            gate=self.gate,
            permit=self._permit,
        )


def _without_pace(setup: wire.ChannelSetup) -> wire.ChannelSetup:
    return msgspec.structs.replace(setup, pace=None)


class Deliveries:
    """All channels of a worker, and its reporter. ``group``: makes a channel's group; ``reporter``: None for none."""

    def __init__(
        self,
        hello: wire.Hello,
        group: Callable[[wire.ChannelSetup, Limiter | None], ChannelGroup],
        reporter: Callable[[], Actor] | None,
    ) -> None:
        self._drain = hello.drain
        self._group = group
        self._reporter = reporter
        self._limiters: dict[str, Limiter] = {}
        self._set_rates(hello.channels)
        self.groups = {setup.name: group(setup, self._limiter(setup)) for setup in hello.channels}
        """By the channels' names."""
        self._running: Supervisor | None = None

    def supervisor(self) -> Supervisor:
        """The tree of one incarnation."""
        children = [self._spec(name) for name in self.groups]
        if self._reporter is not None:
            children.insert(0, ChildSpec("reporter", self._reporter))
        self._running = Supervisor("delivery", children, strategy=ONE_FOR_ONE, intensity=BUGS, observe=observe)
        return self._running

    async def change(self, setups: Iterable[wire.ChannelSetup]) -> None:
        """Serve these channels from now on, with these settings. Channels that stay as they are are not disturbed."""
        wanted = {setup.name: setup for setup in setups}
        self._set_rates(wanted.values())
        async with trio.open_nursery() as nursery:
            for name in self.groups.keys() & wanted.keys():
                nursery.start_soon(self.groups[name].change, wanted[name], self._limiter(wanted[name]))
        for name in [name for name in self.groups if name not in wanted]:
            del self.groups[name]
            await self._ask(partial(_end, child=f"channel:{name}"))
        for name in [name for name in wanted if name not in self.groups]:
            self.groups[name] = self._group(wanted[name], self._limiter(wanted[name]))
            await self._ask(partial(_begin, child=self._spec(name)))

    def _spec(self, name: str) -> ChildSpec:
        return ChildSpec(f"channel:{name}", self.groups[name].parking, shutdown=self._drain, together=True)

    async def _ask(self, change: Callable[[Supervisor], Awaitable[None]]) -> None:
        if self._running is not None:
            with suppress(NotRunning, NoSuchChild, ChildExists):  # its next incarnation begins with what is wanted
                await change(self._running)

    def _limiter(self, setup: wire.ChannelSetup) -> Limiter | None:
        return None if setup.pace is None else self._limiters[setup.pace.bucket]

    def _set_rates(self, setups: Iterable[wire.ChannelSetup]) -> None:
        """One limiter per bucket: channels of one project share it."""
        paces = {setup.pace.bucket: setup.pace for setup in setups if setup.pace is not None}
        for name, pace in paces.items():
            if (known := self._limiters.get(name)) is not None:
                known.change(pace.rate, pace.burst, ramp=pace.ramp)
            else:
                self._limiters[name] = Limiter(pace.rate, pace.burst, ramp=pace.ramp)


async def _begin(tree: Supervisor, child: ChildSpec) -> None:
    await tree.start_child(child)


async def _end(tree: Supervisor, child: str) -> None:
    await tree.terminate_child(child)
    await tree.delete_child(child)


class WorkerSupervisor(Supervisor):
    """A worker's root supervisor. At a stop it informs the queue first."""

    def __init__(self, name: str, children: list[ChildSpec], *, farewell: Callable[[], None]) -> None:
        super().__init__(name, children, strategy=REST_FOR_ONE, intensity=BUGS, observe=observe)
        self._farewell = farewell

    def stop(self) -> None:
        """Drain, then end. Batches not settled by then keep their poison counters unchanged."""
        self._farewell()
        super().stop()


class Rehearsal:
    """Pages that are read for nothing: news comes soon, and the first page of a Tarantool takes its time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read_at = -math.inf

    async def read(self) -> None:
        """Read one, unless that was done a moment ago."""
        if trio.current_time() < self._read_at + REHEARSE_EVERY:
            return
        self._read_at = trio.current_time()
        try:
            for part in await self._store.page_rehearsal(REHEARSED_ROWS, RECIPIENTS_A_BATCH):
                unpack_recipients(part.recipients)
        except StorageError as error:
            log.debug("no page was read beforehand", error=str(error))


class WorkerTree:
    """A worker's supervisor, and the state of its channels for the node."""

    def __init__(
        self,
        supervisor: Supervisor,
        deliveries: Deliveries,
        permit: Permit,
        campaigns: CampaignGroup,
        link: Link,
        store: Store,
    ) -> None:
        self.supervisor = supervisor
        self._rehearsal = Rehearsal(store)
        self.permit = permit
        self.walk = campaigns.figures
        """What its walkers have walked."""
        self._deliveries = deliveries
        self._groups = deliveries.groups
        self._campaigns = campaigns
        self._link = link
        self._changing = trio.Lock()

    @property
    def refusals(self) -> dict[str, Refusals]:
        """Channel → the part of its gate that must know of questions about refused tokens, and of answers."""
        return {name: group.gate.refusals for name, group in self._groups.items()}

    async def change(self, hello: wire.Hello) -> None:
        """Go on with other settings. What stays as it is is not disturbed, and nothing in hand is lost.

        The walk stops for a moment if it depends on what has changed. It goes on before the channels change: it must
        not wait until one of them has drained.
        """
        async with self._changing:
            self._link.change(endpoints(hello.store, hello.queue, hello.peers, hello.replica))
            if self._campaigns.change(hello):
                with suppress(NotRunning, ChildRunning):
                    await self.supervisor.terminate_child("campaigns")
                    await self.supervisor.restart_child("campaigns")
            await self._deliveries.change(hello.channels)

    def states(self) -> list[ChannelState]:
        """Why channels stand still: a record for each such channel."""
        return [state for group in self._groups.values() if (state := group.gate.state()) is not None]

    def figures(self) -> dict[str, ChannelFigures]:
        """Channel → what was counted since the start."""
        return {name: group.gate.figures for name, group in self._groups.items()}

    def activity(self) -> dict[str, ChannelActivity]:
        """Channel → what it is doing now."""
        return {name: group.gate.activity() for name, group in self._groups.items()}

    def loads(self) -> dict[str, Load]:
        """Channel → its connections, and what they wait for; without channels whose transport does not say."""
        loads: dict[str, Load] = {}
        for name, group in self._groups.items():
            transport: object = group.gate.transport
            if isinstance(transport, Pooling):
                loads[name] = transport.load
        return loads

    def probe(self) -> None:
        """Ask the providers' silent connections whether they are alive: news comes soon."""
        for group in self._groups.values():
            transport: object = group.gate.transport
            if isinstance(transport, Pooling):
                transport.probe()

    async def rehearse(self) -> None:
        """Read a page of the base for nothing (``Rehearsal``)."""
        await self._rehearsal.read()

    def sending(self) -> list[int]:
        """Campaigns with batches in hand."""
        return sorted({id for group in self._groups.values() for id in +group.gate.in_hand})


class CampaignGroup:
    """The batcher and the walkers that feed it."""

    def __init__(self, hello: wire.Hello, *, link: Link, store: Store, cache: CampaignCache, clock: Clock) -> None:
        self._hello = hello
        self._link = link
        self._store = store
        self._cache = cache
        self._clock = clock
        self.figures = WalkFigures()
        """What its walkers have walked."""
        self._intake, self._pages = trio.open_memory_channel[Page](PAGES_IN_HAND)

    def change(self, hello: wire.Hello) -> bool:
        """Use other settings from the next start on. Returns whether one is needed."""
        before, self._hello = self._settings(), hello
        return before != self._settings()

    def _settings(self) -> tuple[object, ...]:
        """All settings that its actors get."""
        hello = self._hello
        rest = sorted(hello.peers), hello.archive, hello.keep, self._pages_stay()
        return self._channels, self._sizes(), self._versions(), self._dead_limits(), rest

    @property
    def _channels(self) -> frozenset[str]:
        return frozenset(setup.name for setup in self._hello.channels)

    def _sizes(self) -> dict[str, int]:
        return {setup.name: setup.pace.batch for setup in self._hello.channels if setup.pace is not None}

    def _versions(self) -> dict[str, AppVersions]:
        v2 = {setup.name: setup.android_v2 for setup in self._hello.channels}
        return {name: version_bounds(bounds) for name, bounds in v2.items() if isinstance(bounds, str)}

    def _dead_limits(self) -> dict[str, float]:
        return {setup.name: setup.dead_limit for setup in self._hello.channels}

    def supervisor(self) -> Supervisor:
        """Batcher first: if it restarts, so do the walkers, because it had their pages in hand."""
        children = [
            ChildSpec("batcher", self._batcher, shutdown=self._hello.drain),
            ChildSpec("walker", self._walker, shutdown=self._hello.drain),
        ]
        if self._hello.reports:
            children += [ChildSpec("shepherd", self._shepherd), ChildSpec("dead-judge", self._judge)]
            if self._hello.archive is not None:
                children.append(ChildSpec("archivist", self._archivist))
        return Supervisor("campaigns", children, strategy=REST_FOR_ONE, intensity=BUGS, observe=observe)

    def _tubes(self, where: str = "queue") -> Tubes:
        # walkers give back their own batons at a restart, so they take them under a name of their own
        return Tubes(self._link, f"{self._hello.worker}/walker", where)

    def _batcher(self) -> Actor:
        self._intake, self._pages = trio.open_memory_channel[Page](PAGES_IN_HAND)
        return Batcher(
            tubes=self._tubes(),
            pages=self._pages,
            intake=self._intake,
            channels=self._channels,
            sizes=self._sizes(),
            clock=self._clock,
        )

    def _walker(self) -> Actor:
        return Walker(
            node=self._hello.node,
            tubes=self._tubes(),
            ring={name: self._tubes(f"peer:{name}") for name in ring(self._hello.node, self._hello.peers)},
            channels=self._channels,
            store=self._store,
            cache=self._cache,
            pages=self._intake.clone(),
            clock=self._clock,
            figures=self.figures,
            versions=self._versions(),
            keep=self._pages_stay(),
        )

    def _pages_stay(self) -> bool:
        """Whether pages need not leave Tarantool: one instance is store and queue, and no batch is cut smaller here."""
        hello = self._hello
        one = hello.store.uri == hello.queue.uri and not hello.store.others and hello.replica is None
        return one and all(setup.pace is None for setup in hello.channels)

    def _judge(self) -> Actor:
        return DeadJudge(store=self._store, limits=self._dead_limits(), clock=self._clock)

    def _archivist(self) -> Actor:
        assert self._hello.archive is not None
        return Archivist(
            node=self._hello.node,
            store=self._store,
            folder=Path(self._hello.archive),
            keep=self._hello.keep,
            clock=self._clock,
        )

    def _shepherd(self) -> Actor:
        return Shepherd(
            node=self._hello.node, tubes=self._tubes(), store=self._store, cache=self._cache, clock=self._clock
        )


def endpoints(
    store: wire.TarantoolLogin,
    queue: wire.TarantoolLogin,
    peers: dict[str, wire.TarantoolLogin],
    replica: wire.TarantoolLogin | None = None,
) -> dict[str, Endpoint]:
    """The link's endpoints: ``store``, ``queue``, ``peer:NAME``, and ``replica`` if the store has a read replica."""
    servers = {"store": store, "queue": queue, **{f"peer:{name}": server for name, server in peers.items()}}
    if replica is not None:
        servers["replica"] = replica
    return {
        name: Endpoint(server.uri, server.user, server.password, server.others, "store.writable")
        for name, server in servers.items()
    }


def ring(node: str, peers: Iterable[str]) -> list[str]:
    """The peers in the order of the ring: by name, from the one after ``node`` on."""
    return sorted(peers, key=lambda name: (name < node, name))


def worker_tree(
    hello: wire.Hello,
    *,
    tokens: TokenHolder,
    clock: Clock = wall_clock,
) -> WorkerTree:
    """Build a worker's whole tree. ``tokens``: the node's provider tokens, which each new transport uses."""
    link = Link(
        endpoints(hello.store, hello.queue, hello.peers, hello.replica),
        greetings={"queue": ("tubes.identify", hello.worker)},
    )
    store = Store(link, replica=None if hello.replica is None else "replica")
    tubes = Tubes(link, hello.worker)
    cache = CampaignCache(store)
    permit = Permit(hello.permit.stopped, hello.permit.until)

    def group(setup: wire.ChannelSetup, limiter: Limiter | None) -> ChannelGroup:
        return ChannelGroup(
            setup,
            tubes=tubes,
            cache=cache,
            clock=clock,
            limiter=limiter,
            tokens=tokens,
            drain=hello.drain,
            ask=asking(store, setup.name, clock),
            find=finding(store, setup.name),
            permit=permit,
        )

    campaigns = CampaignGroup(hello, link=link, store=store, cache=cache, clock=clock)
    reporter = lambda: Reporter(node=hello.node, tubes=tubes, store=store, clock=clock)  # noqa: E731
    deliveries = Deliveries(hello, group, reporter if hello.reports else None)

    supervisor = WorkerSupervisor(
        hello.worker,
        [
            ChildSpec("link", lambda: link),
            # at a stop neither waits for the other: the walk, as the source, stops first, then all channels at once
            ChildSpec("delivery", deliveries.supervisor, shutdown=hello.drain, together=True),
            ChildSpec("campaigns", campaigns.supervisor, shutdown=hello.drain, together=True),
        ],
        farewell=tubes.stopping,
    )
    return WorkerTree(supervisor, deliveries, permit, campaigns, link, store)
