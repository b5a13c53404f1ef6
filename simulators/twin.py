"""A provider twin as a program: its arguments, signals and output.

``python -m simulators.twin apns`` runs one; it prints to stdout, as one line of JSON, how to reach it.
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
from typing import Final

import msgspec
import trio

from simulators import twins
from simulators.errors import TwinError
from simulators.faults.script import load_script
from simulators.ledger import Ledger
from simulators.serving.service import TwinReady, open_ledger, serve_twin

_REPORT_SECONDS: Final = 10.0


def run_twin(
    platform: str,
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
        return _fail(f"port {port}: must be 0 to 65535; 0 takes any free port")
    if not (math.isfinite(latency_ms) and latency_ms >= 0):
        return _fail(f"latency {latency_ms}: must be 0 or more milliseconds")
    try:
        faults = None if script is None else load_script(script)
        opened = open_ledger(ledger)
        serve = partial(
            serve_twin,
            platform,
            port=port,
            directory=directory,
            script=faults,
            ledger=opened,
            latency_ms=latency_ms,
            app=app,
            announce=_announce,
        )
        trio.run(_run_process, serve, opened, guard, platform)
    except TwinError as error:
        return _fail(str(error))
    opened.close()
    _log(f"{platform} twin: {opened.summary()}")
    return 0


async def _run_process(serve: Callable[..., Awaitable[Ledger]], ledger: Ledger, guard: bool, platform: str) -> None:
    stopping = trio.Event()
    failed: TwinError | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, stopping)
        nursery.start_soon(_report, ledger, platform)
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
                # A second signal ends it at once.
                raise SystemExit(0)
            stopping.set()


async def _stop_on_eof(stopping: trio.Event) -> None:
    """Stop at the end of stdin: our parent holds its other end, and the kernel closes it when the parent dies."""
    stdin = sys.stdin.fileno()
    while True:
        try:
            await trio.lowlevel.wait_readable(stdin)
        except PermissionError:
            # A file or /dev/null: it is always readable, and epoll refuses to watch it.
            await trio.lowlevel.checkpoint()
        if not os.read(stdin, 4096):
            break
    stopping.set()


async def _report(ledger: Ledger, platform: str) -> None:
    """Log from time to time what was refused and why, if anything was."""
    said = 0
    while True:
        await trio.sleep(_REPORT_SECONDS)
        if ledger.refused.total() != said:
            said = ledger.refused.total()
            _log(f"{platform} twin: {ledger.summary()}")


def _announce(ready: TwinReady) -> None:
    # as bytes: JSON is UTF-8 whatever this process's locale is
    sys.stdout.buffer.write(msgspec.json.encode(ready) + b"\n")
    sys.stdout.buffer.flush()


def _log(line: str) -> None:
    # The reader may be gone (a closed terminal, a dead parent): that is no reason to fail.
    with contextlib.suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _fail(message: str) -> int:
    _log(f"twin: {message}")
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Parse a command line and run the twin."""
    parser = argparse.ArgumentParser(prog="python -m simulators.twin", description="A provider twin on 127.0.0.1.")
    parser.add_argument("platform", choices=twins.names())
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
