"""The node: one server's supervised process group, from its start to an orderly end."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import structlog
import trio

from actors.membership import Membership
from actors.pacer import Pacer
from actors.scheduler import Scheduler
from broadside import logs, wire
from broadside.access.audit import Audit
from broadside.access.keyring import Holder, Keyring
from broadside.access.sessions import Sessions
from broadside.api.alarm import Alarm
from broadside.config.config import Channel, Config
from broadside.config.difference import Difference
from broadside.config.http import Http
from broadside.config.put_channels import PutChannels, Tables
from broadside.console.console import Console, Probes, contained, tls_of
from broadside.console.kept_answers import KeptAnswers
from broadside.console.metrics import NodeFigures
from broadside.datafolder import DataFolder, NodeInfo
from broadside.errors import ConfigError, Problem
from broadside.newsroom.alarms import Setbacks, log_alarms, worker_alarms
from broadside.newsroom.certificates.certificate_desk import KeyKeeper
from broadside.newsroom.channel_desk import ChannelDesk, Edit
from broadside.newsroom.drills.drill_desk import DrillKeeper
from broadside.newsroom.guards.canary_desk import stopped_alarms
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.starts import missed_alarms
from broadside.newsroom.stories.story_keeper import channel_alarms
from broadside.node import processes
from broadside.node.channel_setups import ChannelSetups
from broadside.node.drill_twins import DrillTwins
from broadside.node.front_desk import FrontDesk, Surroundings
from broadside.node.learning import Learning
from broadside.node.node_figures import node_figures, process_status
from broadside.node.own_state import OwnState
from broadside.node.quotas import Allowance
from broadside.node.reload import Anew, compared, read_anew
from broadside.node.spare_worker import SpareWorker
from broadside.node.tarantools import Tarantools, logins
from broadside.shared_tokens import TokenMaker
from broadside.topology import endpoints
from campaigns.channel_state import ChannelState, worst
from campaigns.clock import wall_clock
from simulators import twins
from storage.access import AccessStore
from storage.errors import AdminRefused
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
    NotRunning,
    Parking,
    SupervisionEvent,
    Supervisor,
)

log = structlog.get_logger(__name__)

JOIN = 600.0
"""Seconds: a store that is another server may still be loading a large base."""
WORKER_STOP = 5.0
"""Seconds on top of the time that the worker's process object allows."""
CONSOLE_STOP = 7.0
"""Seconds: more than the 5 of the HTTP server inside."""
ITSELF = Holder("system", "configuration", "operator")
"""In whose name a reload is in the audit."""


