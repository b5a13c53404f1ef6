"""The console: the API's HTTP server as an actor, and the supervision that keeps its failures from the node."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Collection
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import NamedTuple

import structlog
import trio
from starlette.types import ASGIApp

from broadside.config.http import Http
from broadside.console.door import Door
from broadside.console.http_server import HttpServer
from broadside.errors import BroadsideError, ConfigError, Problem
from broadside.newsroom.alarms import Setbacks
from supervision import (
    ActorParked,
    ChildExited,
    ChildSpec,
    ChildStarted,
    Intensity,
    Parking,
    SupervisionEvent,
    Supervisor,
)

log = structlog.get_logger(__name__)

BACKLOG = 100
PLACES = 400
"""Connections at once at the port: 300 of them may listen to events."""
SHUTDOWN = 5.0
"""Seconds that the server gets at a stop before it is cancelled."""
AGAIN = 30.0
"""Seconds until a console that has given up is started again."""


class AddressInUse(BroadsideError):
    """Another program listens at an address of ``[http]``."""

    exit_code = 2


class Probes(NamedTuple):
    """Health and figures at an address of their own, without a key. ``port`` 0: any."""

    app: ASGIApp
    host: str
    port: int


class Console:
    """One incarnation of the HTTP server.

    ``host`` and ``port`` (0: any) are for all clients with a key, by TLS if there is ``tls``, and only from
    ``hosts`` if there are any; ``local`` is the path of
    a Unix socket for the command line, in a folder that only its owner can enter; ``probes`` is never served by TLS:
    no key crosses it. ``bound`` is called with the base URL
    once both listen, ``closing`` before they close: from then on another program may listen there.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        local: Path,
        *,
        tls: ssl.SSLContext | None = None,
        hosts: Collection[IPv4Network | IPv6Network] = (),
        probes: Probes | None = None,
        bound: Callable[[str], None],
        closing: Callable[[], None],
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._local = local
        self._tls = tls
        self._hosts = hosts
        self._probes = probes
        self._bound = bound
        self._closing = closing
        self._server: HttpServer | None = None
        self._stopped = False

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until stopped (AddressInUse if the port is taken)."""
        listeners: list[trio.SocketListener] = []
        try:
            listeners += await _listen_at("http.bind", self._host, self._port)
            url = _url("http" if self._tls is None else "https", listeners[0])
            doors = [Door(each, tls=self._tls, hosts=self._hosts, connections=PLACES) for each in listeners]
            if self._probes is not None:
                found = await _listen_at("http.metrics_bind", self._probes.host, self._probes.port)
                listeners += found
                doors += [Door(each, app=self._probes.app) for each in found]
                log.info("figures and probes without a key", url=_url("http", found[0]))
            doors.append(Door(_listen(self._local), trusted=True, connections=1000))
            self._server = HttpServer(self._app, doors)
            if self._stopped:
                self._server.stop()
            self._bound(url)
            ready()
            await self._server.run()
        finally:
            self._closing()
            for listener in listeners:
                listener.socket.close()
            with contextlib.suppress(OSError):
                self._local.unlink(missing_ok=True)

    def stop(self) -> None:
        """Finish the requests under way, then end."""
        self._closing()
        self._stopped = True
        if self._server is not None:
            self._server.stop()


async def _listen_at(field: str, host: str, port: int) -> list[trio.SocketListener]:
    """Listen at an address (AddressInUse if the port is taken). ``field``: where the configuration has it."""
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as error:
        remedy = f"stop what listens there, or set [http] {field.removeprefix('http.')} in broadside.toml"
        raise AddressInUse(f"{field}: {host}:{port}: {error.strerror} ({remedy})") from error


def _url(scheme: str, listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _listen(path: Path) -> trio.SocketListener:
    path.unlink(missing_ok=True)  # left by a killed node: this node has the folder's lock
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        undo.pop_all()
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))


def contained(
    start: Callable[[], Console],
    setbacks: Setbacks,
    observe: Callable[[SupervisionEvent], None],
    *,
    again: float = AGAIN,
) -> Parking:
    """The console under a supervisor of its own, as a part that the node can do without.

    A console that fails is restarted. If it fails too often it is parked for ``again`` seconds, with a log line and an
    alarm, but it never ends the node. Only a failed first start does: then somebody is there to read the reason.
    """

    def seen(event: SupervisionEvent) -> None:
        if isinstance(event, ChildExited) and event.reason.error is not None:
            setbacks.add(event.reason.error)
        elif isinstance(event, ActorParked | ChildStarted):
            setbacks.down = isinstance(event, ActorParked)
        observe(event)

    def supervisor(trial: bool) -> Supervisor:
        spec = ChildSpec("http", start, shutdown=SHUTDOWN)
        return Supervisor("console", [spec], intensity=Intensity(0 if trial else 3, 60.0), observe=seen)

    return Parking("console", supervisor, pause=again, first_counts=True, observe=seen)


def tls_of(http: Http) -> ssl.SSLContext | None:
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
