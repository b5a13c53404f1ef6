"""The doctor's checks. Each checks one thing, changes nothing, and says what to do if it is wrong."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import truststore

from broadside.api.alarm import Alarm, Severity
from broadside.api.api_client import Client
from broadside.api.report_text import moment
from broadside.config.config import DEFAULT_FILE, Channel, Config
from broadside.config.http import Http
from broadside.config.put_channels import PutChannels
from broadside.config.tarantool import OwnQueue, ServerConfig, is_loopback
from broadside.datafolder import DataFolder
from broadside.demo.demo_config import load_or_demo
from broadside.doctor import checks_ring, checks_upkeep
from broadside.doctor.findings import Finding, reason
from broadside.errors import BroadsideError, ConfigError
from broadside.newsroom.alarms import DISK_REMEDY
from campaigns.quiet_hours import read_hours
from campaigns.windows import QuietRule
from storage.tarantool_program import ADVICE, OLDEST, ProgramUnusable, tarantool, version
from transports import registry
from transports.contract import TransportSettings
from transports.errors import ConnectionLost, TransportError
from transports.proxy import Proxy
from transports.tunnel import LARGEST_HEAD, Tunnel

_TIMEOUT = 4.0
ROOM = 1 << 20
"""Bytes that must be free, or a start waits (storage/lua/room.lua)."""


def examine(config_file: Path | None, data: Path | None) -> Iterator[Finding]:
    """Run all checks in order; later checks use the results of earlier ones."""
    try:
        config = load_or_demo(config_file)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("configuration", False, f"{problem.where}: {problem.what}", problem.remedy)
        return
    folder = DataFolder(config.node.data if data is None else data, config.node.log_folder)
    try:
        put = PutChannels(folder.root)
        config = put.merged(config, put.read())
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("configuration", False, f"{problem.where}: {problem.what}", problem.remedy)
    source = str(config.source) if config.source else f"no {DEFAULT_FILE} here: the demo"
    channels = ", ".join(f"{name} ({channel.platform})" for name, channel in config.channels.items())
    yield Finding("configuration", True, f"{source}; channels {channels}")
    yield from (Finding("configuration", True, warning) for warning in config.warnings)
    yield _data_folder(folder)
    yield from _disk(folder)
    yield from _node(folder)
    own_queue = isinstance(config.queue, OwnQueue)
    if config.store is None or own_queue:
        yield tarantool_program(config.queue_module)
    if config.store is not None:
        yield from checks_ring.store(config.store)
    if isinstance(config.queue, ServerConfig):
        yield checks_ring.greeting("queue", config.queue.uri)
    for peer in config.peers:
        yield checks_ring.peer(peer)
    yield from checks_upkeep.upkeep(config, folder)
    yield from _open_figures(config.http)
    yield from _channels(config)
    yield from asleep(config)


def tarantool_program(module: str) -> Finding:
    """Look for the program that an embedded Tarantool needs. ``module``: where its tubes come from."""
    program = tarantool()
    if program is None:
        return Finding("tarantool", False, "is not installed", ADVICE)
    try:
        found = version(program)
    except ProgramUnusable as error:
        return Finding("tarantool", False, str(error), ADVICE)
    if found.old:
        return Finding("tarantool", False, f"{found.text} is too old, {'.'.join(map(str, OLDEST))} is needed", ADVICE)
    return Finding("tarantool", True, f"{found.text} at {program}, {found.support}; tubes: {module}")


def _data_folder(folder: DataFolder) -> Finding:
    if not folder.root.exists():
        parent = next(parent for parent in folder.root.parents if parent.exists())
        if os.access(parent, os.W_OK):
            return Finding("data folder", True, f"{folder.root} will be made at the first start")
        return Finding("data folder", False, f"{parent} is not writable", "name another with --data or [node] data")
    try:
        folder.check()
    except BroadsideError as error:
        return Finding("data folder", False, str(error))
    if not os.access(folder.root, os.W_OK):
        return Finding("data folder", False, f"{folder.root} is not writable", "run as its owner, or name another")
    return Finding("data folder", True, f"{folder.root}, closed to other users")


def _disk(folder: DataFolder) -> Iterator[Finding]:
    """Look for room on the disks of the node's files; quiet while there is some."""
    for path in (folder.root, folder.tarantool, folder.queue):
        if path.exists() and (free := shutil.disk_usage(path).free) < ROOM:
            waits = "a node waits with its start, and a running one with all that it writes"
            yield Finding("disk", False, f"{path}: only {free >> 10} KB are free: {waits}", DISK_REMEDY)
            return


def _node(folder: DataFolder) -> Iterator[Finding]:
    if not folder.in_use():
        yield Finding("node", True, "not running (start it: broadside node)")
        return
    node = folder.read_node()
    if node is None:
        yield Finding("node", True, "starting")
        return
    remedy = f"see {folder.logs}"
    try:
        with Client.of(folder) as client:
            ready, detail = client.ready()
    except BroadsideError as error:
        yield Finding("node", False, f"pid {node.pid}: {error}", remedy)
        return
    alarms = _alarms(detail)
    if ready:
        yield Finding("node", True, f"pid {node.pid} at {node.url} is ready")
    else:
        why = "" if alarms else ": it is starting or stopping"
        yield Finding("node", False, f"pid {node.pid} at {node.url} is not ready{why}", remedy)
    for alarm in alarms:
        since = "" if alarm.since is None else f", since {moment(alarm.since)}"
        fine = alarm.severity is Severity.NOTICE
        yield Finding(alarm.about or "node", fine, f"{alarm.text}{since}", alarm.remedy)