class Node:
    """One node and all its processes. ``run`` returns after `stop`, or raises StartFailed."""

    def __init__(self, config: Config, folder: DataFolder) -> None:
        self._config = config
        self._folder = folder
        self._put = PutChannels(folder.root)
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
        setups = ChannelSetups(config, self._twins)
        self._stamped: list[wire.ChannelSetup] = []
        """What the channels were built from last."""
        self._link = Link(endpoints(self._tarantools.store(), self._tarantools.queue(), peers))
        self._tubes = Tubes(self._link, "node")
        self._store_verbs = Store(self._link)
        self._tokens = TokenMaker(setups.transports, self._tell)
        self.url = ""
        self._learning = Learning(
            node=config.node.name,
            store=self._store_verbs.forecasts,
            workers=self._workers,
            channels=setups.weights,
            drills=self._drills.names,
            states=self._states,
        )
        self._key = folder.key()
        store = AccessStore(self._link)
        self._keyring = Keyring(store, config.node.name, lambda: self._key, self._renew_key)
        self._sessions = Sessions(store, self._keyring)
        self._audit = Audit(store, config.node.name)
        self._socket = folder.root
        self._setbacks = Setbacks("the HTTP API")
        self._tls: ssl.SSLContext | None = None
        self._ready = False
        self._reloading = trio.Lock()
        self._own_state = OwnState(
            workers=self._workers,
            platforms={name: channel.platform for name, channel in config.channels.items()},
            quotas=lambda: self.allowances,
            tree=lambda: self.tree.snapshot(),
            ready=self._serving,
            count=lambda: self.newsroom.tubes.status(),
        )
        recovery = self._tarantools.recovery
        self._around = Surroundings(
            folder=folder,
            link=self._link,
            store=self._store_verbs,
            tubes=self._tubes,
            keyring=self._keyring,
            sessions=self._sessions,
            audit=self._audit,
            kept=KeptAnswers(),
            own_state=self._own_state,
            states=self._states,
            standing=lambda: self._dead,
            ready=self._serving,
            status=self._status,
            figures=self._figures,
            alarms=self._alarms,
            recovery=str if recovery is None else recovery.told,
            probe=self._probe,
            channels=ChannelDesk(self._put, lambda: self._config, self.change_channels),
            url=lambda: self.url,
        )
        self._desk = FrontDesk(config, setups, self._around, list(peers))
        self.tree = Supervisor(
            config.node.name,
            self._children(),
            intensity=Intensity(config.supervision.restarts, config.supervision.period),
            observe=self._observe,
        )

    @property
    def newsroom(self) -> Newsroom:
        """The operations that editors and operators ask for."""
        return self._desk.newsroom

    @property
    def allowances(self) -> dict[str, Allowance]:
        """Channel → how fast it may send."""
        return self._desk.setups.allowances

    async def run(self, ready: Callable[[], None]) -> None:
        """Run until stopped. ``ready`` is called once the whole tree is up."""

        def up() -> None:
            self._ready = True
            self._stamped = self._desk.setups.all()
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
                    lambda: processes.tarantool(embedded, recovery, self._tarantools.up, self._environment),
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
        children += [self._outward(name) for name in self._desk.outward.actors()]
        if self._config.drill is not None:
            children.append(ChildSpec("drills", lambda: DrillKeeper(self.newsroom.drills, self._measure)))
        # a mistake about a story ends no node: pushes go on
        stories = lambda: Parking("stories", lambda _: self.newsroom.story_keeper, observe=self._observe)  # noqa: E731
        children.append(ChildSpec("stories", stories))
        children.append(ChildSpec("certificate-key", lambda: KeyKeeper(self.newsroom.certificates)))
        if self._config.supervision.spare:
            children.append(ChildSpec("spare-worker", lambda: self._spare))
        return children

    def _outward(self, name: str) -> ChildSpec:
        # the same object for all its incarnations: it keeps what it knows
        return ChildSpec(name, lambda: self._desk.outward.actors()[name])

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
        self._desk.learn_checks()
        return self._desk.scheduler

    def _pacer(self) -> Pacer:
        node = self._config.node.name
        return Pacer(node=node, tubes=self._tubes, store=self._store_verbs, clock=wall_clock)

    def _console(self) -> Console:
        http = self._config.http
        host, port = http.address
        self._tls = tls_of(http)
        self._desk.learn_checks()
        return Console(
            self._answer,
            host,
            port,
            self._socket,
            tls=self._tls,
            hosts=http.clients,
            probes=None if http.metrics_address is None else Probes(self._probes, *http.metrics_address),
            bound=self._bound,
            closing=self._folder.forget_node,
        )

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        await self._desk.app(scope, receive, send)

    async def _probes(self, scope: Any, receive: Any, send: Any) -> None:
        await self._desk.probes(scope, receive, send)

    def _renew_key(self) -> None:
        self._key = self._folder.renew_key()

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

    # -- a reload --------------------------------------------------------------------------------------------------

    async def reload(self) -> Difference:
        """Read the configuration anew, and take up what can be taken up. Returns what has changed.

        No push is lost or repeated, and channels that stay as they are are not disturbed. Raises ``ConfigError``, and
        then nothing has changed.
        """
        async with self._reloading:
            found = await self._change(await read_anew(self._config, self._put))
            told = {"changed": found.live, "waits": found.later}
            await self._audit.record(ITSELF, "reload", self._config.node.name, 200, told)
            return found

    async def change_channels(self, edit: Edit) -> list[str]:
        """Change the channels that were put by the API, and return what has changed, as lines.

        As a reload, but the file is not read. Raises ``ConfigError`` and what ``edit`` raises, and then nothing has
        changed.
        """
        async with self._reloading:
            before = self._put.read()
            after = edit(before)
            files = {name: each for name, each in self._config.channels.items() if name not in before}
            own = msgspec.structs.replace(self._config, channels=files)
            new = await trio.to_thread.run_sync(self._put.merged, own, after)
            return (await self._change(new, partial(self._keep, after))).live

    async def _change(self, new: Config, keep: Callable[[], None] | None = None) -> Difference:
        """Take up what can be, once ``keep`` has made it last. With it, everything must."""
        anew = await compared(self._config, new, self._twins, self._waits, self._store_verbs)
        found = anew.found._replace(live=[*anew.found.live, *self._renewed(anew)])
        if keep is not None and found.later:
            remedy = "simulators start with the node: write the channel into broadside.toml, and restart the node"
            key = found.later[0].partition(":")[0]
            raise ConfigError([Problem(key, "needs a simulator of its platform, and none runs", remedy)])
        if keep is not None and not found.live:
            return found
        try:
            await trio.to_thread.run_sync(self._tarantools.serve, found.config)
        except (OSError, AdminRefused) as error:
            problem = Problem("channels", f"their tubes cannot be made: {error}", "is the node's Tarantool up?")
            raise ConfigError([problem]) from None
        if keep is not None:
            await trio.to_thread.run_sync(keep)
        await self._take_up(found.config, anew.setups)
        return found

    def _keep(self, tables: Tables) -> None:
        try:
            self._put.write(tables)
        except OSError as error:
            what = f"cannot be written: {error.strerror}"
            raise ConfigError([Problem(str(self._put.path), what, "make room on its disk")]) from None

    def _waits(self, channel: Channel) -> bool:
        """Whether a channel needs a simulator that does not run."""
        return (channel.twin and channel.platform not in self._twins) or (
            self._config.drill is not None
            and channel.platform in twins.names()
            and channel.platform not in self._drills.twins
        )

    def _renewed(self, anew: Anew) -> list[str]:
        """Whose keys or passwords have changed although their files have the same names, as lines."""
        before, peers = {setup.name: setup.stamp for setup in self._stamped}, logins(anew.config)
        keys = [each.name for each in anew.setups.all() if before.get(each.name, each.stamp) != each.stamp]
        passwords = [name for name, login in self._peers.items() if peers.get(name, login).password != login.password]
        return [
            *(f"channels.{name}.credentials: what the files hold" for name in keys),
            *(f"peers.{name}: its password" for name in passwords),
        ]

    async def _take_up(self, config: Config, setups: ChannelSetups) -> None:
        before = self._config
        self._config = config
        self._tarantools.change(config)
        self._peers = self._tarantools.peers()
        self._link.change(endpoints(self._tarantools.store(), self._tarantools.queue(), self._peers))
        outward = set(self._desk.outward.actors())
        self._stamped = setups.all()
        with suppress(NotRunning):  # the node stops
            await self._change_twins(config)
            self._desk = FrontDesk(config, setups, self._around, list(self._peers))
            self._desk.learn_checks()
            self._tokens.change(setups.transports())
            self._own_state.serve({name: channel.platform for name, channel in config.channels.items()})
            self._learning.serve(setups.weights)
            if before.tubes != config.tubes:  # the store hears of it
                await self._again("membership")
            async with trio.open_nursery() as nursery:
                for worker in self._workers:
                    nursery.start_soon(worker.reload, partial(self._hello, worker.name))
            for name in ("scheduler", "stories", "certificate-key", *(["drills"] if config.drill is not None else [])):
                await self._again(name)
            for name in outward | set(self._desk.outward.actors()):
                await self._replace_outward(name, known=name in outward)
        if self._tls is not None:
            _load_certificate(self._tls, config.http)

    async def _change_twins(self, config: Config) -> None:
        """Make new apps known to the simulators: each keeps its port, and answers what is on its way."""
        changed = self._drills.change(config.drills)
        for platform, twin in self._twins.items():
            apps = [each.app for each in config.channels.values() if each.twin and each.platform == platform]
            if not set(apps) <= set(twin.apps):
                twin.apps = apps
                changed.append(twin.name)
        for name in changed:
            await self._again(name)

    async def _again(self, name: str) -> None:
        await self.tree.terminate_child(name)
        await self.tree.restart_child(name)

    async def _replace_outward(self, name: str, *, known: bool) -> None:
        if known:
            await self.tree.terminate_child(name)
            await self.tree.delete_child(name)
        if name in self._desk.outward.actors():
            await self.tree.start_child(self._outward(name))

    # -- what the children get -------------------------------------------------------------------------------------

    def _hello(self, worker: str) -> wire.Hello:
        return wire.Hello(
            node=self._config.node.name,
            worker=f"{self._config.node.name}/{worker}",
            store=self._tarantools.store(),
            queue=self._tarantools.queue(),
            peers=self._peers,
            replica=self._tarantools.replica(),
            channels=[*self._desk.setups.all(), *self._drill_setups()],
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
            await self._again(name)

    def check_channels(self) -> None:
        """See ``ChannelSetups.check``."""
        self._desk.setups.check()

    # -- what people see -------------------------------------------------------------------------------------------

    def _alarms(self) -> list[Alarm]:
        missed = missed_alarms(self._desk.scheduler.missed, self._config.newsroom.zone)
        workers = worker_alarms({worker.name: worker.serving for worker in self._workers})
        refused = self.newsroom.refused_lines.alarms()
        ours = [
            *self.newsroom.drills.alarms(),
            *channel_alarms(self.newsroom.stories.places),
            *self._desk.outward.alarms(),
            *self._setbacks.alarms(),
            *log_alarms(logs.troubles()),
        ]
        return [*missed, *stopped_alarms(self._desk.scheduler.stopped), *refused, *ours, *workers]

    def _states(self) -> list[ChannelState]:
        """Why this node's channels stand still: per channel the worst reason that any worker reports."""
        live = [worker.stats for worker in self._workers if worker.stats is not None and worker.pid is not None]
        return list(worst(state for stats in live for state in stats.states).values())

    def _serving(self) -> bool:
        """Whether a campaign can be fired now: not while a Tarantool or all workers are away."""
        connected = self._link.connected("store") and self._link.connected("queue")
        return self._ready and connected and any(worker.serving for worker in self._workers)

    def _figures(self) -> NodeFigures:
        name = self._config.node.name
        return node_figures(name, self._workers, self._config.channels, ready=self._serving())

    def _status(self) -> dict[str, Any]:
        return {
            "node": self._config.node.name,
            **process_status(self._workers),
            "ready": self._serving(),
            "paused": {state.channel: state.sentence for state in self._states()},
            "quotas": {name: allowance.text for name, allowance in self.allowances.items()},
            "twins": {name: {"origin": t.origin, "ledger": str(t.ledger)} for name, t in self._twins.items()},
            "tree": self.tree.snapshot(),
        }

    async def login_link(self) -> str:
        """Make a link that logs one browser in, within ten minutes (raises ``StorageError``)."""
        return (await self._sessions.link(self._keyring.here, self.url)).url

    @property
    def tarantool(self) -> str:
        """The node's own Tarantool in words: version, support, tubes; empty: it runs none."""
        return self._tarantools.told

    @property
    def twins(self) -> list[str]:
        """Platforms served by twins instead of their providers."""
        return list(self._twins)


def _load_certificate(context: ssl.SSLContext, http: Http) -> None:
    """Let new connections have the certificate that the file holds now."""
    if http.certificate is not None and http.private_key is not None:
        context.load_cert_chain(http.certificate, http.private_key)
