"""The node's child processes as actors: the embedded Tarantool, the provider twins, the workers."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from broadside import wire
from broadside.logs import child_line
from broadside.node.spare_worker import Waiting, command, socket_pair
from campaigns.channel_figures import ChannelFigures
from storage.embedded import Embedded
from storage.recovery import Recovery
from supervision import ChildProcess, Snapshot

HANG = 10.0
"""Seconds without a beat after which a worker is killed."""
STOP_MARGIN = 1.0
"""Seconds on top of the drain in which a worker may end by itself, before it gets a signal."""
STOP_GRACE = 5.0
"""Seconds from that signal to SIGKILL."""


def tarantool(
    embedded: Embedded, recovery: Recovery, up: Callable[[Mapping[str, object]], None], env: Mapping[str, str]
) -> ChildProcess:
    """The embedded Tarantool. SIGTERM stops it in an orderly way; its data survive any other end too.

    ``up``: gets its first line.
    """
    recovery.begin()
    return ChildProcess(
        "tarantool",
        embedded.command,
        env=env,
        first_line=embedded.handshake.rstrip(b"\n"),
        on_ready=up,
        log_line=child_line("tarantool"),
        grace=10.0,  # its workers are gone by then; alone, it waits for them (lua/leaving.lua)
    )


class TwinState:
    """The state of one provider's twin: how to restart it unchanged, and how to reach it."""

    def __init__(
        self, platform: str, apps: Sequence[str], folder: Path, *, name: str = "", recorded: bool = True
    ) -> None:
        """``name``: of its process; ``recorded``: whether it keeps a ledger."""
        self.platform = platform
        self.name = name or f"twin-{platform}"
        self._recorded = recorded
        self.apps = list(apps)
        self.folder = folder
        self.port = 0
        self.origin = ""
        self.ca = ""
        self.credentials: dict[str, str] = {}

    @property
    def ledger(self) -> Path:
        """The file with every push that the twin accepted, one line of JSON each."""
        return self.folder / f"{self.platform}.ledger"

    @property
    def script(self) -> Path:
        """The file with the twin's answers other than 200; optional."""
        return self.folder / f"{self.platform}.script.toml"

    def process(self, env: Mapping[str, str]) -> ChildProcess:
        """One incarnation of the twin; every later one listens on the first one's port."""
        command = [sys.executable, "-m", "simulators.twin", self.platform, "--guard", "--port", str(self.port)]
        command += ["--directory", str(self.folder)]
        if self._recorded:
            command += ["--ledger", str(self.ledger)]
        for app in self.apps:
            command += ["--app", app]
        if self.script.exists():
            command += ["--script", str(self.script)]
        return ChildProcess(self.name, command, env=env, on_ready=self._ready, log_line=child_line(self.name))

    def _ready(self, said: dict[str, Any]) -> None:
        self.port = int(said["port"])
        self.origin = str(said["origin"])
        self.ca = str(said["ca"])
        self.credentials = {str(key): str(value) for key, value in said["credentials"].items()}


@dataclass
class WorkerCounters:
    """What a worker has counted since the node's start."""

    cpu: float = 0.0
    """Seconds of processor time."""
    stages: dict[str, float] = field(default_factory=dict)
    """The same by stage of a push."""
    channels: dict[str, ChannelFigures] = field(default_factory=dict)

    @classmethod
    def of(cls, stats: wire.Stats) -> WorkerCounters:
        """The counters of one incarnation."""
        return cls(stats.cpu, stats.stages, stats.figures)

    def add(self, other: WorkerCounters) -> None:
        """Add another's."""
        self.cpu += other.cpu
        for stage, seconds in other.stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + seconds
        for name, figures in other.channels.items():
            self.channels.setdefault(name, ChannelFigures()).add(figures)


