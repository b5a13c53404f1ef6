"""OS processes as actors. Real time, short durations, and shells as children because they start fast."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
import trio

from supervision import (
    ChildExited,
    ChildProcess,
    ChildSpec,
    ExitKind,
    HandshakeFailed,
    HungProcess,
    Intensity,
    IntensityExceeded,
    ProcessDied,
    StartFailed,
    Supervisor,
)

READY = """echo '{"port": 7}'; """
SERVE = READY + "cat >/dev/null"
DEAF = "trap '' TERM; " + READY + "while :; do sleep 0.05; done"


class Heard(list):
    """What a process said; `await enough(n)` waits for n lines."""

    def __init__(self):
        self.more = trio.Event()

    def __call__(self, stream, text):
        self.append((stream, text))
        self.more.set()
        self.more = trio.Event()

    async def enough(self, n):
        with trio.fail_after(5):
            while len(self) < n:
                await self.more.wait()


def shell(script, **options):
    return ChildProcess("sh", ["/bin/sh", "-c", script], **options)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(pid, within=5.0):
    """Whether a process that is not ours to reap is gone (a zombie of a dead parent's child is reaped by init)."""
    with trio.move_on_after(within):
        while alive(pid) and (await state(pid)) != "Z":  # noqa: ASYNC110 - nobody tells of a foreign process's end
            await trio.sleep(0.01)
        return True
    return False


async def state(pid):
    try:
        return (await trio.Path(f"/proc/{pid}/stat").read_text()).rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


async def outcome(process, then=lambda: None):
    """Run a process, do `then` once it is ready, and return what run raised."""
    try:
        await process.run(then)
    except Exception as error:
        return error


def python(script, *args, **options):
    return ChildProcess("python", [sys.executable, "-ISc", script, *map(str, args)], **options)


async def test_the_first_line_is_the_ready_line_and_the_rest_is_logged():
    lines, said = Heard(), []
    process = shell(
        READY + "echo out; printf last; echo err >&2; cat >/dev/null; ",
        on_ready=said.append,
        log_line=lines,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: process.run(task_status.started))
        assert said == [{"port": 7}]
        assert os.getsid(process.pid) == process.pid  # its own session: a Ctrl-C here does not reach it
        await lines.enough(2)
        process.stop()
    assert process.pid is None
    assert sorted(lines) == [("stderr", "err"), ("stdout", "last"), ("stdout", "out")]


async def test_the_first_line_on_standard_input_is_the_callers_and_the_pipe_stays_open():
    lines = Heard()
    process = shell(
        READY + 'read line; echo "got $line"; cat >/dev/null; echo eof',
        first_line=b"token",
        log_line=lines,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: process.run(task_status.started))
        await lines.enough(1)
        await trio.sleep(0.05)
        assert lines == [("stdout", "got token")]
        process.stop()


async def test_a_process_that_ends_by_itself_has_died_with_its_last_words():
    error = await outcome(shell(READY + "echo first >&2; echo 'out of memory' >&2; exit 3"))
    assert isinstance(error, ProcessDied)
    assert (error.returncode, error.last_lines) == (3, ("first", "out of memory"))
    assert "exit code 3: out of memory\n  first\n  out of memory" in str(error)


@pytest.mark.parametrize(
    ("code", "lines", "first"),
    [
        (2, ("twin: port 5: permission denied",), "exit code 2: twin: port 5: permission denied"),
        (1, ("  | ValueError: broken", "  +------------------"), "exit code 1: ValueError: broken"),
        (1, ("KeyError: 'x'", '{"event": "ended", "level": "info"}', "  "), "exit code 1: KeyError: 'x'"),
        (1, ("red \x1b[31m",), "exit code 1: red ?[31m"),
        (1, (), "exit code 1"),
        (0, ("all is well",), "exit code 0"),
        (-9, ("sending",), "signal 9"),
    ],
)
def test_what_a_process_said_last_is_in_the_first_line_of_its_death(code, lines, first):
    """C7: "ended with exit code 2" sent a person to a log file for the one line that says why."""
    assert str(ProcessDied("twin-apns", code, lines)).split("\n")[0] == f'process "twin-apns" ended with {first}'


async def test_even_exit_zero_is_a_death_unless_it_was_asked_for():
    error = await outcome(shell(READY))
    assert isinstance(error, ProcessDied)
    assert error.returncode == 0


async def test_a_process_that_does_not_exist_cannot_start():
    with pytest.raises(FileNotFoundError):
        await ChildProcess("none", ["/does/not/exist"]).run(lambda: None)
    with pytest.raises(ValueError, match="argv is empty"):
        ChildProcess("none", [])


async def test_a_first_line_that_is_no_json_object_is_a_failed_handshake():
    for line in ("hello", "[1]"):
        process = shell(f"echo '{line}'; cat >/dev/null")
        with pytest.raises(HandshakeFailed, match="JSON object"):
            await process.run(lambda: pytest.fail("it is not ready"))
        assert process.pid is None


async def test_a_graceful_request_comes_first_then_sigterm_then_sigkill():
    asked = []
    process = shell(SERVE, request_stop=lambda: asked.append(time.monotonic()), request_grace=0.2, grace=5)
    assert await outcome(process, process.stop) is None
    assert time.monotonic() - asked[0] >= 0.2

    process = shell(DEAF, request_stop=lambda: None, request_grace=0.1, grace=0.1)
    error = await outcome(process, process.stop)
    assert isinstance(error, ProcessDied)
    assert error.returncode == -signal.SIGKILL


async def test_a_request_that_cannot_be_made_gives_way_to_the_signal(caplog):
    def broken():
        raise OSError("no channel")

    process = shell(SERVE, request_stop=broken, request_grace=60)
    with trio.fail_after(5):
        assert await outcome(process, process.stop) is None


async def test_a_process_that_obeys_the_request_is_not_signalled():
    ours, theirs = socket.socketpair()
    process = python(
        "import os, sys; print('{}', flush=True); os.read(int(sys.argv[1]), 9)",
        theirs.fileno(),
        pass_fds=[theirs.fileno()],
        request_stop=lambda: ours.sendall(b"stop"),
        request_grace=60,
    )
    with trio.fail_after(5), ours, theirs:
        assert await outcome(process, process.stop) is None


async def test_a_cancelled_run_kills_and_reaps_the_process():
    process = shell(DEAF)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: process.run(task_status.started))
        pid = process.pid
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    assert not alive(pid)


