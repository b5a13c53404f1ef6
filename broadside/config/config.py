"""Reads ``broadside.toml`` strictly, into frozen records.

Every mistake becomes one line naming the key, the value and the remedy, and all mistakes are reported at once. Paths
are relative to the file's own folder. Secrets are in files or environment variables, never in the configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from broadside import machine_users
from broadside.config import strict_toml
from broadside.config.drills import DrillChannel, DrillConfig, read_drill
from broadside.config.guard_table import read_guards
from broadside.config.http import HOST_PATTERN, HTTP_REMEDIES, Http, checked_http
from broadside.config.kinds import check_hours, read_kinds
from broadside.config.network import read_proxy
from broadside.config.outward_tables import HerdConfig, Hook, Webhook, read_herd, read_hooks, read_webhooks
from broadside.config.receipt_table import read_receipts
from broadside.config.tarantool import (
    KEEP_DAYS,
    MODULES,
    NAME,
    NAME_RULE,
    OwnQueue,
    Peer,
    ServerConfig,
    StoreConfig,
    check_peers_may_come,
    read_keep,
    read_module,
    read_peers,
    read_queue,
    read_server,
)
from broadside.errors import ConfigError, shown
from broadside.machine_limits import GB, cores, memory
from campaigns.drill import drill_channel, is_drill_channel
from campaigns.guards import Guards
from campaigns.kind import BUILT_IN, Kind
from campaigns.quiet_hours import QuietHours, read_hours, zones_known
from campaigns.receipt import Receipts
from campaigns.where import version_bounds
from simulators import twins
from transports import registry
from transports.contract import DELIVERY_EXPIRES, ENVIRONMENT, CredentialField, Platform
from transports.proxy import Proxy

DEFAULT_FILE = "broadside.toml"
"""The file to read from the current folder if none is named."""
CONNECTIONS = 32
"""Default of the most connections of a node to a channel's provider, each with at most 1,000 pushes under way. They are
opened as they are needed, by what the provider's windows and answers let through; each takes some 7 MB."""

SLOT = r"^[A-Za-z0-9_-]{1,32}\Z"
PUSH_SERVICE = r"^(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?\Z"
"""A collapse slot's name. The shortest field that it must fit is Web Push's Topic."""

_SIZE = r"^\d{1,6}(\.\d{1,3})? ?[MG]B$"