def _alarms(detail: dict[str, Any]) -> list[Alarm]:
    """What is wrong, from the answer of ``/readyz``; empty if it does not say."""
    try:
        return msgspec.convert(detail.get("alarms", []), list[Alarm])
    except msgspec.ValidationError:
        return []


def _open_figures(http: Http) -> Iterator[Finding]:
    """Warn of figures that other machines can read without a key."""
    if http.metrics_address is None:
        return
    text, remedy = f"{http.metrics_bind} shows /metrics without a key", ""
    if wide := not is_loopback(http.metrics_address[0]):
        text += " to every machine that reaches it"
        remedy = "let a firewall admit only the monitoring servers, or bind [http] metrics_bind to 127.0.0.1"
    yield Finding("metrics", True, text, remedy, warning=wide)


def _channels(config: Config) -> Iterator[Finding]:
    origins: dict[tuple[str, Path | None, tuple[str, ...]], str] = {}
    for name, channel in config.channels.items():
        if channel.twin:
            yield Finding(name, True, "goes to a twin that the node runs: no phone gets anything")
            continue
        yield _credentials(name, channel)
        platform = registry.load(channel.platform)
        if origin := channel.origin or platform.origin(channel.credentials):
            origins.setdefault((origin, channel.ca, platform.protocols), name)
    for (origin, ca, protocols), name in origins.items():
        yield reachable(name, origin, ca, config.proxy, protocols)


def asleep(config: Config) -> Iterator[Finding]:
    """Warn of kinds that are to be silent at night on a channel that can show nothing asleep."""
    usual = config.newsroom.quiet_hours
    kinds = [
        name
        for name, kind in sorted(config.kinds.items())
        if kind.quiet is QuietRule.SILENT and (usual if kind.quiet_hours is None else read_hours(kind.quiet_hours))
    ]
    for name, channel in config.channels.items() if kinds else ():
        platform = registry.load(channel.platform)
        if platform.can_be_asleep(channel.quiet_channel):
            continue
        what = "it names no quiet_channel" if platform.sleeps else f"{channel.platform} shows nothing without a sound"
        text = f'{what}, so at night pushes of {", ".join(kinds)} (quiet = "silent") are held, not shown silently'
        remedy = f'quiet_channel = "ID" in [channels.{name}]: the app\'s own notification channel without sound'
        yield Finding(name, True, text, remedy if platform.sleeps else "", warning=True)


def _credentials(name: str, channel: Channel) -> Finding:
    settings = TransportSettings(
        channel=name,
        platform=channel.platform,
        app=channel.app,
        credentials=channel.credentials,
        origin=channel.origin,
        ca=channel.ca,
        connections=1,
    )
    try:
        registry.load(channel.platform).build(settings)
    except TransportError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, f"the {channel.platform} credentials load")


def _connected(host: str, port: int, proxy: Proxy | None) -> socket.socket:
    """Connect as a worker would (raises ``ConnectionLost`` for a proxy that refuses, ``OSError``)."""
    if proxy is None or not proxy.serves(host):
        return socket.create_connection((host, port), _TIMEOUT)
    tunnel = Tunnel(proxy, host, port)
    try:
        link = socket.create_connection((proxy.host, proxy.port), _TIMEOUT)
    except OSError as error:
        raise ConnectionLost(f"proxy {proxy}: {reason(error)}") from error
    try:
        link.sendall(tunnel.request)
        while not tunnel.receive(link.recv(LARGEST_HEAD)):
            pass
    except BaseException:
        link.close()
        raise
    return link


def reachable(
    name: str, origin: str, ca: Path | None, proxy: Proxy | None = None, protocols: Sequence[str] = ("h2",)
) -> Finding:
    """Check the path to a provider up to HTTP: name, connection, certificate, ALPN (one of ``protocols``)."""
    parts = urlsplit(origin)
    host, port = parts.hostname or "", parts.port or 443
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        context: ssl.SSLContext
        if ca is None:
            context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = ssl.create_default_context(cafile=str(ca))
        context.set_alpn_protocols(list(protocols))
        with (
            _connected(host, port, proxy) as link,
            context.wrap_socket(link, server_hostname=host) as secured,
        ):
            chosen, spoken = secured.selected_alpn_protocol(), secured.version()
    except ConnectionLost as error:
        return Finding(name, False, str(error), "does the proxy of [network] or HTTPS_PROXY run, and let this through?")
    except socket.gaierror:
        return Finding(name, False, f"{host} has no address", "check DNS, and that this machine may reach the internet")
    except ssl.SSLError as error:
        text = error.reason or str(error)
        remedy = "check the clock and the trusted authorities; a proxy that decrypts TLS cannot be used"
        return Finding(name, False, f"{where}: TLS fails: {text}", remedy if ca is None else f"is {ca} the right ca?")
    except OSError as error:
        return Finding(name, False, f"{where}: {reason(error)}", "does a firewall let this port out?")
    if (chosen or "http/1.1") not in protocols:
        return Finding(name, False, f"{where} does not speak HTTP/2", "is origin right? is a proxy in between?")
    return Finding(name, True, f"{where} answers ({spoken}, {'HTTP/2' if chosen == 'h2' else 'HTTP/1.1'})")