class WorkerState:
    """What the node knows of one worker, across its incarnations."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid: int | None = None
        self.stats: wire.Stats | None = None
        self.tree: dict[str, Any] = {}
        self.serving = False
        """Whether its current incarnation has reported that its tree is up."""
        self.line: wire.MessageStream | None = None
        """To its current incarnation, once the handshake has begun."""
        self.starts = 0
        """How often its process has started."""
        self._past = WorkerCounters()
        self._reloads: list[trio.Event] = []

    def counters(self) -> WorkerCounters:
        """What all its incarnations have counted; an ended one keeps what it last reported."""
        total = WorkerCounters()
        total.add(self._past)
        if self.stats is not None:
            total.add(WorkerCounters.of(self.stats))
        return total

    def ended(self) -> None:
        """Its process has ended."""
        self._past, self.stats = self.counters(), None
        self.pid = self.line = None
        self.serving = False
        self.tree = {}
        self.reloaded()

    async def reload(self, hello: Callable[[], wire.Hello]) -> None:
        """Have the current incarnation go on with other settings; returns when it does, or has ended.

        Without one the next one begins with them.
        """
        if self.line is None:
            await trio.lowlevel.checkpoint()
            return
        done = trio.Event()
        self._reloads.append(done)
        await self.tell(wire.Reload(hello()))
        await done.wait()

    def reloaded(self) -> None:
        """The current incarnation uses the settings of the last `reload`, or has ended."""
        for done in self._reloads:
            done.set()
        self._reloads.clear()

    async def tell(self, message: wire.Frame) -> None:
        """Send ``message`` to the current incarnation, if there is one. The next one gets the same in its hello."""
        if self.line is not None:
            try:
                await self.line.send(message)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # it is gone, or going


class WorkerProcess:
    """One incarnation of a worker: the process, and our end of its socket pair."""

    def __init__(
        self,
        state: WorkerState,
        hello: Callable[[], wire.Hello],
        drain: float,
        env: Mapping[str, str],
        spare: Waiting | None = None,
    ) -> None:
        """``spare``: the process that becomes this worker; None: a new one is started."""
        self._state = state
        self._hello = hello
        self._answered = trio.Event()
        self._stop_wanted = trio.Event()
        self._theirs: socket.socket | None = None
        descriptor = -1
        if spare is None:
            self._stream, self._theirs = socket_pair()
            self._line, descriptor = wire.MessageStream(self._stream), self._theirs.fileno()
        else:
            self._stream, self._line = spare.stream, spare.line
        self._process = ChildProcess(
            state.name,
            command(descriptor),
            pass_fds=[descriptor],
            started=None if spare is None else spare.process,
            env=env,
            ready_on=self._shake_hands,
            log_line=child_line(state.name),
            request_stop=self._stop_wanted.set,
            request_grace=drain + STOP_MARGIN,
            grace=STOP_GRACE,
            heartbeat_timeout=HANG,
        )

    async def run(self, ready: Callable[[], None]) -> None:
        """Run the process to its end."""
        try:
            async with self._stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                nursery.start_soon(self._tell)
                await self._process.run(ready)
                nursery.cancel_scope.cancel()
        finally:
            self._close_theirs()
            self._state.ended()

    def stop(self) -> None:
        """Ask the worker to drain."""
        self._process.stop()

    def snapshot(self) -> Snapshot:
        """The worker's tree as last reported."""
        tree: Snapshot = self._state.tree  # type: ignore[assignment]  # came as JSON from the worker's own snapshot
        return tree

    def _close_theirs(self) -> None:
        if self._theirs is not None:
            self._theirs.close()

    async def _shake_hands(self, process: ChildProcess) -> None:
        self._close_theirs()
        self._state.pid = process.pid
        self._state.starts += 1
        hello = self._hello()
        # No other task runs between these three: any message sent later comes after the hello, and is newer.
        self._state.line = self._line
        await self._line.send(hello)
        await self._answered.wait()

    async def _listen(self) -> None:
        while (message := await self._line.receive()) is not None:
            match message:
                case wire.WorkerReady():
                    self._state.serving = True
                    self._answered.set()
                case wire.Reloaded():
                    self._state.reloaded()
                case wire.Beat():
                    self._process.beat()
                case wire.Stats():
                    self._state.stats = message
                case wire.Tree(snapshot):
                    self._state.tree = snapshot

    async def _tell(self) -> None:
        await self._stop_wanted.wait()
        try:
            await self._line.send(wire.Stop())
        except trio.BrokenResourceError:
            return  # it is gone already
