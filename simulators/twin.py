"""A provider twin as a program: sockets, credentials, script and ledger put together.

``python -m simulators.twin apns`` runs one; it says on stdout, in one line of JSON, how to reach it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio

from simulators import credentials as keys
from simulators.answers import Provider
from simulators.apns import Apns
from simulators.errors import TwinError
from simulators.fcm import Fcm
from simulators.ledger import Ledger
from simulators.oauth import TokenEndpoint
from simulators.provider_tokens import TokenVerifier
from simulators.script import Director, Script, load_script
from simulators.server import TwinServer, listen, server_context

Platform = Literal["apns", "fcm"]
_REPORT_SECONDS: Final = 10.0


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a twin says once it can be reached."""

    ready: bool = True
    platform: str
    port: int
    origin: str
    ca: str
    """The authority to trust: an absolute path."""
    credentials: dict[str, str]
    """What a channel's ``credentials`` table needs, paths absolute."""
    directory: str
    ledger: str | None
    pid: int


async def serve_twin(
    platform: Platform,
    *,
    port: int = 0,
    directory: Path,
    script: Script | Path | None = None,
    ledger: Path | Ledger | None = None,
    latency_ms: float = 0.0,
    app: Sequence[str] = (),
    announce: Callable[[Ready], None],
    stopping: trio.Event | None = None,
) -> Ledger:
    """Run a twin on 127.0.0.1 until ``stopping`` is set (then answer what is in flight) or until cancelled.

    Args:
        platform: whose rules it keeps.
        port: 0 takes any free one.
        directory: where its throw-away credentials are, or will be.
        script: faults, or the file that holds them.
        ledger: where accepted pushes are written; None keeps only the sums. A ``Ledger`` stays the caller's to close.
        latency_ms: before each answer, milliseconds.
        app: topics (APNs) or project ids (FCM) it serves; none: every well-formed one.
        announce: called once, when connections are accepted.
        stopping: set it to end the twin gently.

    Returns the ledger, with its sums. Raises ``TwinError``.
    """
    if isinstance(script, Path):
        script = load_script(script)
    director = Director(script or Script(), trio.current_time)
    if director.script.latency_ms is not None:
        latency_ms = director.script.latency_ms
    made = await trio.to_thread.run_sync(keys.ensure_credentials, directory)
    listener = await listen(port)
    try:
        port = listener.socket.getsockname()[1]
        book = ledger if isinstance(ledger, Ledger) else _open_ledger(ledger)
    except BaseException:
        await trio.aclose_forcefully(listener)
        raise
    origin = f"https://localhost:{port}"
    provider: Provider
    try:
        if platform == "apns":
            verifier = TokenVerifier(keys.read_apns_key(made), keys.KEY_ID, keys.TEAM_ID)
            provider = Apns(verifier, director, book, tuple(app), latency_ms / 1000)
            table = {"key": str(made.apns_key), "key_id": keys.KEY_ID, "team_id": keys.TEAM_ID}
        else:
            project = app[0] if app else keys.PROJECT
            account = keys.publish_service_account(made, project, f"{origin}/token")
            endpoint = TokenEndpoint(account, director.script.access_token_seconds)
            provider = Fcm(endpoint, director, book, tuple(app), latency_ms / 1000)
            table = {"service_account": str(made.service_account)}
        server = TwinServer(provider, director, book, server_context(made.server, provider.protocols))
        announce(
            Ready(
                platform=platform,
                port=port,
                origin=origin,
                ca=str(made.ca),
                credentials=table,
                directory=str(made.directory),
                ledger=None if book.path is None else str(book.path.absolute()),
                pid=os.getpid(),
            )
        )
        await server.serve(listener, trio.Event() if stopping is None else stopping)
    finally:
        await trio.aclose_forcefully(listener)
        if book is ledger:
            book.flush()
        else:
            book.close()
    return book


def _open_ledger(path: Path | None) -> Ledger:
    try:
        return Ledger(path)
    except OSError as error:
        raise TwinError(f"ledger {path}: {error.strerror}: name a file that can be written") from None


