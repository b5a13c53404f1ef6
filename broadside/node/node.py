"""The node: one server's supervised process group, from its start to an orderly end."""

from __future__ import annotations

import math
import os
import resource
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

from actors.membership import Membership
from actors.pacer import Pacer
from actors.scheduler import Scheduler
from broadside import logs, wire
from broadside.access.audit import Audit
from broadside.access.keyring import Keyring
from broadside.access.sessions import Sessions
from broadside.api.alarm import Alarm
from broadside.api.token_rules import DeviceTokens
from broadside.config.config import Channel, Config
from broadside.config.http import Http
from broadside.console.access_routes import Access
from broadside.console.admission import Admission
from broadside.console.console import Console, Probes, contained
from broadside.console.host_names import HostNames
from broadside.console.metrics import Metrics, NodeFigures, WorkerFigures
from broadside.console.routes import Api
from broadside.datafolder import DataFolder, NodeInfo
from broadside.errors import ConfigError, Problem
from broadside.machine_limits import peak_memory
from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.alarms import Setbacks, log_alarms, worker_alarms
from broadside.newsroom.certificates.certificate_desk import KeyKeeper
from broadside.newsroom.drills.drill_desk import DrillKeeper
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.guards.canary_desk import stopped_alarms
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.quiet_policy import Quiet
from broadside.newsroom.ring import Ring
from broadside.newsroom.starts import missed_alarms
from broadside.node import processes
from broadside.node.drill_twins import DrillTwins
from broadside.node.learning import Learning
from broadside.node.own_state import OwnState
from broadside.node.quotas import Allowance, allowances
from broadside.node.spare_worker import SpareWorker
from broadside.node.tarantools import Tarantools
from broadside.outward.outward import Outward
from broadside.pages.pages import Pages
from broadside.release import version
from broadside.shared_tokens import TokenMaker
from broadside.topology import build_transport, endpoints
from campaigns.channel_figures import ChannelFigures
from campaigns.channel_state import ChannelState, worst
from campaigns.clock import wall_clock
from storage.access import AccessStore
from storage.link import Link
from storage.records import DeadStanding
from storage.store import Store
from storage.tubes import Tubes
from supervision import (
    Actor,
    ChildSpec,
    ChildStartFailed,
    Escalated,
    Intensity,
    SupervisionEvent,
    Supervisor,
)
from transports import registry
from transports.contract import Quota, Transport
from transports.errors import TransportError
from transports.load import NO_LOAD, Load

log = structlog.get_logger(__name__)

JOIN = 600.0
"""Seconds: a store that is another server may still be loading a large base."""
WORKER_STOP = 5.0
"""Seconds on top of the time that the worker's process object allows."""
CONSOLE_STOP = 7.0
"""Seconds: more than the 5 of the HTTP server inside."""