def default_memory() -> str:
    """Return 1 GB, or half of what there is: the workers need some too."""
    return "1 GB" if memory()[0] >= 2 * GB else f"{max(64, memory()[0] >> 21)} MB"


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[node]``: this server."""

    name: str = "node-1"
    data: Path = Path("var")
    """The data folder; absolute once loaded."""
    logs: Path | None = None
    """The folder of its logs, absolute once loaded; None: see ``log_folder``."""
    workers: Annotated[int, Meta(ge=1, le=256)] = msgspec.field(default_factory=cores)
    """OS processes that send, each with a tree and connections of its own."""
    memory: Annotated[str, Meta(pattern=_SIZE)] = msgspec.field(default_factory=default_memory)
    """Memory that the node's own Tarantool may use for data; at least 64 MB. 1 GB is 1024 MB."""

    trust_file_modes: bool = False
    """Whether the files of secrets may be open to every user: something else keeps others away from them."""

    drain: Annotated[float, Meta(ge=1, le=3600)] = 25.0
    """Seconds in which a stop settles the batches in hand, whatever the number of channels and workers."""

    @property
    def log_folder(self) -> Path | None:
        """``logs``, or the folder that systemd names; None: the data folder's own."""
        named = os.environ.get("LOGS_DIRECTORY")
        return self.logs or (Path(named) if named else None)

    @property
    def memory_bytes(self) -> int:
        """``memory`` in bytes."""
        return round(float(self.memory[:-2]) * (1 << (30 if self.memory.endswith("GB") else 20)))


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """``[channels.NAME]``: one app on one platform, with one credential."""

    platform: str
    app: str
    """The app's id at the provider, in the platform's form."""
    credentials: dict[str, str] = {}
    """The platform's keys; file names are absolute once loaded."""
    twin: bool = False
    """Instead of credentials: pushes go to a simulator of the provider, which the node runs itself."""
    rate: Annotated[float, Meta(gt=0)] | None = None
    """At most this many pushes a second, over all workers and nodes; None: the provider's own quota."""
    dead_limit: Annotated[float, Meta(gt=0, le=1)] = 0.2
    """If more than this share of a campaign's phones is refused, a person is asked before any is deleted; 1: never."""
    daily_limit: Annotated[int, Meta(ge=1, le=50)] | None = None
    """Campaigns a day that its provider shows a phone: before one more a person is asked. None: nobody counts."""
    connections: Annotated[int, Meta(ge=1, le=1024)] = CONNECTIONS
    """The most connections of this node to the provider; each worker has its share, and at least one."""
    warm_up: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    """Token of the newsroom's own device, to which each new connection first sends a push that nobody sees."""
    quiet_channel: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    """Android: the app's own notification channel without sound, for pushes that are asleep."""
    android_v2: bool | str = False
    """Android: send Google's second form of messages; a text: only to apps of these versions (``>=5.0``)."""
    collapse_slots: Annotated[tuple[Annotated[str, Meta(pattern=SLOT)], ...], Meta(max_length=4)] = ()
    """Android: the slots in which an editor may let a push replace an earlier one. FCM keeps four for each device."""
    devices: tuple[str, ...] = ()
    """The kinds of devices that its app is on, so that nothing is sent for others; empty: all that its platform has."""
    push_services: Annotated[tuple[Annotated[str, Meta(pattern=PUSH_SERVICE)], ...], Meta(max_length=100)] = ()
    """Browsers: the hosts that pushes may go to, as each subscription names its own; empty: those of all browsers."""
    broadcast_origin: str | None = None
    """Apple: ``https://host:port`` that broadcasts of stories go to; None: where pushes go."""
    manage_origin: str | None = None
    """Apple: ``https://host:port`` where broadcast channels are made and deleted; None: Apple's own, or ``origin``."""
    origin: str | None = None
    """``https://host:port`` instead of the provider's own."""
    ca: Path | None = None
    """PEM file of the authority that signed ``origin``."""
    zone: str | None = None
    """The time zone of its subscribers without one; None: the newsroom's."""
    delivery: dict[str, str] = {}
    """How its provider's own figures of deliveries are had, each night; empty: they are not asked for."""


class NewsroomConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[newsroom]``: what holds for all campaigns."""

    zone: str | None = None
    """The time zone of local times of editors, and of subscribers without one; None: such times are refused, and for
    these subscribers no quiet hours hold."""
    quiet: str = "23:00-07:00"
    """The hours of each subscriber's own day in which nobody is woken; ``off``: none."""
    link_hosts: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    """The newsroom's own sites, whose pages the node may read for an editor: ``www.example.com``, ``*.example.com``."""

    @property
    def quiet_hours(self) -> QuietHours | None:
        """``quiet``, read; None: there are none."""
        return read_hours(self.quiet)


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """``[supervision]``: how OS processes that die are replaced, and how many, before the node gives up."""

    restarts: Annotated[int, Meta(ge=0)] = 10
    period: Annotated[float, Meta(gt=0)] = 60.0
    """Seconds."""
    spare: bool = True
    """Whether a worker process is kept in reserve, to take a killed one's place at once."""


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """``[demo]``: the sample base of a node whose channels are all twins."""

    subscribers: Annotated[int, Meta(ge=0, le=10_000_000)] = 20_000
    dead_share: Annotated[float, Meta(ge=0, le=1)] = 0.02


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration. ``source`` is its file; None: the demo."""

    node: NodeConfig = NodeConfig()
    http: Http = Http()
    store: StoreConfig | None = None
    """None: the node runs a Tarantool of its own."""
    queue: ServerConfig | OwnQueue | None = None
    """None: the store's instance is the queue too."""
    queue_module: str = MODULES[0]
    """Where the tubes of the node's own Tarantool come from."""
    peers: tuple[Peer, ...] = ()
    channels: dict[str, Channel] = {}
    supervision: Supervision = Supervision()
    newsroom: NewsroomConfig = NewsroomConfig()
    kinds: dict[str, Kind] = msgspec.field(default_factory=lambda: dict(BUILT_IN))
    """``[kinds.NAME]``: the kinds of news that an editor can fire."""
    guards: Guards = Guards()
    """``[guards]``: what stands between an editor and a Fire by mistake."""
    herd: HerdConfig = HerdConfig()
    """``[herd]``: how fast people may be reached, for the sake of the newsroom's own site."""
    hooks: tuple[Hook, ...] = ()
    """``[[hooks]]``: what is asked for before Fire."""
    webhooks: tuple[Webhook, ...] = ()
    """``[[webhooks]]``: who hears of campaigns."""
    drill: DrillConfig | None = None
    """``[drill]``: rehearsals of the whole base against simulators."""
    receipts: Receipts | None = None
    """``[receipts]``: whose phone says by an address in the push that it has come; None: nobody's."""
    demo: Demo | None = None
    """Fill an empty base with sample phones and fire at them. Only if every channel is a twin."""
    proxy: Proxy | None = None
    """The proxy of ``[network]``, or of the environment; None: providers are reached without one."""
    source: Path | None = None
    warnings: tuple[str, ...] = ()
    """What was found while it was read, and does not keep the node from running."""
    keep_days: int = KEEP_DAYS
    """``[store] keep``: days after its end until a campaign's ledger leaves the store."""

    @property
    def keep_ms(self) -> int:
        """``keep_days`` in milliseconds."""
        return self.keep_days * 86_400_000

    @property
    def drills(self) -> list[DrillChannel]:
        """The channels as drills know them; none without ``[drill]``. A platform without a twin takes no part."""
        if self.drill is None:
            return []
        there = twins.names()
        channels = [(name, each) for name, each in self.channels.items() if each.platform in there]
        return [DrillChannel(name, each.platform, each.app, each.connections) for name, each in channels]

    @property
    def tubes(self) -> list[str]:
        """All channels that have a tube here."""
        return [*self.channels, *(drill_channel(each.channel) for each in self.drills)]

    def secret_variables(self) -> frozenset[str]:
        """The environment variables that hold passwords: no child process inherits them."""
        servers = [self.store, self.queue, *self.peers]
        outward = [*(hook.authorization_env for hook in self.hooks), *(each.secret_env for each in self.webhooks)]
        passwords = [server.password_env for server in servers if isinstance(server, ServerConfig)]
        return frozenset(name for name in [*passwords, *outward] if name)


