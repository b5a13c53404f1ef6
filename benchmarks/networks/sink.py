"""The distant sink in a process of its own, which writes down what it has counted."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from benchmarks.ports import free_ports
from benchmarks.transport.sinks import Files, await_port, running
from simulators.distant_network import DistantNetwork
from simulators.distant_sink import Answers, serve_distant_sink
from simulators.sink import SinkLink
from storage.whole_file import write_whole

WRITE_EVERY = 0.1
"""Seconds between two writes of the counts."""


class Counts(msgspec.Struct, frozen=True):
    """What a sink has counted since its start."""

    asked: int = 0
    dead: int = 0
    connections: int = 0
    """That requests came over."""

    @property
    def accepted(self) -> int:
        """Answered with 200."""
        return self.asked - self.dead


@dataclass(frozen=True)
class DistantSink:
    """A running sink."""

    port: int
    _counts: Path

    def counts(self) -> Counts:
        """Return what it has counted by now."""
        time.sleep(2 * WRITE_EVERY)
        return msgspec.json.decode(self._counts.read_bytes(), type=Counts)


@contextlib.contextmanager
def distant_sink(directory: Path, network: DistantNetwork) -> Iterator[DistantSink]:
    """Run it; ``directory`` has the certificates."""
    (port,) = free_ports(1)
    counts = directory / "counts.json"
    counts.unlink(missing_ok=True)
    described = msgspec.json.encode(network).decode()
    with running(None, sys.executable, "-m", "benchmarks.networks.sink", str(directory), str(port), described):
        await_port(port)
        yield DistantSink(port, counts)


def _main() -> None:
    folder, port, described = sys.argv[1:]
    directory = Path(folder)
    network = msgspec.json.decode(described, type=DistantNetwork)
    answers, links = Answers(network), list[SinkLink]()

    async def count() -> None:
        while True:
            used = sum(1 for link in links if link.count)
            write_whole(directory / "counts.json", msgspec.json.encode(Counts(answers.asked, answers.dead, used)))
            await trio.sleep(WRITE_EVERY)

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            context = Files(directory).server_context()
            await serve_distant_sink(context, network, answers, port=int(port), opened=links.append)

    trio.run(serve)


if __name__ == "__main__":
    _main()
