"""The distant sink in a process of its own, which writes down what it has counted."""

from __future__ import annotations

import contextlib
import mmap
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from benchmarks.ports import free_ports
from benchmarks.transport.sinks import Files, await_port, running
from simulators.distant_network import DistantNetwork
from simulators.distant_sink import Answers, DistantLink, serve_distant_sink

_COUNTS = struct.Struct("3q")
"""As a :class:`Counts`, in a file that the sink's process has in its memory: a write costs nothing."""
_COUNT_EVERY = 0.02
"""Seconds."""


class Counts(NamedTuple):
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
        """Return what it has counted until a moment ago."""
        return Counts(*_COUNTS.unpack(self._counts.read_bytes()))


@contextlib.contextmanager
def distant_sink(directory: Path, network: DistantNetwork) -> Iterator[DistantSink]:
    """Run it; ``directory`` has the certificates."""
    (port,) = free_ports(1)
    counts = directory / "counts"
    counts.write_bytes(bytes(_COUNTS.size))
    described = msgspec.json.encode(network).decode()
    with running(None, sys.executable, "-m", "benchmarks.networks.sink", str(directory), str(port), described):
        await_port(port)
        yield DistantSink(port, counts)


def _main() -> None:
    folder, port, described = sys.argv[1:]
    directory = Path(folder)
    network = msgspec.json.decode(described, type=DistantNetwork)
    answers, links = Answers(network), list[DistantLink]()

    async def count() -> None:
        with (directory / "counts").open("r+b") as file, mmap.mmap(file.fileno(), _COUNTS.size) as counts:
            while True:
                used = sum(1 for link in links if link.count)
                counts[:] = _COUNTS.pack(answers.asked, answers.dead, used)
                await trio.sleep(_COUNT_EVERY)

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            context = Files(directory).server_context()
            await serve_distant_sink(context, network, answers, port=int(port), opened=links.append)

    trio.run(serve)


if __name__ == "__main__":
    _main()