async def test_a_stop_before_the_run_starts_no_process():
    process = shell("exit 9")
    process.stop()
    await process.run(lambda: pytest.fail("it is not ready"))


async def test_a_handshake_over_the_callers_channel_makes_the_process_ready():
    ours, theirs = socket.socketpair()

    async def handshake(process):
        assert process.pid is not None
        theirs.close()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        async with stream:
            assert await stream.receive_some(100) == b"hello\n"

    lines = []
    process = python(
        "import os, sys; print('plain', flush=True); os.write(int(sys.argv[1]), b'hello\\n'); sys.stdin.read()",
        theirs.fileno(),
        pass_fds=[theirs.fileno()],
        ready_on=handshake,
        log_line=lambda stream, text: lines.append(text),
    )
    with trio.fail_after(5):
        assert await outcome(process, process.stop) is None
    assert lines == ["plain"]


async def test_a_handshake_that_fails_kills_and_one_broken_by_death_tells_of_the_death():
    async def handshake(process):
        raise EOFError("nothing came")

    process = shell("cat >/dev/null", ready_on=handshake)
    with pytest.raises(HandshakeFailed, match="nothing came"):
        await process.run(lambda: None)
    with pytest.raises(ProcessDied, match="bad config"):
        await shell("echo 'bad config' >&2; exit 2", ready_on=handshake).run(lambda: None)


async def test_a_process_that_misses_its_heartbeat_is_killed_and_is_a_crash():
    process = shell(DEAF, heartbeat_timeout=0.3)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def beats():
            for _ in range(6):
                await trio.sleep(0.1)
                process.beat()

        started = time.monotonic()
        error = await outcome(process)
        took = time.monotonic() - started
    assert isinstance(error, HungProcess)
    assert took >= 0.8


