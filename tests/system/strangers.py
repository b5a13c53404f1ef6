"""Faults of strangers: somebody without a key knocks at a port while a campaign is on its way.

The measure is the same stranger knocking at a socket that only accepts and closes: what remains of the campaign's rate
then is what a stranger costs by being on the machine.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

import trio

from tests.system.faults import fault, none, nothing
from tests.system.processes import Process, until

if TYPE_CHECKING:
    from tests.system.run import Run

LAW = "no stranger stops or slows a campaign"
KNOCKING_SECONDS = 120.0
ELSEWHERE = "10.66.66.66"
"""An address that is not among a queue's hosts: all of loopback always is, so this machine gets it for a while."""


@asynccontextmanager
async def _address() -> AsyncIterator[None]:
    """The other address, while this lasts (needs root)."""
    await trio.run_process(["ip", "address", "add", f"{ELSEWHERE}/32", "dev", "lo"])
    try:
        yield
    finally:
        with trio.move_on_after(5.0, shield=True):
            await trio.run_process(["ip", "address", "del", f"{ELSEWHERE}/32", "dev", "lo"])


def around(kind: str) -> Callable[[Run, bool], AbstractAsyncContextManager[None]]:
    """The stranger, from before Fire to the campaign's end: at the node's port, or at one that accepts and closes."""

    @asynccontextmanager
    async def knocking(run: Run, disturbed: bool) -> AsyncIterator[None]:
        workers, pid = run.node.workers(), run.node.pid
        tarantool = kind == "tarantool"
        async with _address() if tarantool else nullcontext(), trio.open_nursery() as nursery:
            port = run.queue_port if tarantool else run.node.port
            if not disturbed:
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
                nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, listeners)
                port = listeners[0].socket.getsockname()[1]
            source = ELSEWHERE if tarantool else "127.0.0.1"
            command = [sys.executable, "-m", "tests.system.knocking", source, str(port), kind, str(KNOCKING_SECONDS)]
            stranger = Process("stranger", run.folder, run.marked)
            stranger.output.unlink(missing_ok=True)
            stranger.spawn(command)
            try:
                await until(lambda: "knocking" in stranger.said(), "knock", 30)
                yield
            finally:
                with trio.move_on_after(5.0, shield=True):
                    await stranger.kill()
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
        root=_tarantool,
    )(nothing)
