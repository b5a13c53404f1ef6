"""The part of a node that answers people: made of a configuration, and made anew when that is reloaded.

Requests under way go on with the desk that they began with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from starlette.applications import Starlette

from actors.scheduler import Scheduler
from broadside.access.audit import Audit
from broadside.access.keyring import Keyring
from broadside.access.sessions import Sessions
from broadside.api.alarm import Alarm
from broadside.api.token_rules import DeviceTokens
from broadside.config.config import Config
from broadside.config.http import Http
from broadside.console.access_routes import Access
from broadside.console.admission import Admission
from broadside.console.host_names import HostNames
from broadside.console.kept_answers import KeptAnswers
from broadside.console.metrics import Metrics, NodeFigures
from broadside.console.routes import Api
from broadside.datafolder import DataFolder
from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.channel_desk import ChannelDesk
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.quiet_policy import Quiet
from broadside.newsroom.ring import Ring
from broadside.node.channel_setups import ChannelSetups
from broadside.node.own_state import OwnState
from broadside.outward.outward import Outward
from broadside.pages.pages import Pages
from broadside.topology import build_transport
from campaigns.channel_state import ChannelState
from storage.link import Link
from storage.records import DeadStanding
from storage.store import Store
from storage.tubes import Tubes
from transports import registry
from transports.broadcasts import Broadcasting


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The parts of a node that every desk of it uses: they outlive a reload."""

    folder: DataFolder
    link: Link
    store: Store
    tubes: Tubes
    keyring: Keyring
    sessions: Sessions
    audit: Audit
    kept: KeptAnswers
    own_state: OwnState
    states: Callable[[], list[ChannelState]]
    standing: Callable[[], Sequence[DeadStanding]]
    ready: Callable[[], bool]
    status: Callable[[], dict[str, Any]]
    figures: Callable[[], NodeFigures]
    alarms: Callable[[], list[Alarm]]
    recovery: Callable[[], str]
    probe: Callable[[], Awaitable[int]]
    channels: ChannelDesk
    url: Callable[[], str]


class FrontDesk:
    """Everything of a node that editors and operators ask. ``peers``: the other nodes' names."""

    def __init__(self, config: Config, setups: ChannelSetups, around: Surroundings, peers: Sequence[str]) -> None:
        self.setups = setups
        self._config = config
        self._around = around
        name = config.node.name
        self._checks: dict[str, Callable[..., None]] = {}
        self._renderers: dict[str, Callable[..., Any]] = {}
        self._broadcasters: dict[str, Broadcasting] = {}
        self._apps: tuple[Pages, Starlette] | None = None
        self.outward = Outward(
            around.store,
            name,
            herd=config.herd,
            hooks=config.hooks,
            webhooks=config.webhooks,
            link_hosts=config.newsroom.link_hosts,
            delivery=setups.delivery(),
            zone=config.newsroom.zone,
            proxy=config.proxy,
        )
        self.newsroom = Newsroom(
            store=around.store,
            tubes=around.tubes,
            checks=self._checks,
            node=name,
            states=around.states,
            standing=around.standing,
            # a segment for each walker of the ring, and at least two, so that one slow page does not delay everything
            segments=max(2, (1 + len(peers)) * config.node.workers),
            peers=[Tubes(around.link, "node", f"peer:{peer}") for peer in peers],
            neighbours={peer: Tubes(around.link, "node", f"peer:{peer}") for peer in peers},
            archive=around.folder.archive,
            drill=config.drill,
            receipts=config.receipts,
            counted=around.folder.receipts,
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
            daily_limits={
                name: channel.daily_limit
                for name, channel in config.channels.items()
                if channel.daily_limit is not None
            },
            link_hosts=config.newsroom.link_hosts,
            renderers=self._renderers,
            ring=Ring(store=around.store, node=name, own=lambda: around.own_state.state(False)),
            outward=self.outward,
            proxy=config.proxy,
            broadcasters=self._broadcasters,
            dry_run=DryRun(
                platforms={name: channel.platform for name, channel in config.channels.items()},
                open=lambda name: build_transport(setups.setup(name)),
                by_version={name for name, channel in config.channels.items() if isinstance(channel.android_v2, str)},
            ),
        )
        self.scheduler = Scheduler(
            store=around.store, start=self.newsroom.start, warm=self._warm, canaries=self.newsroom.canaries.look
        )

    @property
    def app(self) -> Pages:
        """The API and the pages, for all doors."""
        return self._opened()[0]

    @property
    def probes(self) -> Starlette:
        """Figures and probes, for the door without a key."""
        return self._opened()[1]

    def learn_checks(self) -> None:
        """From now on messages can be checked and previewed. Call it once the twins are up."""
        transports = self.setups.transports()
        self._checks.update({name: transport.check for name, transport in transports.items()})
        self._renderers.update({name: transport.preview for name, transport in transports.items()})
        self._broadcasters.update({name: each for name, each in transports.items() if isinstance(each, Broadcasting)})

    async def _warm(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._around.probe)
            nursery.start_soon(self.newsroom.warm)

    def _opened(self) -> tuple[Pages, Starlette]:
        if self._apps is None:
            self.learn_checks()
            around, http = self._around, self._config.http
            ring = Ring(store=around.store, node=self._config.node.name, own=around.own_state.state)
            board = AlarmBoard(self.newsroom, ring, around.alarms, around.recovery)
            hosts = HostNames(http.names)
            api = Api(
                self.newsroom,
                ring,
                self._access(http),
                ready=around.ready,
                status=around.status,
                board=board,
                metrics=Metrics(self.newsroom, board, around.figures),
                hosts=hosts,
                probe=around.probe,
                channels=around.channels,
                kept=around.kept,
            )
            self._apps = Pages(api.app(), hosts), api.probes()
        return self._apps

    def _access(self, http: Http) -> Access:
        around = self._around
        # two nodes on one host have one jar of cookies in a browser: the port keeps them apart
        prefix = "__Host-" if http.secure else ""
        admission = Admission(around.keyring, around.sessions, f"{prefix}broadside-{http.address[1]}")
        return Access(
            keyring=around.keyring,
            sessions=around.sessions,
            audit=around.audit,
            admission=admission,
            url=around.url,
            secure=http.secure,
        )
