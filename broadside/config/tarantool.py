"""The tables of ``broadside.toml`` that name Tarantool instances: ``[store]``, ``[queue]``, ``[[peers]]``."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from broadside.config import strict_toml
from broadside.errors import ConfigError, Problem, shown

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""Names of nodes and channels: they become tube names and file names."""
NAME_RULE = "1 to 32 of a-z, 0-9 and -, not starting with -"


def split_address(text: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port`` (raises ``ValueError`` for anything else)."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed) or not port.isascii() or not port.isdigit():
        raise ValueError(f"not host:port: {text}")
    if any(c.isspace() or c in "/@" for c in host) or int(port) > 65535:
        raise ValueError(f"not host:port: {text}")
    return (host[1:-1] if bracketed else host), int(port)


def tarantool_address(uri: str) -> tuple[str, int] | Path:
    """Host and port of a Tarantool's ``uri``, or the path of its Unix socket (raises ``ValueError``)."""
    return Path(uri[len("unix/:") :]) if uri.startswith("unix/:") else split_address(uri)


REMEDIES = {
    "store.uri": 'as in uri = "10.0.0.5:3301"',
    "store.others": 'as in others = ["10.0.0.6:3301"]',
    "store.replica": 'as in replica = "10.0.0.6:3301"',
    "queue.listen": 'as in listen = "10.0.0.6:3302"',
    "queue.hosts": 'addresses or networks, as in hosts = ["10.0.0.6", "10.1.0.0/24"]',
    "queue.uri": 'as in uri = "10.0.0.5:3301"',
    "peers.uri": 'as in uri = "10.0.0.6:3301"',
    "peers.name": "the [node] name of the other server",
}


def read_password(path: Path) -> str:
    """Read the password in ``path``, without line end and byte-order mark (raises ``ConfigError``)."""
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        what = f'file "{path}" cannot be read: {error}'
        raise ConfigError([Problem("password_file", what, "it holds the password, in UTF-8")]) from error


KEEP_DAYS = 90
"""Days for which a campaign's ledger stays in the store after its end, by default."""
_KEEP = re.compile(r"([1-9]\d{0,4}) days?")


def read_keep(reader: strict_toml.Reader, table: dict[str, object]) -> tuple[int, dict[str, object]]:
    """Read ``[store] keep``: in days. Returns them and the tables without it.

    It holds for the node's own store too, so a ``[store]`` with nothing else in it names no server.
    """
    store = table.get("store")
    if not isinstance(store, dict) or "keep" not in store:
        return KEEP_DAYS, table
    rest = {key: value for key, value in store.items() if key != "keep"}
    table = {key: value for key, value in table.items() if key != "store"} | ({"store": rest} if rest else {})
    found = _KEEP.fullmatch(store["keep"]) if isinstance(store["keep"], str) else None
    if found is None:
        remedy = f'write it as in "{KEEP_DAYS} days"; "1 day" is the least'
        reader.problem("store.keep", f"{shown(store['keep'])} is not a number of days", remedy, store["keep"])
    return (KEEP_DAYS if found is None else int(found[1])), table


MODULES = ("bundled", "rock")
"""Where an embedded queue's tubes come from: our own Lua, or Tarantool's ``queue`` rock, which must be installed."""


def read_module(reader: strict_toml.Reader, table: dict[str, object]) -> tuple[str, dict[str, object]]:
    """Read ``[queue] module``. Returns it and the tables without it.

    It holds for the node's own Tarantool too, so a ``[queue]`` with nothing else in it names no queue.
    """
    queue = table.get("queue")
    if not isinstance(queue, dict) or "module" not in queue:
        return MODULES[0], table
    rest = {key: value for key, value in queue.items() if key != "module"}
    table = {key: value for key, value in table.items() if key != "queue"} | ({"queue": rest} if rest else {})
    module = queue["module"]
    if "uri" in rest:
        what = "belongs in the settings of the server at uri"
        reader.problem("queue.module", what, "write queue_module: rock there, and remove it here", module)
    elif module not in MODULES:
        remedy = "bundled (Broadside's own tubes), or rock (Tarantool's queue rock, which must be installed)"
        reader.problem("queue.module", f"{shown(module)} is unknown", remedy, module)
    return str(module), table


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[store]`` or ``[queue]``: a Tarantool that the node does not run."""

    uri: str
    """``host:port`` or ``unix/:/path/to.sock``."""
    user: str = "broadside"
    password_file: Path | None = None
    password_env: str | None = None

    @property
    def address(self) -> tuple[str, int] | Path:
        """Host and port, or the path of a Unix socket."""
        return tarantool_address(self.uri)

    def password(self) -> str:
        """Read the password from its file (without the line end) or environment variable (raises ``ConfigError``)."""
        if self.password_file is not None:
            return read_password(self.password_file)
        return os.environ.get(self.password_env or "", "")


class StoreConfig(ServerConfig, frozen=True, kw_only=True):
    """``[store]``: the Tarantool with subscribers and campaigns; with replicas, one of them is the master."""

    others: tuple[str, ...] = ()
    """Where the master may be instead of ``uri``; tried in order."""
    replica: str | None = None
    """The nearest read replica: pages are read there if it is not behind."""


class OwnQueue(msgspec.Struct, frozen=True, kw_only=True):
    """``[queue]`` with ``embedded = true``: a queue that the node runs itself, beside a shared store."""

    embedded: bool
    listen: str | None = None
    """``host:port`` where the peers reach it; None: only this node does."""
    hosts: tuple[str, ...] = ()
    """Addresses or networks that may connect to ``listen``: the peers. This machine always may."""
    peers_password_file: Path | None = None
    """The password of the user ``peer``, which may only hand batons over."""

    def peers_password(self) -> str | None:
        """Read the peers' password (raises ``ConfigError``); None when there are none."""
        return None if self.peers_password_file is None else read_password(self.peers_password_file)


class Peer(ServerConfig, frozen=True, kw_only=True):
    """``[[peers]]``: another node's queue."""

    name: str
    user: str = "peer"


S = TypeVar("S", bound=ServerConfig)
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_server(reader: strict_toml.Reader, table: object, key: str, cls: type[S]) -> S | None:
    server = reader.table(cls, table, key, REMEDIES)
    if server is None:
        return None
    _check_uri(reader, f"{key}.uri", server.uri)
    if isinstance(server, StoreConfig):
        for number, uri in enumerate(server.others):
            _check_uri(reader, f"{key}.others[{number}]", uri)
        if server.replica is not None:
            _check_uri(reader, f"{key}.replica", server.replica)
    if (server.password_file is None) == (server.password_env is None):
        what = "has no password" if server.password_file is None else "has both password_file and password_env"
        reader.problem(key, what, "give either password_file (a file of mode 0600) or password_env (a variable's name)")
    if server.password_file is not None:
        reader.file(f"{key}.password_file", server.password_file, secret=True)
    if server.password_env is not None and not os.environ.get(server.password_env):
        what = f"environment variable {shown(server.password_env)} is not set"
        reader.problem(f"{key}.password_env", what, "export it before the node starts", server.password_env)
    return server


def _check_uri(reader: strict_toml.Reader, where: str, uri: str) -> None:
    try:
        address = tarantool_address(uri)
    except ValueError:
        address = Path()
    if isinstance(address, Path) and not address.is_absolute():
        remedy = 'write "host:port" or "unix/:/absolute/path.sock"; user and password have keys of their own'
        reader.problem(where, f"{shown(uri.rpartition('@')[2])} is not an address", remedy)


def read_queue(reader: strict_toml.Reader, table: object, *, alone: bool) -> ServerConfig | OwnQueue | None:
    if not isinstance(table, dict) or "embedded" not in table:
        return read_server(reader, table, "queue", ServerConfig)
    queue = reader.table(OwnQueue, table, "queue", REMEDIES)
    if queue is None:
        return None
    if not queue.embedded:
        reader.problem("queue.embedded", "cannot be false", "give a uri, or remove [queue]: the store is the queue")
    if alone:
        what = "there is no [store], so the node's own Tarantool is its queue already"
        reader.problem("queue.embedded", what, "remove [queue], or name the store that the nodes share")
    if (queue.listen is None) != (queue.peers_password_file is None):
        what = "listen and peers_password_file belong together"
        reader.problem("queue", what, "peers connect to that address with that password")
    if queue.listen is not None and queue.listen.startswith("unix/:"):
        reader.problem("queue.listen", f"{shown(queue.listen)} is not host:port", REMEDIES["queue.listen"])
    elif queue.listen is not None:
        _check_uri(reader, "queue.listen", queue.listen)
    _check_hosts(reader, queue)
    if queue.peers_password_file is not None:
        reader.file("queue.peers_password_file", queue.peers_password_file, secret=True)
    return queue


def is_loopback(host: str) -> bool:
    """Whether ``host`` can be reached only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_network(entry: str) -> Network | None:
    """Read an address, or an IPv4 network; None: it is neither."""
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None
    return network if network.version == 4 or network.prefixlen == 128 else None


def _check_hosts(reader: strict_toml.Reader, queue: OwnQueue) -> None:
    for entry in queue.hosts:
        if read_network(entry) is None:
            what = f"{shown(entry)} is not an address"
            reader.problem("queue.hosts", what, REMEDIES["queue.hosts"] + "; names are not looked up", entry)
    if queue.listen is None:
        if queue.hosts:
            reader.problem("queue.hosts", "has no use without listen", "remove it, or give listen, where peers connect")
    elif not queue.hosts and not is_loopback(_host(queue.listen)):
        what = f"is missing, and {queue.listen} can be reached from other machines: anybody who connects may run SQL"
        reader.problem("queue.hosts", what, "list the peers' " + REMEDIES["queue.hosts"])


def _host(uri: str) -> str:
    try:
        address = tarantool_address(uri)
    except ValueError:
        return ""
    return "localhost" if isinstance(address, Path) else address[0]


def check_peers_may_come(reader: strict_toml.Reader, queue: OwnQueue, peers: tuple[Peer, ...]) -> None:
    """Check that each peer named by its address is among ``queue.hosts``: its batons come from that address."""
    networks = [network for entry in queue.hosts if (network := read_network(entry)) is not None]
    for number, peer in enumerate(peers if queue.hosts else ()):
        host = _host(peer.uri)
        own = read_network(host)
        if own is None or is_loopback(host) or any(own.network_address in network for network in networks):
            continue
        what = f"{host} is not among queue.hosts, so this node would refuse its batons"
        reader.problem(f"peers[{number}].uri", what, "add it there", peer.uri)


def read_peers(reader: strict_toml.Reader, tables: object, own: str | None) -> tuple[Peer, ...]:
    if not isinstance(tables, list):
        reader.problem("peers", f"{shown(tables)} where an array belongs", "write each peer as [[peers]]")
        return ()
    peers: list[Peer] = []
    taken = {} if own is None else {own: "this node's own"}
    for number, table in enumerate(tables):
        peer = read_server(reader, table, f"peers[{number}]", Peer)
        if peer is None:
            continue
        if not NAME.fullmatch(peer.name):
            reader.problem(f"peers[{number}].name", f"{shown(peer.name)} cannot be a name", NAME_RULE, peer.name)
        if peer.name in taken:
            what = f"{shown(peer.name)} is {taken[peer.name]} name"
            reader.problem(f"peers[{number}].name", what, "every node needs a name of its own", peer.name)
        taken[peer.name] = "another peer's"
        peers.append(peer)
    return tuple(peers)