async def test_a_supervisor_that_stood_still_itself_blames_no_process():
    beats = []

    def heard(stream, text):
        beats.append(text)
        process.beat()

    process = shell(READY + "while :; do echo beat; sleep 0.05; done", heartbeat_timeout=0.3, log_line=heard)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.run, lambda: None)
        while not beats:  # noqa: ASYNC110
            await trio.sleep(0.01)
        for _ in range(3):
            time.sleep(0.8)  # noqa: ASYNC251 - as a stopped process, or one on a machine that slept
            await trio.sleep(0.6)
        process.stop()
    assert len(beats) > 40


async def test_a_grandchild_that_holds_the_pipes_does_not_hold_up_the_exit():
    error = await outcome(shell(READY + "sleep 3 & exit 4"))
    assert isinstance(error, ProcessDied)


async def test_a_line_without_end_comes_in_parts():
    lines = []
    process = shell(
        READY + "head -c 200000 /dev/zero | tr '\\0' x", log_line=lambda stream, text: lines.append(len(text))
    )
    await outcome(process)
    assert sum(lines) == 200000
    assert len(lines) >= 2


# -- under a supervisor ---------------------------------------------------------------------------------------------


async def test_a_process_that_dies_is_restarted_until_the_intensity_is_used_up():
    events = []
    spec = ChildSpec("sh", lambda: shell(READY + "exit 5"))
    with pytest.raises(IntensityExceeded) as caught:
        await Supervisor("top", [spec], intensity=Intensity(2, 60), observe=events.append).run(lambda: None)
    assert isinstance(caught.value.__cause__, ProcessDied)
    assert len([event for event in events if isinstance(event, ChildExited)]) == 3


async def test_the_shutdown_value_bounds_the_stop_of_a_process():
    events = []
    process = shell(DEAF, grace=60)
    supervisor = Supervisor("top", [ChildSpec("sh", lambda: process, shutdown=0.2)], observe=events.append)
    started = time.monotonic()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        pid = process.pid
        supervisor.stop()
    assert time.monotonic() - started < 5
    assert not alive(pid)
    assert [event.reason.kind for event in events if isinstance(event, ChildExited)] == [ExitKind.KILLED]


async def test_a_process_that_never_gets_ready_is_gone_after_the_start_timeout():
    process = shell("exec sleep 60")
    spec = ChildSpec("sh", lambda: process, start_timeout=0.2)
    with pytest.raises(StartFailed):
        await Supervisor("top", [spec], observe=lambda event: None).run(lambda: None)
    assert process.pid is None


# -- 11: no orphans --------------------------------------------------------------------------------------------------

PARENT = """
import sys, trio
from supervision import ChildProcess

async def main():
    script = '''echo '{"pid": '$$'}'; cat >/dev/null'''
    process = ChildProcess("sh", ["/bin/sh", "-c", script], on_ready=lambda said: print(said["pid"], flush=True))
    await process.run(lambda: None)

trio.run(main)
"""


async def test_no_child_outlives_a_parent_that_was_killed_with_kill_9():
    parent = await trio.lowlevel.open_process(
        [sys.executable, "-c", textwrap.dedent(PARENT)], stdout=-1, start_new_session=True
    )
    async with parent.stdout:
        with trio.fail_after(10):
            pid = int(await parent.stdout.receive_some(100))
            assert alive(pid)
            parent.kill()
            await parent.wait()
            assert await gone(pid, within=5)


@pytest.mark.parametrize("asked", [False, True])
async def test_a_process_that_was_started_before_is_taken_over_stopped_and_reaped(asked):
    """Issue 24.6: a worker in reserve becomes a child like any other, even if it is asked to stop before it runs."""
    argv = ["/bin/sh", "-c", SERVE]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = await trio.lowlevel.open_process(argv, start_new_session=True, **pipes)
    child = ChildProcess("sh", argv, started=process)
    if asked:
        child.stop()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            if asked:
                nursery.start_soon(child.run, lambda: None)
            else:
                await nursery.start(lambda task_status: child.run(task_status.started))
                assert child.pid == process.pid
                child.stop()
    assert process.returncode == -signal.SIGTERM
    assert not alive(process.pid)