def run_twin(
    platform: Platform,
    *,
    directory: Path,
    port: int = 0,
    script: Path | None = None,
    ledger: Path | None = None,
    latency_ms: float = 0.0,
    app: Sequence[str] = (),
    guard: bool = False,
) -> int:
    """Run a twin as this process until SIGTERM or SIGINT; return its exit code (0; 2 for a user's mistake).

    ``guard`` also ends it when stdin reaches its end: it must not outlive the process that holds the other end.
    """
    if not 0 <= port <= 65_535:
        return _fail(f"port {port}: it is 0 to 65535, 0 for any free one")
    if not (math.isfinite(latency_ms) and latency_ms >= 0):
        return _fail(f"latency {latency_ms}: it is milliseconds, 0 or more")
    try:
        faults = None if script is None else load_script(script)
        book = _open_ledger(ledger)
        serve = partial(
            serve_twin,
            platform,
            port=port,
            directory=directory,
            script=faults,
            ledger=book,
            latency_ms=latency_ms,
            app=app,
            announce=_announce,
        )
        trio.run(_run_process, serve, book, guard, platform)
    except TwinError as error:
        return _fail(str(error))
    book.close()
    _log(f"{platform} twin: {book.summary()}")
    return 0


async def _run_process(serve: Callable[..., Awaitable[Ledger]], book: Ledger, guard: bool, platform: str) -> None:
    stopping = trio.Event()
    failed: TwinError | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, stopping)
        nursery.start_soon(_report, book, platform)
        if guard:
            nursery.start_soon(_stop_on_eof, stopping)
        try:
            await serve(stopping=stopping)
        except TwinError as error:
            # Raised again outside: a nursery would wrap it in a group.
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed


async def _stop_on_signal(stopping: trio.Event, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            if stopping.is_set():
                # Twice is faster.
                raise SystemExit(0)
            stopping.set()


async def _stop_on_eof(stopping: trio.Event) -> None:
    """The orphan guard: whoever started us holds the other end of stdin; when it dies, the kernel closes it."""
    stdin = sys.stdin.fileno()
    while True:
        try:
            await trio.lowlevel.wait_readable(stdin)
        except PermissionError:
            # A file or /dev/null: always readable, so that epoll refuses to watch it.
            await trio.lowlevel.checkpoint()
        if not os.read(stdin, 4096):
            break
    stopping.set()


async def _report(book: Ledger, platform: str) -> None:
    """Say now and then what was refused and why, where anything was."""
    said = 0
    while True:
        await trio.sleep(_REPORT_SECONDS)
        if book.refused.total() != said:
            said = book.refused.total()
            _log(f"{platform} twin: {book.summary()}")


def _announce(ready: Ready) -> None:
    sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
    sys.stdout.flush()


def _log(line: str) -> None:
    # The reader may be gone (a closed terminal, a parent that died): no reason to fail.
    with contextlib.suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _fail(message: str) -> int:
    _log(f"twin: {message}")
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Parse a command line and run the twin."""
    parser = argparse.ArgumentParser(prog="python -m simulators.twin", description="A provider twin on 127.0.0.1.")
    parser.add_argument("platform", choices=["apns", "fcm"])
    parser.add_argument("--directory", type=Path, required=True, help="its throw-away credentials (made if missing)")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--script", type=Path, help="faults to play: .toml or .json, see docs/twins.md")
    parser.add_argument("--ledger", type=Path, help="append a line of JSON for each accepted push")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS", help="milliseconds before each answer")
    parser.add_argument(
        "--app", action="append", default=[], help="topic or project it serves (repeatable; default: any)"
    )
    parser.add_argument("--guard", action="store_true", help="end when stdin does")
    given = parser.parse_args(argv)
    return run_twin(
        given.platform,
        directory=given.directory,
        port=given.port,
        script=given.script,
        ledger=given.ledger,
        latency_ms=given.latency,
        app=given.app,
        guard=given.guard,
    )


if __name__ == "__main__":
    sys.exit(main())
