"""A store that is far away: a proxy in a process of its own, which passes everything on after a while."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import trio

from benchmarks.ports import free_ports
from benchmarks.transport.sinks import await_port, running


@contextlib.contextmanager
def far_store(port: int, seconds: float, listen: int) -> Iterator[None]:
    """Pass on what comes to ``listen`` to ``port``, ``seconds`` later in each direction."""
    with running(None, sys.executable, "-m", "benchmarks.forecast.far_store", str(port), str(seconds), str(listen)):
        await_port(listen)
        yield


def a_port() -> int:
    """A free port."""
    return free_ports(1)[0]


async def _pass(source: trio.SocketStream, sink: trio.SocketStream, seconds: float) -> None:
    give, take = trio.open_memory_channel[tuple[float, bytes]](10_000)

    async def late() -> None:
        async for due, data in take:
            await trio.sleep_until(due)
            await sink.send_all(data)
        await sink.send_eof()

    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async with trio.open_nursery() as nursery, give:
            nursery.start_soon(late)
            async for data in source:
                await give.send((trio.current_time() + seconds, bytes(data)))


def _main() -> None:
    port, seconds, listen = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])

    async def serve(near: trio.SocketStream) -> None:
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", port) as far, trio.open_nursery() as nursery:
                nursery.start_soon(_pass, near, far, seconds)
                await _pass(far, near, seconds)
                nursery.cancel_scope.cancel()

    trio.run(trio.serve_tcp, serve, listen)


if __name__ == "__main__":
    _main()
