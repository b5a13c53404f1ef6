"""An actor that is an operating-system process: started, shaken hands with, watched, stopped, always reaped.

The child gets a session of its own, so that a Ctrl-C in the terminal reaches it only through its supervisor, and a
pipe as standard input, held open by this process: when this process is gone, by kill -9 too, the child reads EOF
and must exit. A parent-death signal would not do: Linux sends it when the *thread* that spawned the child ends, and
Trio spawns from cached threads that end after ten idle seconds.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import msgspec
import trio

from supervision.errors import HandshakeFailed, HungProcess, ProcessDied, ProcessError
from supervision.events import log
from supervision.output_lines import OutputLines

REAP_WITHIN = 5.0  # seconds for a killed process to be gone
LAST_OUTPUT_WITHIN = 0.5  # seconds for the pipes' EOF after the exit: a grandchild may hold them open
OVERSLEPT = 0.2  # seconds by which a sleep must overrun to show that this process itself stood still
UNREAD_WITHIN = 0.5  # seconds to read what arrived meanwhile


_running: set[trio.Process] = set()


def kill_running() -> None:
    """Kill every process that runs as a `ChildProcess` here: the last resort before this process ends itself.

    May be called from any thread, even when the event loop stands still.
    """
    for process in list(_running):
        _signal(process, signal.SIGKILL, group=True)


def _ignore_line(stream: str, text: str) -> None:
    """The default of `log_line`."""


class ChildProcess:
    """Runs `argv` as a child process; an actor, so one object for one incarnation.

    - `pass_fds`: as for `subprocess.Popen`. The descriptors passed on stay open in this process: close this side's copy
      once the process runs, or its channel never ends (`ready_on` is a good place).
    - `env`: its environment; None: this process's own.
    - `started`: the process, if the caller has started it before: from `argv`, with pipes for its standard streams and
      a session of its own. From `run` on it is this object's.
    - `first_line`: bytes written to standard input before all else, a newline added. Standard input then stays open.
    - `ready_on`: "stdout" waits for a first line with a JSON object and hands it to `on_ready`; an async function,
      called with this object once the process runs, makes the process ready by returning.
    - `log_line(stream, text)`: called with each further line, `stream` being "stdout" or "stderr".
    - `request_stop`: asks the process to stop, over a channel of the caller's. If it is left out, or
      `request_grace` seconds after it, SIGTERM follows, and SIGKILL to the process's group `grace` seconds later.
      The child spec's `shutdown` should be longer than both together: a cancel kills at once.
    - `heartbeat_timeout`: seconds between two calls of `beat()`, counted from ready; without one the process is
      killed and `HungProcess` raised.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        *,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        started: trio.Process | None = None,
        first_line: bytes | None = None,
        ready_on: Literal["stdout"] | Callable[[ChildProcess], Awaitable[None]] = "stdout",
        on_ready: Callable[[dict[str, object]], None] | None = None,
        log_line: Callable[[str, str], None] = _ignore_line,
        request_stop: Callable[[], None] | None = None,
        request_grace: float = 5.0,
        grace: float = 5.0,
        heartbeat_timeout: float | None = None,
    ) -> None:
        if not argv:
            raise ValueError(f'process "{name}": argv is empty')
        self.name = name
        self._argv = [os.fspath(part) for part in argv]
        self._pass_fds = tuple(pass_fds)
        self._env = env
        self._started = started
        self._first_line = first_line
        self._ready_on = ready_on
        self._on_ready = on_ready
        self._log_line = log_line
        self._request_stop, self._request_grace, self._grace = request_stop, request_grace, grace
        self._heartbeat_timeout = heartbeat_timeout
        self._process: trio.Process | None = None
        self._asked = trio.Event()
        self._is_ready = False
        self._last_beat = math.inf
        self._failure: ProcessError | None = None
        self._last_lines: deque[str] = deque(maxlen=20)

    @property
    def pid(self) -> int | None:
        """The process's id, once it runs and until it was reaped."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def beat(self) -> None:
        """The process is alive: restart the heartbeat timeout."""
        self._last_beat = trio.current_time()

    def stop(self) -> None:
        """Ask the process to stop: `request_stop` or SIGTERM, then SIGKILL as the class says."""
        self._asked.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Run the process to its end; it is gone and reaped whenever this returns or raises.

        Returns when the process ended as asked: with exit code 0, or by the SIGTERM sent to it. Raises `OSError`
        when it cannot be started, `ProcessDied` for every other end, `HandshakeFailed` for a first line that is no
        JSON object, `HungProcess` for a missed heartbeat, and what a callback raised, in a group. Cancelled, it
        kills the process.
        """
        if self._asked.is_set() and self._started is None:
            await trio.lowlevel.checkpoint()
            return
        self._process = process = self._started or await trio.lowlevel.open_process(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=self._pass_fds,
            env=self._env,
        )
        _running.add(process)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_first_line, process)
                if not isinstance(self._ready_on, str):
                    nursery.start_soon(self._shake_hands, self._ready_on, process, ready)
                nursery.start_soon(self._watch_heart, process)
                nursery.start_soon(self._stop_when_asked, process)
                async with trio.open_nursery() as readers:
                    readers.start_soon(self._read_stdout, process, ready)
                    readers.start_soon(self._read_stderr, process)
                    await process.wait()
                    if process.stdin is not None:
                        await process.stdin.aclose()  # EOF for children that it may have left behind
                    readers.cancel_scope.deadline = trio.current_time() + LAST_OUTPUT_WITHIN
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(REAP_WITHIN, shield=True):
                await self._reap(process)
                _running.discard(process)
        if self._failure is not None:
            raise self._failure
        code = process.returncode
        if not self._asked.is_set() or code not in (0, -signal.SIGTERM):
            raise ProcessDied(self.name, -signal.SIGKILL if code is None else code, tuple(self._last_lines))

    # -- its output --------------------------------------------------------------------------------------------

    def _became_ready(self, ready: Callable[[], None]) -> None:
        self._is_ready = True
        self._last_beat = trio.current_time()
        ready()

    async def _write_first_line(self, process: trio.Process) -> None:
        if self._first_line is not None and process.stdin is not None:
            # A process that does not read, or is gone, is noticed in other ways.
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await process.stdin.send_all(self._first_line + b"\n")

    async def _shake_hands(
        self,
        handshake: Callable[[ChildProcess], Awaitable[None]],
        process: trio.Process,
        ready: Callable[[], None],
    ) -> None:
        try:
            await handshake(self)
        except Exception as error:
            with trio.move_on_after(LAST_OUTPUT_WITHIN):
                await process.wait()  # if its death broke the handshake, its last words say more
            self._fail(process, HandshakeFailed(f'process "{self.name}": handshake failed: {error!r}'), error)
        else:
            self._became_ready(ready)

    async def _read_stdout(self, process: trio.Process, ready: Callable[[], None]) -> None:
        assert process.stdout is not None
        async for line in OutputLines(process.stdout):
            if self._is_ready or self._ready_on != "stdout":
                self._log_line("stdout", line)
                continue
            try:
                said = msgspec.json.decode(line, type=dict[str, object])
            except (msgspec.DecodeError, RecursionError) as error:
                why = f'process "{self.name}": its first line must be a JSON object, not {line[:200]!r}'
                self._fail(process, HandshakeFailed(why), error)
                return
            if self._on_ready is not None:
                self._on_ready(said)
            self._became_ready(ready)

    async def _read_stderr(self, process: trio.Process) -> None:
        assert process.stderr is not None
        async for line in OutputLines(process.stderr):
            self._last_lines.append(line)
            self._log_line("stderr", line)

    # -- its end -----------------------------------------------------------------------------------------------

    def _fail(self, process: trio.Process, failure: ProcessError, cause: BaseException | None = None) -> None:
        if self._failure is None and process.returncode is None:
            self._failure = failure
            failure.__cause__ = cause
        _signal(process, signal.SIGKILL, group=True)

    async def _watch_heart(self, process: trio.Process) -> None:
        if self._heartbeat_timeout is None:
            return
        due = math.inf
        while not self._asked.is_set():  # a process that drains may be too busy to beat; its stop is bounded anyway
            now = trio.current_time()
            silence = now - self._last_beat
            if silence < self._heartbeat_timeout:
                due = min(self._last_beat, now) + self._heartbeat_timeout
            elif now - due > OVERSLEPT:  # this process stood still: beats may be unread
                due = now + UNREAD_WITHIN
            else:
                self._fail(process, HungProcess(f'process "{self.name}": no heartbeat for {silence:.3g} s'))
                return
            await trio.sleep_until(due)

    async def _stop_when_asked(self, process: trio.Process) -> None:
        await self._asked.wait()
        if self._request_stop is not None:
            try:
                self._request_stop()
            except Exception:  # its channel may be gone; a signal still gets through
                log.exception("process %s: request_stop raised", self.name)
            else:
                await trio.sleep(self._request_grace)
        _signal(process, signal.SIGTERM)
        await trio.sleep(self._grace)
        _signal(process, signal.SIGKILL, group=True)

    async def _reap(self, process: trio.Process) -> None:
        if process.returncode is None:
            _signal(process, signal.SIGKILL, group=True)
        await process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()


def _signal(process: trio.Process, number: int, *, group: bool = False) -> None:
    """Signal a process, unless it was reaped: then its id may be another's."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            partial(os.killpg if group else os.kill, process.pid)(number)
