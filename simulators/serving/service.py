"""Puts a provider twin together: credentials, script, rules, ledger and socket."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import trio

from simulators import push_certificates, twins
from simulators import twin_credentials as keys
from simulators.errors import TwinError
from simulators.faults.director import Director
from simulators.faults.latency import Latency, sampler
from simulators.faults.script import Script, load_script
from simulators.ledger import Ledger
from simulators.provider import BuiltTwin, TwinParts
from simulators.serving.twin_server import TwinServer, listen, server_context


class TwinReady(msgspec.Struct, frozen=True, kw_only=True):
    """What a twin announces once it can be reached."""

    ready: bool = True
    platform: str
    port: int
    origin: str
    ca: str
    """The authority to trust: an absolute path."""
    credentials: dict[str, str]
    """The entries for a channel's ``credentials`` table, paths absolute."""
    keys: list[dict[str, str]] = []
    """The same for each further key of the script."""
    certificates: dict[str, str] = {}
    """Client certificates by file name, paths absolute."""
    directory: str
    ledger: str | None
    pid: int


async def serve_twin(
    platform: str,
    *,
    port: int = 0,
    directory: Path,
    script: Script | Path | None = None,
    ledger: Path | Ledger | None = None,
    latency_ms: float = 0.0,
    app: Sequence[str] = (),
    announce: Callable[[TwinReady], None],
    stopping: trio.Event | None = None,
) -> Ledger:
    """Run a twin on 127.0.0.1 until ``stopping`` is set (then answer what is in flight) or until cancelled.

    Args:
        platform: the name of the twin's entry point.
        port: 0 takes any free one.
        directory: where its throw-away credentials are, or will be.
        script: faults, or the file that holds them.
        ledger: where accepted pushes are written; None keeps only the totals. A ``Ledger`` stays the caller's to close.
        latency_ms: before each answer, milliseconds.
        app: ids of the apps (topics, projects) it serves; none: every well-formed one.
        announce: called once, when connections are accepted.
        stopping: set it to end the twin gently.

    Returns the ledger, with its totals. Raises ``TwinError``.
    """
    build = twins.load(platform)
    if isinstance(script, Path):
        script = load_script(script)
    script = script or Script()
    director = Director(script, trio.current_time)
    latency = script.latency or Latency(constant=latency_ms if script.latency_ms is None else script.latency_ms)
    made = await trio.to_thread.run_sync(keys.ensure_credentials, directory)
    listener = await listen(port)
    try:
        port = listener.socket.getsockname()[1]
        opened = ledger if isinstance(ledger, Ledger) else open_ledger(ledger)
    except BaseException:
        await trio.aclose_forcefully(listener)
        raise
    parts = TwinParts(made, director, opened, tuple(app), sampler(latency, script.seed), f"https://localhost:{port}")
    try:
        built = build(parts)
        provider = built.provider
        clients = push_certificates.authority_of(made.client_ca) if built.certificates else None
        context = server_context(
            made.server, provider.protocols, clients, demanded=script.client_certificates == "demand"
        )
        server = TwinServer(provider, director, opened, context)
        announce(_ready(platform, built, parts))
        await server.serve(listener, trio.Event() if stopping is None else stopping)
    finally:
        await trio.aclose_forcefully(listener)
        if opened is ledger:
            opened.flush()
        else:
            opened.close()
    return opened


def _ready(platform: str, built: BuiltTwin, parts: TwinParts) -> TwinReady:
    return TwinReady(
        platform=platform,
        port=int(parts.origin.rpartition(":")[2]),
        origin=parts.origin,
        ca=str(parts.made.ca),
        credentials=dict(built.credentials),
        keys=[dict(each) for each in built.keys],
        certificates=dict(built.certificates),
        directory=str(parts.made.directory),
        ledger=None if parts.ledger.path is None else str(parts.ledger.path.absolute()),
        pid=os.getpid(),
    )


def open_ledger(path: Path | None) -> Ledger:
    """Open a ledger (raises ``TwinError`` if it cannot be written)."""
    try:
        return Ledger(path)
    except OSError as error:
        raise TwinError(f"ledger {path}: {error.strerror}: name a file that can be written") from None
