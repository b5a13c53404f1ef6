"""Faults of strangers: somebody without a key knocks at a port while a campaign is on its way.

The measure is the same stranger knocking at a socket that only accepts and closes: what remains of the campaign's rate
then is what a stranger costs by being on the machine.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.system.faults import Act, fault, none

if TYPE_CHECKING:
    from tests.system.run import Run

LAW = "no stranger stops or slows a campaign"
KNOCKING_SECONDS = 120.0


@contextmanager
def _knocking(run: Run, port: int, kind: str) -> Iterator[None]:
    """A stranger in a process of its own."""
    command = [sys.executable, "-m", "tests.system.knocking", str(port), kind, str(KNOCKING_SECONDS)]
    with subprocess.Popen(command, env=run.node.environment, stdout=subprocess.DEVNULL) as stranger:
        try:
            yield
        finally:
            stranger.kill()


async def _all_sent(run: Run) -> None:
    """Wait until nearly everybody has had the news, or the run gives up."""
    campaign = run.campaigns[-1]
    wanted = run.accepted() + 0.9 * len(campaign.base)
    with trio.move_on_after(90.0):
        while run.accepted() < wanted:  # noqa: ASYNC110 - the twins are other processes
            await trio.sleep(0.1)


def at_the_wall(kind: str) -> Act:
    """The same stranger, at a socket that only accepts and closes."""

    async def act(run: Run, values: dict[str, Any]) -> None:
        async def close(stream: trio.SocketStream) -> None:
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, close, listeners)
            with _knocking(run, listeners[0].socket.getsockname()[1], kind):
                await trio.sleep_forever()

    return act


def at(kind: str) -> Act:
    """The stranger, at the node's own port."""

    async def act(run: Run, values: dict[str, Any]) -> None:
        workers, pid = run.node.workers(), run.node.pid
        with _knocking(run, run.queue_port if kind == "tarantool" else run.node.port, kind):
            await _all_sent(run)
        alive = run.node.running and run.node.pid == pid and run.node.workers() == workers
        run.law("a stranger stops no process", alive, f"node and workers were {pid} and {workers}")
        run.over()

    return act


for _kind, _needs in (("http", {}), ("tarantool", {"store": True, "apart": True, "queue_port": True})):
    fault(
        f"stranger-at-{'the-api' if _kind == 'http' else 'tarantool'}",
        none,
        at=0.0,
        limit=100.0,
        compared=LAW,
        undisturbed=at_the_wall(_kind),
        drawn=False,
        **_needs,
    )(at(_kind))
