"""A worker process in reserve: started and imported, so that it takes a killed worker's place at once (docs/adr/0037).

It has no settings and no secrets. It gets them when it becomes a worker: in its hello, as every worker does.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog
import trio

from broadside import wire

log = structlog.get_logger(__name__)

LATER = 3.0
"""Seconds until a spare is started: those who serve come first, as does a worker that has just taken a place."""
AGAIN = 60.0
"""Seconds until the next one if one has died: without a spare a worker's restart only takes longer."""
LAST_WORDS = 4096
"""Bytes of a dead spare's output that are read."""
REAP_WITHIN = 5.0
"""Seconds for a killed spare to be gone."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A worker process that waits for its hello."""

    process: trio.Process
    stream: trio.SocketStream
    """Our end of its socket pair …"""
    line: wire.MessageStream
    """… and the messages on it."""


def command(descriptor: int) -> list[str]:
    """The command line of a worker that inherits ``descriptor``, its end of the socket pair."""
    return [sys.executable, "-m", "broadside.worker", str(descriptor)]


def socket_pair() -> tuple[trio.SocketStream, socket.socket]:
    """A pair for a worker: our end, and the one to pass on."""
    ours, theirs = socket.socketpair()
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours)), theirs


class SpareWorker:
    """Keeps one worker process in reserve; an actor. A spare that dies is no crash: it is logged, and made anew."""

    def __init__(self, platforms: Iterable[str], env: Mapping[str, str]) -> None:
        """``platforms``: whose code it imports; ``env``: the environment of a worker."""
        self._platforms = sorted(set(platforms))
        self._env = env
        self._waiting: Waiting | None = None
        self._taken = trio.Event()
        self._life = trio.CancelScope()

    async def run(self, ready: Callable[[], None]) -> None:
        """Keep a spare until stopped. It is ready at once: nobody waits for a spare."""
        ready()
        self._life = trio.CancelScope()
        with self._life:
            while True:
                await trio.sleep(LATER)
                try:
                    await self._keep_one()
                except (OSError, trio.BrokenResourceError) as error:
                    log.warning("the spare worker ended; a killed worker's restart takes longer", why=str(error))
                    await trio.sleep(AGAIN)

    def stop(self) -> None:
        """End the spare."""
        self._life.cancel()

    @property
    def pid(self) -> int | None:
        """The spare's process id; None: there is no spare at the moment."""
        return None if self._waiting is None else self._waiting.process.pid

    def take(self) -> Waiting | None:
        """Hand the spare over, to be run and reaped by the caller; None: there is none at the moment."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.process.poll() is not None:
            return None
        self._taken.set()
        return waiting

    async def _keep_one(self) -> None:
        """Start a spare, and wait until it is taken (OSError: it cannot be started, or has died)."""
        stream, theirs = socket_pair()
        with theirs:
            process = await trio.lowlevel.open_process(
                command(theirs.fileno()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                env=self._env,
            )
        taken = self._taken = trio.Event()
        try:
            line = wire.MessageStream(stream)
            with contextlib.suppress(trio.BrokenResourceError):  # it has died already, and says why on its way out
                await line.send(wire.Prepare(self._platforms))
            self._waiting = Waiting(process, stream, line)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_when_over, process, nursery.cancel_scope)
                await taken.wait()
                nursery.cancel_scope.cancel()
        finally:
            if not taken.is_set():
                self._waiting = None
                said = ""
                with trio.move_on_after(REAP_WITHIN, shield=True):
                    said = await _end(process)
                    await stream.aclose()
        if not taken.is_set():
            raise OSError(f"exit code {process.returncode}: {said or 'it said nothing'}")


async def _when_over(process: trio.Process, scope: trio.CancelScope) -> None:
    await process.wait()
    scope.cancel()


async def _end(process: trio.Process) -> str:
    """Kill and reap a process; returns its last words."""
    process.kill()
    await process.wait()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said = await process.stderr.receive_some(LAST_WORDS)
    for pipe in (process.stdin, process.stdout, process.stderr):
        await pipe.aclose()
    return said.decode(errors="replace").strip()[-200:]
