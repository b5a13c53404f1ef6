"""What a node tells systemd: over a real socket, from a real node."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from broadside.node import program
from broadside.node.service_manager import EVERY, ServiceManager
from tests.broadside.test_node_end_to_end import NodeProcess

UNITS = Path(__file__).parents[2] / "deploy/systemd"
EXPOSED = 2.5
"""The most that systemd may find a unit exposed to, of 10."""


class Manager:
    """The end of the socket at which systemd listens."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._end.bind(str(self.path))
        self.heard: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while line := self._end.recv(4096).decode():
            self.heard += line.splitlines()

    def listen(self) -> list[str]:
        """All that has been said so far."""
        time.sleep(0.05)
        return list(self.heard)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"", str(self.path))
        self._reader.join()
        self._end.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def test_it_takes_from_the_environment_what_its_children_must_not_have(tmp_path: Path, manager: Manager) -> None:
    environment = {
        "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/",
    }  # fmt: skip
    ServiceManager.of(environment).ready("serving")
    assert environment == {"HOME": "/"}
    assert manager.listen() == ["READY=1", "STATUS=serving"]


def test_an_abstract_socket_is_reached_too() -> None:
    name = f"@broadside-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + name[1:])
        end.settimeout(2)
        ServiceManager(name).tell("READY=1")
        assert end.recv(100) == b"READY=1"


def test_one_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "nobody")).tell("READY=1")
    ServiceManager(None).tell("READY=1")


async def test_it_says_that_it_lives_and_asks_for_time_while_it_starts_and_drains(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    states = iter(["starting", "running", "running", "stopping"])
    with trio.move_on_after(3.5 * EVERY):
        await ServiceManager(str(manager.path), 30.0).watch(lambda: next(states))
    heard = manager.listen()
    assert heard == [
        "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000", "STATUS=starting",
        "WATCHDOG=1",
        "WATCHDOG=1",
        "STOPPING=1", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000", "STATUS=draining",
    ]  # fmt: skip


async def test_a_drain_that_is_shorter_than_its_looks_is_said_too(
    manager: Manager, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was said at the next look, five seconds later, when the node had ended."""
    monkeypatch.setattr(program, "_force_at_second", lambda *numbers: None)
    said: list[str] = []
    node: Any = SimpleNamespace(stop=lambda: said.append("stop"))
    terminal: Any = SimpleNamespace(say=said.append)
    async with trio.open_nursery() as nursery:
        told = ServiceManager(str(manager.path), 30.0)
        nursery.start_soon(program._signals, node, terminal, told, nursery)
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert said[-1] == "stop"
    assert manager.listen()[0] == "STOPPING=1"


async def test_a_short_watchdog_hears_three_times_in_its_time(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.move_on_after(2.9):
        await ServiceManager(str(manager.path), 3.0).watch(lambda: "running")
    assert manager.listen() == ["WATCHDOG=1"] * 3


@pytest.mark.tarantool
def test_a_node_tells_its_start_its_life_and_its_end(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    logs = tmp_path / "logs-of-systemd"
    monkeypatch.setenv("LOGS_DIRECTORY", str(logs))
    node = NodeProcess(tmp_path, 0)
    node.start()
    try:
        node.wait_for("serving;", 60)
        heard = manager.listen()
        assert heard.index("STATUS=starting") < heard.index("READY=1")
        alive = heard.count("WATCHDOG=1")
        time.sleep(1)
        assert manager.listen().count("WATCHDOG=1") > alive
        assert (logs / "node.log").exists()
        assert node.process is not None
        os.kill(node.process.pid, signal.SIGHUP)
        refused = "STATUS=serving at"
        node.until(lambda: any("reload refused" in line for line in manager.listen()), "word of the reload")
        after = manager.listen()[len(heard) :]
        assert after.index("RELOADING=1") < after.index("READY=1")
        assert any(line.startswith(refused) and "the demo has no file to read anew" in line for line in after)
        assert node.process is not None
        os.kill(node.process.pid, signal.SIGSTOP)  # a loop that hangs says nothing
        alive = manager.listen().count("WATCHDOG=1")
        time.sleep(1)
        assert manager.listen().count("WATCHDOG=1") == alive
        os.kill(node.process.pid, signal.SIGCONT)
    finally:
        assert node.end() == 0
    assert "STOPPING=1" in manager.listen()


def test_systemctl_reload_reaches_the_node() -> None:
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in (UNITS / "broadside-node.service").read_text()


@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.glob("*.service")))
def test_a_unit_is_valid_and_closed(unit: str, tmp_path: Path) -> None:
    """Debian's systemd judges it; a setting that it does not know is a line on its standard error."""
    program = shutil.which("systemd-analyze")
    assert program is not None, "./dev setup installs it"
    said = subprocess.run(
        [program, "security", "--offline=yes", f"--threshold={int(EXPOSED * 10)}", str(UNITS / unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.stderr == ""
    assert said.returncode == 0, said.stdout
