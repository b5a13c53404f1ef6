"""A worker process: one event loop, one core, one full tree. Started by the node; ends when the node is gone."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog
import trio

from actors.refusals import Refusals
from broadside import logs, wire
from broadside.machine_limits import peak_memory
from broadside.shared_tokens import TokenHolder
from broadside.topology import WorkerTree, worker_tree
from broadside.worker.stages import Stages
from transports import registry
from transports.http2.growth import busy_seconds, waited_seconds

log = structlog.get_logger(__name__)

ORPHAN_DRAIN = 5.0
"""Seconds to drain once the node is gone."""
ORPHAN_LIFE = 10
"""Seconds after which the kernel ends an orphaned worker."""
BEAT_EVERY = 1.0
HURRIED_EVERY = 0.1
HURRIED = 3.0
"""Seconds between beats, for some seconds after a stop: whoever has stopped a campaign waits to read that it stands."""


class Telemetry:
    """Reports every second that the event loop is running, with the worker's figures and states.

    It is in no supervision tree: a beat says that this process is alive, whatever the tree is restarting.
    """

    def __init__(
        self,
        line: wire.MessageStream,
        tree: WorkerTree,
        stages: Stages,
    ) -> None:
        self._line = line
        self._tree = tree
        self._stages = stages
        self._hurried_until = -math.inf
        self._pause = trio.CancelScope()

    def hurry(self) -> None:
        """Report now, and more often for a while."""
        self._hurried_until = trio.current_time() + HURRIED
        self._pause.cancel()

    async def run(self) -> None:
        """Report until cancelled, or until the node is gone."""
        while True:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            try:
                await self._line.send(
                    wire.Beat(),
                    wire.Stats(
                        rss=peak_memory(),
                        cpu=usage.ru_utime + usage.ru_stime,
                        sending=self._tree.sending(),
                        stages=dict(self._stages.seconds()),
                        tasks=trio.lowlevel.current_statistics().tasks_living,
                        at=time.monotonic(),
                        states=self._tree.states(),
                        figures=self._tree.figures(),
                        activity=self._tree.activity(),
                        loads=self._tree.loads(),
                        busy=busy_seconds(),
                        waited=waited_seconds(),
                        walk=self._tree.walk,
                    ),
                    wire.Tree(dict(self._tree.supervisor.snapshot())),
                )
            except trio.BrokenResourceError:
                return  # the listener notices it too, and drains
            self._pause = trio.CancelScope()
            with self._pause:
                await trio.sleep(HURRIED_EVERY if trio.current_time() < self._hurried_until else BEAT_EVERY)


async def serve(stream: trio.abc.Stream) -> None:
    """Run a worker over ``stream`` until a Stop, a signal, or the node's end."""
    line = wire.MessageStream(stream)
    hello = await line.receive()
    while isinstance(hello, wire.Prepare):
        _show_as("spare-worker")
        _prepare(hello.platforms)
        hello = await line.receive()
    if hello is None:
        return
    if not isinstance(hello, wire.Hello):
        raise wire.WireError(f"the node's first message was {type(hello).__name__}, not Hello")
    structlog.contextvars.bind_contextvars(process=hello.worker)
    _show_as(hello.worker.rpartition("/")[2])
    tokens = TokenHolder(hello.tokens)
    stages = Stages()
    worker = worker_tree(hello, tokens=tokens)
    tree = worker.supervisor
    _hear(worker.refusals, hello.dead)
    async with trio.open_nursery() as nursery:
        life = nursery.cancel_scope

        def stop(seconds: float) -> None:
            """Drain; one deadline applies to the whole tree."""
            life.deadline = min(life.deadline, trio.current_time() + seconds)
            tree.stop()

        telemetry = Telemetry(line, worker, stages)
        nursery.start_soon(telemetry.run)
        ends = partial(stop, hello.drain), partial(stop, ORPHAN_DRAIN)

        async def change(hello: wire.Hello) -> None:
            """Go on with other settings, and say so."""
            for token in hello.tokens:
                tokens.receive(token)
            await worker.change(hello)
            _hear(worker.refusals, hello.dead)
            with contextlib.suppress(trio.BrokenResourceError):  # the listener notices it too, and drains
                await line.send(wire.Reloaded())

        def begin_change(hello: wire.Hello) -> None:
            nursery.start_soon(change, hello)

        def probe() -> None:
            worker.probe()
            nursery.start_soon(worker.rehearse)

        nursery.start_soon(_listen, line, tokens, worker, telemetry.hurry, begin_change, probe, *ends)
        nursery.start_soon(_signals, partial(stop, hello.drain))
        nursery.start_soon(stages.run)

        def ready() -> None:
            nursery.start_soon(line.send, wire.WorkerReady())
            _freeze()

        await tree.run(ready)
        life.cancel()


def _prepare(platforms: Sequence[str]) -> None:
    """Import what a worker would import at its start. What fails here is reported by the worker that needs it."""
    for platform in platforms:
        with contextlib.suppress(Exception):
            registry.load_transport(platform)
    _freeze()


def _show_as(name: str) -> None:
    """Make ``name`` this process's in ``ps -o comm`` and ``top``. Only Linux has that file."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _freeze() -> None:
    # these objects live for ever: the collector need not scan them again. Its thresholds are Python's default:
    # higher ones cost more CPU and memory (`./dev bench choices`)
    gc.collect()
    gc.freeze()


def _hear(refusals: Mapping[str, Refusals], standings: Sequence[wire.RefusalState]) -> None:
    for channel, watch in refusals.items():
        watch.hear({each.campaign: each.state for each in standings if each.channel == channel})


async def _listen(
    line: wire.MessageStream,
    tokens: TokenHolder,
    worker: WorkerTree,
    hurry: Callable[[], None],
    change: Callable[[wire.Hello], None],
    probe: Callable[[], None],
    stop: Callable[[], None],
    left_alone: Callable[[], None],
) -> None:
    while (message := await line.receive()) is not None:
        match message:
            case wire.Stop():
                stop()
            case wire.SharedToken():
                tokens.receive(message)
            case wire.DeadNews(standings):
                _hear(worker.refusals, standings)
            case wire.SendingPermit(stopped, until):
                if worker.permit.renew(stopped, until):
                    hurry()
            case wire.Probe():
                probe()
            case wire.Reload(hello):
                change(hello)
    signal.alarm(ORPHAN_LIFE)  # even if the drain hangs, an orphan must end
    log.warning("the node is gone: draining")
    left_alone()


async def _signals(stop: Callable[[], None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop()


async def _main(descriptor: int) -> None:
    pair = socket.socket(fileno=descriptor)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(pair)) as stream:
        await serve(stream)


def main() -> None:
    """Run ``python -m broadside.worker FD``; FD is the inherited end of the socket pair."""
    logs.configure_child()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # `kill -HUP` to a node's process group must end nothing
    os.set_inheritable(int(sys.argv[1]), False)
    try:
        trio.run(_main, int(sys.argv[1]))
    finally:
        logs.close()