class Node:
    """One node and all its processes. ``run`` returns after `stop`, or raises StartFailed."""

    def __init__(self, config: Config, folder: DataFolder) -> None:
        self._config = config
        self._folder = folder
        secret = config.secret_variables()
        self._environment = {name: value for name, value in os.environ.items() if name not in secret}
        """The child processes' environment: passwords reach them in the handshake, if they need them at all."""
        self._tarantools = Tarantools(config, folder)
        self._twins = {
            platform: processes.TwinState(
                platform,
                [channel.app for channel in config.channels.values() if channel.twin and channel.platform == platform],
                folder.twins,
            )
            for platform in sorted({channel.platform for channel in config.channels.values() if channel.twin})
        }
        self._drills = DrillTwins(config.drills, folder.twins / "drill")
        self._workers = [processes.WorkerState(f"worker-{n + 1}") for n in range(config.node.workers)]
        self._spare = SpareWorker((each.platform for each in config.channels.values()), self._environment)
        peers = self._peers = self._tarantools.peers()
        self._dead: list[DeadStanding] = []
        self._permit = wire.SendingPermit()
        self.allowances = self._shared_out({})
        """Channel → how fast it may send; the providers' quotas are included after `check_channels`."""
        self._link = Link(endpoints(self._tarantools.store(), self._tarantools.queue(), peers))
        self._tubes = Tubes(self._link, "node")
        self._store_verbs = Store(self._link)
        self._checks: dict[str, Callable[..., None]] = {}
        self._renderers: dict[str, Callable[..., Any]] = {}
        self._transports: dict[str, Transport] = {}
        self._tokens = TokenMaker(self._built, self._tell)
        self.url = ""
        self._outward = Outward(
            self._store_verbs,
            config.node.name,
            herd=config.herd,
            hooks=config.hooks,
            webhooks=config.webhooks,
            link_hosts=config.newsroom.link_hosts,
            proxy=config.proxy,
        )
        self.newsroom = Newsroom(
            store=self._store_verbs,
            tubes=self._tubes,
            checks=self._checks,
            node=config.node.name,
            states=self._states,
            standing=lambda: self._dead,
            # a segment for each walker of the ring, and at least two, so that one slow page does not delay everything
            segments=max(2, (1 + len(peers)) * config.node.workers),
            peers=[Tubes(self._link, "node", f"peer:{name}") for name in peers],
            neighbours={name: Tubes(self._link, "node", f"peer:{name}") for name in peers},
            archive=folder.archive,
            drill=config.drill,
            zone=config.newsroom.zone,
            quiet=Quiet(
                config.newsroom.quiet_hours,
                {name: channel.zone or config.newsroom.zone for name, channel in config.channels.items()},
                frozenset(
                    name
                    for name, channel in config.channels.items()
                    if registry.load(channel.platform).can_be_asleep(channel.quiet_channel)
                ),
            ),
            device_tokens=DeviceTokens({name: channel.platform for name, channel in config.channels.items()}),
            kinds=config.kinds,
            guards=config.guards,
            link_hosts=config.newsroom.link_hosts,
            renderers=self._renderers,
            ring=Ring(store=self._store_verbs, node=config.node.name, own=lambda: self._own_state.state(False)),
            outward=self._outward,
            proxy=config.proxy,
            dry_run=DryRun(
                platforms={name: channel.platform for name, channel in config.channels.items()},
                open=lambda name: build_transport(self._setup(name, config.channels[name])),
                by_version={name for name, channel in config.channels.items() if isinstance(channel.android_v2, str)},
            ),
        )
        self._scheduler = Scheduler(
            store=self._store_verbs, start=self.newsroom.start, warm=self._warm, canaries=self.newsroom.canaries.look
        )
        self._learning = Learning(
            node=config.node.name,
            store=self._store_verbs.forecasts,
            workers=self._workers,
            channels=list(config.channels),
            states=self._states,
        )
        self._key = folder.key()
        store = AccessStore(self._link)
        self._keyring = Keyring(store, config.node.name, lambda: self._key, self._renew_key)
        self._sessions = Sessions(store, self._keyring)
        self._audit = Audit(store, config.node.name)
        self._socket = folder.root
        self._setbacks = Setbacks("the HTTP API")
        self._ready = False
        self._own_state = OwnState(
            workers=self._workers,
            platforms={name: channel.platform for name, channel in config.channels.items()},
            quotas=lambda: self.allowances,
            tree=lambda: self.tree.snapshot(),
            ready=self._serving,
            count=self.newsroom.tubes.status,
        )
        self.tree = Supervisor(
            config.node.name,
            self._children(),
            intensity=Intensity(config.supervision.restarts, config.supervision.period),
            observe=self._observe,
        )

    async def run(self, ready: Callable[[], None]) -> None:
        """Run until stopped. ``ready`` is called once the whole tree is up."""

        def up() -> None:
            self._ready = True
            self._tell_where()
            ready()

        try:
            with self._folder.socket() as self._socket:
                await self.tree.run(up)
        finally:
            if self._tarantools.own is not None:
                self._tarantools.own.remove_runtime()

    def stop(self) -> None:
        """Drain and stop everything."""
        self._ready = False
        self.tree.stop()

    def _observe(self, event: SupervisionEvent) -> None:
        # the program reports a failed start once; here it only goes to the file
        logs.observe(event, quiet=not self._ready and isinstance(event, ChildStartFailed | Escalated))

    # -- the tree ------------------------------------------------------------------------------------------------

    def _children(self) -> list[ChildSpec]:
        children = []
        stop = self._config.node.drain + processes.STOP_MARGIN + processes.STOP_GRACE + WORKER_STOP
        embedded, recovery = self._tarantools.own, self._tarantools.recovery
        if embedded is not None and recovery is not None:
            children.append(
                ChildSpec(
                    "tarantool",
                    lambda: processes.tarantool(embedded, recovery, self._environment),
                    start_timeout=math.inf,  # it waits for room on its disk, and says so
                    shutdown=15.0,
                )
            )
        children += [
            ChildSpec(
                twin.name,
                partial(twin.process, self._environment),
                start_timeout=60.0,
                shutdown=10.0,
                together=True,
            )
            for twin in self._twins.values()
        ]
        children += [
            ChildSpec(
                twin.name,
                partial(self._drills.contained, twin, self._environment, self._observe),
                start_timeout=60.0,
                shutdown=10.0,
                together=True,
            )
            for twin in self._drills.twins.values()
        ]
        children.append(ChildSpec("link", lambda: self._link))
        children.append(ChildSpec("membership", self._membership, start_timeout=JOIN))
        children.append(ChildSpec("provider-tokens", lambda: self._tokens))
        children += [
            ChildSpec(worker.name, self._worker(worker), start_timeout=60.0, shutdown=stop, together=True)
            for worker in self._workers
        ]
        console = lambda: contained(self._console, self._setbacks, self._observe)  # noqa: E731
        # stopped together with the workers: an open connection of a reader does not keep the workers running
        children.append(ChildSpec("console", console, shutdown=CONSOLE_STOP, together=True))
        children.append(ChildSpec("scheduler", self._scheduling))
        children.append(ChildSpec("learning", lambda: self._learning))
        children.append(ChildSpec("pacer", self._pacer))
        for name, actor in self._outward.actors().items():
            children.append(ChildSpec(name, partial(_same, actor)))
        if self._config.drill is not None:
            children.append(ChildSpec("drills", lambda: DrillKeeper(self.newsroom.drills, self._measure)))
        children.append(ChildSpec("certificate-key", lambda: KeyKeeper(self.newsroom.certificates)))
        if self._config.supervision.spare:
            children.append(ChildSpec("spare-worker", lambda: self._spare))
        return children

    def _membership(self) -> Actor:
        name = self._config.node.name
        return Membership(
            node=name,
            channels=self._config.tubes,
            tubes=self._tubes,
            store=self._store_verbs,
            clock=wall_clock,
            sending=self._sending,
            hear=self._hear_of_the_dead,
            permit=self._permitted,
            states=self._states,
            describe=self._own_state.text,
        )

    async def _hear_of_the_dead(self, standings: list[DeadStanding]) -> None:
        """Inform the workers whenever a question is asked, withdrawn or answered, anywhere in the ring."""
        before, self._dead = self._dead_news(), standings
        news = self._dead_news()
        if news != before:
            async with trio.open_nursery() as nursery:
                for worker in self._workers:
                    nursery.start_soon(worker.tell, wire.DeadNews(news))

    async def _permitted(self, stopped: frozenset[int], until: float) -> None:
        """Tell the workers, with each heartbeat, what they may go on with."""
        permit = self._permit = wire.SendingPermit(sorted(stopped), until)
        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                nursery.start_soon(worker.tell, permit)

    def _dead_news(self) -> list[wire.RefusalState]:
        return [
            wire.RefusalState(each.campaign, each.channel, each.state) for each in self._dead if each.state != "asked"
        ]

    def _sending(self, since: float) -> frozenset[int] | None:
        running = [worker.stats for worker in self._workers if worker.pid is not None]
        if any(stats is None or stats.at <= since for stats in running):
            return None
        return frozenset(id for stats in running if stats is not None for id in stats.sending)

    def _worker(self, worker: processes.WorkerState) -> Callable[[], Actor]:
        drain, environment = self._config.node.drain, self._environment
        hello = partial(self._hello, worker.name)
        return lambda: processes.WorkerProcess(worker, hello, drain, environment, self._spare.take())

    def _scheduling(self) -> Scheduler:
        self._learn_checks()
        return self._scheduler

    def _pacer(self) -> Pacer:
        node = self._config.node.name
        return Pacer(node=node, tubes=self._tubes, store=self._store_verbs, clock=wall_clock)

    def _learn_checks(self) -> None:
        self._checks.update({name: transport.check for name, transport in self._built().items()})
        self._renderers.update({name: transport.preview for name, transport in self._built().items()})

    def _console(self) -> Console:
        self._learn_checks()
        ring = Ring(store=self._store_verbs, node=self._config.node.name, own=self._own_state.state)
        recovery = self._tarantools.recovery
        board = AlarmBoard(self.newsroom, ring, self._alarms, str if recovery is None else recovery.told)
        metrics = Metrics(self.newsroom, board, self._figures)
        http = self._config.http
        host, port = http.address
        hosts = HostNames(http.names)
        # two nodes on one host have one jar of cookies in a browser: the port keeps them apart
        prefix = "__Host-" if http.secure else ""
        admission = Admission(self._keyring, self._sessions, f"{prefix}broadside-{port}")
        access = Access(
            keyring=self._keyring,
            sessions=self._sessions,
            audit=self._audit,
            admission=admission,
            url=lambda: self.url,
            secure=http.secure,
        )
        api = Api(
            self.newsroom,
            ring,
            access,
            ready=self._serving,
            status=self._status,
            board=board,
            metrics=metrics,
            hosts=hosts,
            probe=self._probe,
        )
        return Console(
            Pages(api.app(), hosts),
            host,
            port,
            self._socket,
            tls=_tls(http),
            hosts=http.clients,
            probes=None if http.metrics_address is None else Probes(api.probes(), *http.metrics_address),
            bound=self._bound,
            closing=self._folder.forget_node,
        )

    def _renew_key(self) -> None:
        self._key = self._folder.renew_key()

    def _built(self) -> dict[str, Transport]:
        """Each channel's transport, built but never run: for its check of messages and its shared credential."""
        if not self._transports:  # called after the twins are up, when their credentials are known
            self._transports = {setup.name: build_transport(setup) for setup in self._setups()}
        return self._transports

    async def _tell(self, token: wire.SharedToken) -> None:
        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                nursery.start_soon(worker.tell, token)

    async def _probe(self) -> int:
        serving = [worker for worker in self._workers if worker.serving]
        async with trio.open_nursery() as nursery:
            for worker in serving:
                nursery.start_soon(worker.tell, wire.Probe())
        return len(serving)

    async def _warm(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._probe)
            nursery.start_soon(self.newsroom.warm)

    def _bound(self, url: str) -> None:
        self.url = url.rstrip("/")
        if self._ready:  # at the first start `up` writes the address, once the whole tree is up
            self._tell_where()

    def _tell_where(self) -> None:
        inside = self._socket.parent == self._folder.root
        info = NodeInfo(
            pid=os.getpid(),
            url=self.url,
            socket=self._socket.name if inside else str(self._socket),
            started=wall_clock(),
            name=self._config.node.name,
        )
        self._folder.write_node(info)

    # -- what the children get -------------------------------------------------------------------------------------

    def _hello(self, worker: str) -> wire.Hello:
        return wire.Hello(
            node=self._config.node.name,
            worker=f"{self._config.node.name}/{worker}",
            store=self._tarantools.store(),
            queue=self._tarantools.queue(),
            peers=self._peers,
            replica=self._tarantools.replica(),
            channels=[*self._setups(), *self._drill_setups()],
            reports=worker == self._workers[0].name,
            tokens=self._tokens.current(),
            drain=self._config.node.drain,
            archive=str(self._folder.archive.absolute()),
            keep=self._config.keep_ms,
            dead=self._dead_news(),
            permit=self._permit,
        )

    def _drill_setups(self) -> list[wire.ChannelSetup]:
        paces = {name: allowance.pace for name, allowance in self.allowances.items()}
        return self._drills.setups(self._config.node.workers, paces)

    async def _measure(self) -> None:
        """Let the simulators of drills answer as the providers were found to."""
        for name in self._drills.measured(self._learning.experience):
            await self.tree.terminate_child(name)
            await self.tree.restart_child(name)

    def _setups(self) -> list[wire.ChannelSetup]:
        return [self._setup(name, channel) for name, channel in self._config.channels.items()]

    def _setup(self, name: str, channel: Channel) -> wire.ChannelSetup:
        credentials, origin, ca = channel.credentials, channel.origin, channel.ca
        if channel.twin:
            twin = self._twins[channel.platform]
            credentials, origin, ca = twin.credentials, twin.origin, Path(twin.ca)
        return wire.ChannelSetup(
            name=name,
            platform=channel.platform,
            app=channel.app,
            credentials=credentials,
            origin=origin,
            ca=None if ca is None else str(ca),
            connections=max(1, channel.connections // self._config.node.workers),
            connect_every=float(self._config.node.workers),
            proxy=None if channel.twin else self._config.proxy,
            pace=self.allowances[name].pace,
            dead_limit=channel.dead_limit,
            warm_up=channel.warm_up,
            quiet_channel=channel.quiet_channel,
            android_v2=channel.android_v2,
            collapse_slots=channel.collapse_slots,
            devices=channel.devices,
        )

    def check_channels(self) -> None:
        """Build the transport of every channel with credentials (ConfigError for one that cannot be built).

        From then on their quotas are known.
        """
        quotas: dict[str, Quota | None] = {}
        for name, channel in self._config.channels.items():
            if channel.twin:
                continue
            try:
                quotas[name] = build_transport(self._setup(name, channel)).quota
            except TransportError as error:
                raise ConfigError([Problem(f"channels.{name}", str(error))]) from None
        self.allowances = self._shared_out(quotas)

    def _shared_out(self, quotas: dict[str, Quota | None]) -> dict[str, Allowance]:
        nodes = len(self._config.peers) + 1
        return allowances(self._config.channels, quotas, self._config.node.workers, nodes)

    # -- what people see -------------------------------------------------------------------------------------------

    def _alarms(self) -> list[Alarm]:
        missed = missed_alarms(self._scheduler.missed, self._config.newsroom.zone)
        workers = worker_alarms({worker.name: worker.serving for worker in self._workers})
        refused = self.newsroom.refused_lines.alarms()
        ours = [
            *self.newsroom.drills.alarms(),
            *self._outward.alarms(),
            *self._setbacks.alarms(),
            *log_alarms(logs.troubles()),
        ]
        return [*missed, *stopped_alarms(self._scheduler.stopped), *refused, *ours, *workers]

    def _states(self) -> list[ChannelState]:
        """Why this node's channels stand still: per channel the worst reason that any worker reports."""
        live = [worker.stats for worker in self._workers if worker.stats is not None and worker.pid is not None]
        return list(worst(state for stats in live for state in stats.states).values())

    def _serving(self) -> bool:
        """Whether a campaign can be fired now: not while a Tarantool or all workers are away."""
        connected = self._link.connected("store") and self._link.connected("queue")
        return self._ready and connected and any(worker.serving for worker in self._workers)

    def _figures(self) -> NodeFigures:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        channels: dict[str, ChannelFigures] = {name: ChannelFigures() for name in self._config.channels}
        loads: dict[str, Load] = {}
        workers = {}
        for worker in self._workers:
            counters, stats = worker.counters(), worker.stats
            for name, load in (stats.loads if stats and worker.pid is not None else {}).items():
                loads[name] = loads.get(name, NO_LOAD).plus(load)
            for name, figures in counters.channels.items():
                channels.setdefault(name, ChannelFigures()).add(figures)
            workers[worker.name] = WorkerFigures(
                serving=worker.serving,
                starts=worker.starts,
                cpu=counters.cpu,
                stages=counters.stages,
                rss=stats.rss if stats else 0,
                tasks=stats.tasks if stats else 0,
            )
        return NodeFigures(
            name=self._config.node.name,
            version=version(),
            ready=self._serving(),
            cpu=usage.ru_utime + usage.ru_stime,
            rss=peak_memory(),
            tasks=trio.lowlevel.current_statistics().tasks_living,
            workers=workers,
            channels=channels,
            loads=loads,
        )

    def _status(self) -> dict[str, Any]:
        return {
            "node": self._config.node.name,
            "pid": os.getpid(),
            "ready": self._serving(),
            "rss": peak_memory(),
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "workers": [
                {
                    "name": worker.name,
                    "pid": worker.pid,
                    "serving": worker.serving,
                    "rss": worker.stats.rss if worker.stats else None,
                    "connections": {
                        name: load._asdict() for name, load in (worker.stats.loads if worker.stats else {}).items()
                    },
                    "cpu": worker.stats.cpu if worker.stats else None,
                    "stages": worker.stats.stages if worker.stats else {},
                    "tasks": worker.stats.tasks if worker.stats else None,
                }
                for worker in self._workers
            ],
            "paused": {state.channel: state.sentence for state in self._states()},
            "quotas": {name: allowance.text for name, allowance in self.allowances.items()},
            "twins": {name: {"origin": t.origin, "ledger": str(t.ledger)} for name, t in self._twins.items()},
            "tree": self.tree.snapshot(),
        }

    async def login_link(self) -> str:
        """Make a link that logs one browser in, within ten minutes (raises ``StorageError``)."""
        return (await self._sessions.link(self._keyring.here, self.url)).url

    @property
    def twins(self) -> list[str]:
        """Platforms served by twins instead of their providers."""
        return list(self._twins)


def _same(actor: Actor) -> Actor:
    """An actor that keeps what it knows when it is started again."""
    return actor


def _tls(http: Http) -> ssl.SSLContext | None:
    """How the API is served by TLS (ConfigError if its files do not fit)."""
    if http.certificate is None or http.private_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(http.certificate, http.private_key)
    except (OSError, ssl.SSLError) as error:
        problem = Problem("http.certificate", f"cannot be used: {error}", "give a PEM file and the key that fits it")
        raise ConfigError([problem]) from None
    return context
