"""A store that moves far away: a proxy process that from then on passes everything on after a while."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import trio

from benchmarks.ports import free_ports
from benchmarks.transport.sinks import await_port, running


@contextlib.contextmanager
def far_store(port: int, seconds: float, listen: int, moved: Path) -> Iterator[None]:
    """Pass on what comes to ``listen`` to ``port``; once the file ``moved`` exists, ``seconds`` later each way."""
    arguments = [str(port), str(seconds), str(listen), str(moved)]
    with running(None, sys.executable, "-m", "benchmarks.forecast.far_store", *arguments):
        await_port(listen)
        yield


def a_port() -> int:
    """A free port."""
    return free_ports(1)[0]


async def _pass(source: trio.SocketStream, sink: trio.SocketStream, seconds: float, moved: Path) -> None:
    give, take = trio.open_memory_channel[tuple[float, bytes]](10_000)

    async def late() -> None:
        async for due, data in take:
            await trio.sleep_until(due)
            await sink.send_all(data)
        await sink.send_eof()

    try:
        async with trio.open_nursery() as nursery, give:
            nursery.start_soon(late)
            async for data in source:
                await give.send((trio.current_time() + (seconds if moved.exists() else 0.0), bytes(data)))  # noqa: ASYNC240

    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # one of the two is gone


def _main() -> None:
    port, seconds, listen, moved = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])

    async def serve(near: trio.SocketStream) -> None:
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", port) as far, trio.open_nursery() as nursery:
                nursery.start_soon(_pass, near, far, seconds, moved)
                await _pass(far, near, seconds, moved)
                nursery.cancel_scope.cancel()

    trio.run(trio.serve_tcp, serve, listen)


if __name__ == "__main__":
    _main()
