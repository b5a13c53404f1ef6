"""Faults of strangers: somebody without a key knocks at a port while a campaign is on its way.

The measure is the same stranger knocking at a socket that only accepts and closes: what remains of the campaign's rate
then is what a stranger costs by being on the machine.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from tests.system.faults import fault, none, nothing
from tests.system.processes import Process, until

if TYPE_CHECKING:
    from tests.system.run import Run

LAW = "no stranger stops or slows a campaign"
KNOCKING_SECONDS = 120.0


def around(kind: str) -> Callable[[Run, bool], AbstractAsyncContextManager[None]]:
    """The stranger, from before Fire to the campaign's end: at the node's port, or at one that accepts and closes."""

    @asynccontextmanager
    async def knocking(run: Run, disturbed: bool) -> AsyncIterator[None]:
        workers, pid = run.node.workers(), run.node.pid
        async with trio.open_nursery() as nursery:
            port = run.queue_port if kind == "tarantool" else run.node.port
            if not disturbed:
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
                nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, listeners)
                port = listeners[0].socket.getsockname()[1]
            command = [sys.executable, "-m", "tests.system.knocking", str(port), kind, str(KNOCKING_SECONDS)]
            stranger = Process("stranger", run.folder, run.marked)
            stranger.output.unlink(missing_ok=True)
            stranger.spawn(command)
            try:
                await until(lambda: "knocking" in stranger.said(), "knock", 30)
                yield
            finally:
                stranger.signal(signal.SIGKILL)
            nursery.cancel_scope.cancel()
        alive = run.node.running and run.node.pid == pid and run.node.workers() == workers
        run.law("a stranger stops no process", alive, f"node and workers were {pid} and {workers}")

    return knocking


for _kind, _where in (("http", "the-api"), ("tarantool", "tarantool")):
    _tarantool = _kind == "tarantool"
    fault(
        f"stranger-at-{_where}",
        none,
        at=0.0,
        limit=100.0,
        compared=LAW,
        around=around(_kind),
        store=_tarantool,
        apart=_tarantool,
        queue_port=_tarantool,
        drawn=False,
    )(nothing)
