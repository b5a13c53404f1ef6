"""What several folders' tests share: one real Tarantool per test process, and fresh channels in it for each test."""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import settings

from storage.embedded import Embedded
from storage.link import Link
from tests.draws import drawn

# a law is broken by what is answered, not by a busy machine
settings.register_profile("broadside", deadline=None, max_examples=drawn(100))
settings.load_profile("broadside")

CHANNELS = [f"channel-{n}" for n in range(60)]
QUEUE_MODULE = os.environ.get("QUEUE_MODULE", "bundled")
"""``rock``: the roles' tests run on Tarantool's queue rock, which must be installed, or be where ``LUA_PATH`` says."""
_numbers = itertools.count()


class Server:
    """An embedded instance as a plain child process of the tests, which can be killed and started again."""

    def __init__(self, folder: Path, channels: list[str], memory: int = 256 << 20) -> None:
        self.embedded = Embedded(folder, channels, memory=memory, module=QUEUE_MODULE)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        self.process = subprocess.Popen(
            self.embedded.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            restore_signals=False,  # Python ignores SIGXFSZ, and so does its child: ``disk_full``
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.embedded.handshake)
        self.process.stdin.flush()
        assert b'"ready":true' in self.process.stdout.readline()
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self._gone()

    def stop(self) -> None:
        """End it as a node that is gone would: by EOF on its standard input."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self._gone()

    @contextmanager
    def disk_full(self) -> Iterator[None]:
        """Let the instance write to no file, as on a full disk."""
        assert self.process is not None
        before = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, before)

    def _gone(self) -> None:
        assert self.process is not None
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process = None


@pytest.fixture(scope="session")
def tarantool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The instance that most tests share: its spaces outlive a test, its channels do not meet."""
    server = Server(tmp_path_factory.mktemp("tarantool"), CHANNELS).start()
    yield server
    server.stop()
    server.embedded.remove_runtime()


@pytest.fixture
def own_tarantool(tmp_path: Path) -> Iterator[Server]:
    """An instance of this test's own, for what would disturb the others: a blank base, a kill -9."""
    server = Server(tmp_path / "tarantool", ["ios", "android"]).start()
    yield server
    if server.process is not None:
        server.stop()
    server.embedded.remove_runtime()


@pytest.fixture
def channel(tarantool: Server) -> str:
    """A channel that no other test of this process has used."""
    return CHANNELS[next(_numbers) % len(CHANNELS)]


@asynccontextmanager
async def linked(server: Server) -> AsyncIterator[Link]:
    """A running link whose ``store`` and ``queue`` are both this instance."""
    link = Link({"store": server.embedded.endpoint, "queue": server.embedded.endpoint})
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, link)
        yield link
        link.stop()


async def _run(link: Link, task_status: trio.TaskStatus[None]) -> None:
    await link.run(task_status.started)


@pytest.fixture
async def link(tarantool: Server) -> AsyncIterator[Link]:
    """A running link to the shared instance."""
    async with linked(tarantool) as link:
        yield link


@pytest.fixture
async def own_link(own_tarantool: Server) -> AsyncIterator[Link]:
    """A running link to the test's own instance."""
    async with linked(own_tarantool) as link:
        yield link
