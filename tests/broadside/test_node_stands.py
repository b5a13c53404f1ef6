"""A whole node, and what may not harm it: strangers at its port, output that nobody takes, a part that never ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broadside.test_http_server import PREFACE, WAYS, frame
from tests.broadside.test_node_end_to_end import RUNNER, NodeProcess, gone


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, 200)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


def incarnation(tree: dict[str, Any], *path: str) -> int:
    (child,) = [child for child in tree["children"] if child["id"] == path[0]]
    return incarnation(child, *path[1:]) if len(path) > 1 else int(child["incarnation"])


def knock(port: int, data: bytes) -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as stranger:
        stranger.settimeout(1)
        stranger.sendall(data)
        stranger.shutdown(socket.SHUT_WR)
        while stranger.recv(65536):
            pass


@pytest.mark.timeout(120)
def test_strangers_end_neither_the_console_nor_the_node_nor_hold_up_its_stop(node: NodeProcess) -> None:
    """S2, S9."""
    node.start()
    node.wait_for("serving;")
    port = int(node.url().rpartition(":")[2])
    for _ in range(3):
        for data in WAYS.values():
            knock(port, data)
    tree = node.api("/v1/status")["tree"]
    assert incarnation(tree, "console") == 1
    assert incarnation(tree, "console", "http") == 1
    alarms = node.api("/v1/status")["alarms"]
    others = [each for each in alarms if not each["text"].startswith("channel ")]
    assert others == [], "a channel may still be connecting"
    reads_nothing = socket.socket()
    reads_nothing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    reads_nothing.connect(("127.0.0.1", port))
    with contextlib.suppress(OSError):
        reads_nothing.settimeout(1)
        while True:
            reads_nothing.send(PREFACE + frame(6, 0, 0, b"12345678") * 4000)
    idle = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(50)]
    began = time.monotonic()
    assert node.end() == 0
    assert time.monotonic() - began < 15
    for each in [reads_nothing, *idle]:
        each.close()


STUCK = {
    "an actor that cannot be cancelled": """
        async def run(self, ready):
            ready()
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        broadside.console.console.Console.run = run
        broadside.console.console.Console.stop = lambda self: None
    """,
    "a loop that stands still": "broadside.console.console.Console.stop = lambda self: time.sleep(1000)",
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("stuck", list(STUCK))
def test_the_second_signal_ends_a_node_within_ten_seconds_whatever_does_not_end(node: NodeProcess, stuck: str) -> None:
    """S9."""
    patch = "\n".join(line[8:] for line in STUCK[stuck].splitlines()) if "\n" in STUCK[stuck] else STUCK[stuck]
    node.runner = f"import time, trio, broadside.console.console\n{patch}\n{RUNNER}"
    node.start()
    node.wait_for("serving;")
    children = node.children()
    assert len(children) >= 4
    assert node.process is not None
    node.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert node.process.poll() is None
    node.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    node.process.wait(30)
    assert time.monotonic() - began < 10
    assert gone(children, 1.0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("output", ["a pipe whose reader is gone", "/dev/full", "closed", "a pipe that nobody reads"])
def test_a_node_whose_words_nobody_takes_goes_on_and_finishes_a_campaign(node: NodeProcess, output: str) -> None:
    """S10."""
    logs = node.data / "logs"
    logs.mkdir(parents=True, mode=0o700)
    node.data.chmod(0o700)
    (logs / "node.log").symlink_to("/dev/full")
    reader, writer = os.pipe()
    chatty = "import broadside.logs; broadside.logs.LEVELS['warning'] = 0\n"
    command = [sys.executable, "-c", chatty + RUNNER, str(node.folder), str(node.subscribers)]
    if output == "closed":
        command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
    if output == "/dev/full":
        with Path("/dev/full").open("wb") as full:
            node.process = subprocess.Popen(command, stdout=full, stderr=full)
    else:
        if output == "a pipe that nobody reads":
            os.set_blocking(writer, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writer, b"x" * 65536)
            os.set_blocking(writer, True)
        node.process = subprocess.Popen(command, stdout=writer, stderr=writer)
    os.close(writer)
    if output == "a pipe whose reader is gone":
        os.close(reader)
    node.output.write_text("nothing is said")
    node.until(lambda: (node.data / "node.json").exists(), "address")
    for worker in node.children("broadside.worker"):
        os.kill(worker, signal.SIGKILL)  # says much
    node.until(lambda: [c["state"] for c in node.api("/v1/campaigns")["items"]] == ["done"], "end of the campaign")
    alarms = node.api("/v1/status")["alarms"]
    assert any("node.log cannot be written: No space left on device" in alarm["text"] for alarm in alarms)
    assert node.end() == 0
    if output != "a pipe whose reader is gone":
        os.close(reader)