def load(path: Path) -> Config:
    """Read ``path``. Raises ``ConfigError`` with every mistake found."""
    path = machine_users.expanded(path).absolute()
    table = strict_toml.parse(path)
    reader = strict_toml.Reader(path.parent)
    config = _config(reader, table, path)
    if reader.problems:
        raise ConfigError(reader.problems)
    return config


def with_channels(config: Config, tables: Mapping[str, object], reader: strict_toml.Reader) -> Config:
    """Add the tables of further channels to a configuration. Raises ``ConfigError`` with every mistake in them."""
    reader.trust_file_modes = config.node.trust_file_modes
    for name in sorted(config.channels.keys() & tables.keys()):
        remedy = "take it out of broadside.toml, or out of channels.json in the data folder"
        reader.problem(f"channels.{name}", "is in broadside.toml, and was put by the API, too", remedy)
    channels = config.channels | _channels(reader, dict(tables))
    _check_twins(reader, channels, demo=config.demo is not None, shared=config.store is not None)
    if reader.problems:
        raise ConfigError(reader.problems)
    warnings = dict.fromkeys([*config.warnings, *reader.warnings])
    return msgspec.structs.replace(config, channels=channels, warnings=tuple(warnings))


def is_origin(text: str) -> bool:
    """Whether ``text`` is ``https://host[:port]`` and nothing more."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and not (parts.path or parts.query or parts.fragment)


_REMEDIES = {
    "node.workers": "leave it out for one worker per core; 1 is the least",
    "node.memory": 'write it as in "512 MB" or "2 GB"; 64 MB is the least',
    "node.drain": "seconds, 1 to 3600; a provider's answer may take 20",
    "newsroom.zone": 'an IANA name, as in "Europe/Vienna"',
    "channels.*.rate": "pushes a second; leave it out for the provider's own quota",
    "channels.*.dead_limit": "a share above 0, up to 1; 0.2 is 20 %, 1 never asks",
    "channels.*.daily_limit": "campaigns a day and phone, 1 to 50; leave it out if its provider counts none",
    "channels.*.connections": "1 to 1024 connections of the node at most",
    "channels.*.quiet_channel": "the id that the app gives its notification channel without sound",
    "channels.*.android_v2": 'true, false, or versions of the app in quotes, as in ">=5.0" or ">=5.0,<6"',
    "channels.*.collapse_slots": "at most four names of 1 to 32 of A-Z a-z 0-9 - _",
    "channels.*.push_services": 'at most 100 hosts, as in "push.example.com" or "*.push.example.com"; no https://',
    "channels.*.delivery": "as in [channels.NAME.delivery] with the entries of docs/delivery-truth.md, all in quotes",
    "demo.dead_share": "a share between 0 and 1, 0.02 is 2 %",
}


def _config(reader: strict_toml.Reader, table: dict[str, object], source: Path) -> Config:
    read = ("source", "keep_days", "proxy", "queue_module", "warnings")
    sections = [*(field for field in Config.__struct_fields__ if field not in read), "network"]
    reader.unknown(table, sections, "")
    keep_days, table = read_keep(reader, table)
    queue_module, table = read_module(reader, table)
    node = reader.table(NodeConfig, table.get("node", {}), "node", _REMEDIES)
    reader.trust_file_modes = node is not None and node.trust_file_modes
    http = reader.table(Http, table.get("http", {}), "http", HTTP_REMEDIES)
    supervision = reader.table(Supervision, table.get("supervision", {}), "supervision", _REMEDIES)
    newsroom = reader.table(NewsroomConfig, table.get("newsroom", {}), "newsroom", _REMEDIES)
    if newsroom is not None:
        _check_newsroom(reader, newsroom)
    demo = reader.table(Demo, table["demo"], "demo", _REMEDIES) if "demo" in table else None
    store = read_server(reader, table["store"], "store", StoreConfig) if "store" in table else None
    queue = read_queue(reader, table["queue"], alone="store" not in table) if "queue" in table else None
    if node is not None:
        logs = node.logs and reader.folder / node.logs
        node = msgspec.structs.replace(node, data=reader.folder / node.data, logs=logs)
        _check_node(reader, node)
    if http is not None:
        http = checked_http(reader, http)
    channels = _channels(reader, table.get("channels", {}))
    _check_twins(reader, channels, demo=demo is not None, shared="store" in table)
    peers = read_peers(reader, table.get("peers", []), None if node is None else node.name)
    if isinstance(queue, OwnQueue):
        check_peers_may_come(reader, queue, peers)
    config = Config(
        node=node or NodeConfig(),
        http=http or Http(),
        store=store,
        queue=queue,
        peers=peers,
        channels=channels,
        supervision=supervision or Supervision(),
        newsroom=newsroom or NewsroomConfig(),
        kinds=read_kinds(reader, table.get("kinds", {})),
        guards=read_guards(reader, table.get("guards", {})),
        herd=read_herd(reader, table.get("herd", {})),
        hooks=read_hooks(reader, table.get("hooks", [])),
        webhooks=read_webhooks(reader, table.get("webhooks", [])),
        drill=read_drill(reader, table["drill"]) if "drill" in table else None,
        receipts=read_receipts(reader, table["receipts"]) if "receipts" in table else None,
        demo=demo,
        proxy=read_proxy(reader, table.get("network", {})),
        source=source,
        keep_days=keep_days,
        queue_module=queue_module,
    )
    return msgspec.structs.replace(config, warnings=tuple(reader.warnings))  # the last table is read by now


def _check_node(reader: strict_toml.Reader, node: NodeConfig) -> None:
    if not NAME.fullmatch(node.name):
        reader.problem("node.name", f"{shown(node.name)} cannot be a name", NAME_RULE, node.name)
    if node.memory_bytes < 64 << 20:
        reader.problem("node.memory", f"{shown(node.memory)} is too little", _REMEDIES["node.memory"], node.memory)
    there, whose = memory()
    if node.memory_bytes > there:
        size = f"{there // GB} GB" if there % GB == 0 else f"{there >> 20} MB"
        what = f"{shown(node.memory)} is more than the {size} of {whose}"
        reader.problem("node.memory", what, "leave room for the workers, too", node.memory)
    if node.data.exists() and not node.data.is_dir():
        reader.problem("node.data", f"{shown(str(node.data))} is not a folder", "name a folder", str(node.data))


def _check_newsroom(reader: strict_toml.Reader, newsroom: NewsroomConfig) -> None:
    _check_zone(reader, newsroom.zone, "newsroom.zone")
    check_hours(reader, newsroom.quiet, "newsroom.quiet")
    for number, host in enumerate(newsroom.link_hosts):
        if not HOST_PATTERN.fullmatch(host):
            remedy = (
                "a host, as in www.example.com, or all below one, as in *.example.com; with :port if it has its own"
            )
            reader.problem(f"newsroom.link_hosts[{number}]", f"{shown(host)} is not a host", remedy, host)


def _check_zone(reader: strict_toml.Reader, zone: str | None, key: str) -> None:
    if zone is not None and zone not in zones_known():
        reader.problem(key, f"{shown(zone)} is not a time zone", "an IANA time zone, as in Europe/Berlin", zone)


def _channels(reader: strict_toml.Reader, tables: object) -> dict[str, Channel]:
    if not isinstance(tables, dict):
        reader.problem("channels", f"{shown(tables)} where tables belong", "write each channel as [channels.NAME]")
        return {}
    if not tables:
        remedy = "as in [channels.ios-news] with platform, app and credentials"
        reader.problem("channels", "there is none, so nothing can be sent", remedy)
    channels: dict[str, Channel] = {}
    remedies = _REMEDIES | _platform_remedies()
    for name, table in tables.items():
        key = f"channels.{name}"
        if not NAME.fullmatch(name):
            reader.problem(key, f"{shown(name)} cannot be a channel's name", NAME_RULE, name)
        elif is_drill_channel(name):
            reader.problem(key, f"{shown(name)} begins as only the channels of drills do", "give it another name", name)
        channel = reader.table(Channel, table, key, remedies)
        if channel is not None:
            channels[name] = _checked_channel(reader, channel, key)
    return channels


def _platform_remedies() -> dict[str, str]:
    """The installed platforms' remedies for a channel's table."""
    platforms = {name: registry.load(name) for name in registry.platforms()}
    return {
        "channels.*.platform": f'as in platform = "{next(iter(platforms), "")}"',
        "channels.*.app": "; ".join(f"{name}: {platform.app}" for name, platform in platforms.items()),
    }


def _check_twins(reader: strict_toml.Reader, channels: dict[str, Channel], *, demo: bool, shared: bool) -> None:
    real = sorted(name for name, channel in channels.items() if not channel.twin)
    if demo and real:
        what = f"would fire at sample phones with the real credentials of {', '.join(real)}"
        reader.problem("demo", what, "remove [demo], or make every channel a twin")
    for name, channel in channels.items():
        if channel.twin and shared and not demo:
            what = "true beside [store]: the phones of a shared base would get nothing, but count as reached"
            remedy = "give the provider's credentials; if the ring is only a trial, add a [demo] table"
            reader.problem(f"channels.{name}.twin", what, remedy, "true")


def _checked_channel(reader: strict_toml.Reader, channel: Channel, key: str) -> Channel:
    known = registry.platforms()
    if channel.platform not in known:
        what, remedy = f"unknown platform {shown(channel.platform)}", f"known: {', '.join(known)}"
        if (other := registry.other_contract(channel.platform)) is not None:
            what, remedy = f"{shown(channel.platform)} {other.what}", other.remedy
        reader.problem(f"{key}.platform", what, remedy, channel.platform)
        return channel
    platform = registry.load(channel.platform)
    if not channel.app or any(c.isspace() or not c.isprintable() for c in channel.app):
        reader.problem(f"{key}.app", f"{shown(channel.app)} is not an app id", f"write {platform.app}", channel.app)
    for name in (
        "quiet_channel",
        "android_v2",
        "collapse_slots",
        "devices",
        "push_services",
        "broadcast_origin",
        "manage_origin",
    ):
        if getattr(channel, name) and name not in platform.keys:
            who = ", ".join(each for each in known if name in registry.load(each).keys)
            reader.problem(f"{key}.{name}", f"has no use on {channel.platform}", f"remove it: it is for {who}")
    if unknown := [each for each in channel.devices if each not in platform.devices]:
        remedy = f"known: {', '.join(platform.devices)}"
        if platform.devices:
            reader.problem(f"{key}.devices", f"unknown device {shown(unknown[0])}", remedy, unknown[0])
    if isinstance(channel.android_v2, str):
        try:
            version_bounds(channel.android_v2)
        except ValueError as error:
            reader.problem(f"{key}.android_v2", str(error), _REMEDIES["channels.*.android_v2"], channel.android_v2)
    for name in ("origin", "broadcast_origin", "manage_origin"):
        origin = getattr(channel, name)
        if origin is not None and not is_origin(origin):
            remedy = 'as in "https://127.0.0.1:2197", or leave it out for the provider itself'
            reader.problem(f"{key}.{name}", f"{shown(origin)} is not an origin", remedy, origin)
    if channel.twin and channel.credentials:
        remedy = "remove twin, or remove the credentials if no phone should get anything"
        reader.problem(f"{key}.twin", "true beside credentials", remedy, "true")
    elif channel.twin and (
        given := [name for name in ("origin", "ca", "broadcast_origin", "manage_origin") if getattr(channel, name)]
    ):
        which = given[0]
        remedy = "remove it: the node starts the twin itself and knows its address"
        reader.problem(f"{key}.{which}", "has no use beside twin = true", remedy)
    elif channel.twin and channel.platform not in (there := twins.names()):
        what = f"true, but {channel.platform} has no twin"
        reader.problem(f"{key}.twin", what, f"there are twins of {', '.join(there)}: give credentials", "true")
    elif not channel.twin and not channel.credentials and platform.credentials:
        remedy = "give the provider's, or set twin = true: pushes then go to a local simulator, and no phone gets any"
        reader.problem(f"{key}.credentials", "are missing", remedy)
    _check_zone(reader, channel.zone, f"{key}.zone")
    if channel.ca is not None:
        reader.file(f"{key}.ca", channel.ca, secret=False)
    return msgspec.structs.replace(
        channel,
        credentials=_credentials(reader, channel, platform, f"{key}.credentials"),
        delivery=_delivery(reader, channel, platform, f"{key}.delivery"),
    )


def _delivery(reader: strict_toml.Reader, channel: Channel, platform: Platform, key: str) -> dict[str, str]:
    given = dict(channel.delivery)
    if not given:
        return given
    if platform.delivery is None:
        known = ", ".join(name for name in registry.platforms() if registry.load(name).delivery is not None)
        reader.problem(key, f"has no use on {channel.platform}", f"remove it: it is for {known}")
        return given
    fields = platform.delivery.fields
    reader.unknown(given, [field.name for field in fields], key)
    for field in fields:
        if field.required or field.name in given:
            _check_credential(reader, channel.platform, field, given, f"{key}.{field.name}")
    day = given.get(DELIVERY_EXPIRES.name)
    if day is not None and DELIVERY_EXPIRES.fits(day):
        try:
            date.fromisoformat(day)
        except ValueError:
            reader.problem(f"{key}.expires", f"{shown(day)} is no day", DELIVERY_EXPIRES.meaning, day)
    return given


def _credentials(reader: strict_toml.Reader, channel: Channel, platform: Platform, key: str) -> dict[str, str]:
    given = dict(channel.credentials)
    if not given:
        return given
    sets = platform.credentials
    several = [ENVIRONMENT] if len(platform.environments) > 1 else []
    reader.unknown(given, [*(field.name for fields in sets for field in fields), *several], key)
    begun = [fields for fields in sets if any(field.name in given for field in fields)]
    if len(begun) > 1:
        names = [{field.name for field in fields} for fields in begun]
        what = "has " + " and ".join(next(name for name in given if name in each) for each in names)
        choice = (" and ".join(field.name for field in fields if field.required) for fields in begun)
        reader.problem(key, what, "give either " + ", or ".join(choice))
        return given
    for field in next(iter(begun or sets), ()):
        if field.required or field.name in given:
            _check_credential(reader, channel.platform, field, given, f"{key}.{field.name}")
    environment = given.get(ENVIRONMENT)
    if several and environment is not None and environment not in platform.environments:
        what = f"unknown environment {shown(environment)}"
        reader.problem(f"{key}.{ENVIRONMENT}", what, " or ".join(platform.environments), environment)
    return given


def _check_credential(
    reader: strict_toml.Reader, platform: str, field: CredentialField, given: dict[str, str], where: str
) -> None:
    """Check one entry of a ``credentials`` table; a file's name becomes absolute in ``given``."""
    value = given.get(field.name, "")
    if not value:
        reader.problem(where, "is missing", f"{platform} needs it: {field.meaning}")
    elif value.lstrip().startswith(("-----BEGIN", "{")):
        reader.problem(where, "is the secret itself", "put it into a file of mode 0600 and name the file")
    elif field.file:
        given[field.name] = str(reader.file(where, value, secret=field.public_beside not in given))
    elif not field.fits(value):
        reader.problem(where, f"{shown(value)} is not {field.form}", field.meaning, value)
