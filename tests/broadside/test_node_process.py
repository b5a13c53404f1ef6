"""What a node as a process does with a signal that asks nothing of it, and says of a child that cannot run: C7."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.broadside.test_node_end_to_end import RUNNER, NodeProcess, slow


@pytest.mark.timeout(120)
def test_hup_to_all_of_a_demo_ends_nothing_and_says_why_nothing_is_reloaded(tmp_path: Path) -> None:
    """C7: `kill -HUP`, which reloads what can be in most servers, killed the node at once and undrained."""
    node = NodeProcess(tmp_path, subscribers=100).start()
    node.wait_for("serving;", 60)
    assert node.process is not None
    children = node.children()
    for pid in (node.process.pid, *node.children("broadside.worker")):
        os.kill(pid, signal.SIGHUP)
    node.wait_for("the demo has no file to read anew")
    time.sleep(0.5)
    assert node.children() == children
    assert node.api("/v1/status")["ready"]
    assert node.end() == 0


@pytest.mark.timeout(120)
def test_why_a_twin_cannot_run_is_told_in_its_own_words(tmp_path: Path) -> None:
    """C7: what the twin says of its script was only in the log."""
    node = NodeProcess(tmp_path, subscribers=0)
    slow(node)
    (node.data / "twins" / "apns.script.toml").write_text("latency_ms = 'much'\n")
    node.start()
    assert node.process is not None
    assert node.process.wait(60) == 1
    said = node.output.read_text()
    assert 'the node cannot start: process "twin-apns" ended with exit code 2: twin: ' in said
    assert "latency_ms" in said


GIVES_UP = RUNNER.replace(
    "sys.exit(",
    """
from broadside.config.config import Supervision
from broadside.config.tarantool import Peer
peer = Peer(name="node-2", uri="127.0.0.1:1", password_env="IN_PEER")
config = msgspec.structs.replace(config, supervision=Supervision(restarts=0, spare=False), peers=(peer,))
sys.exit(""",
)


@pytest.mark.timeout(180)
def test_a_node_that_gives_up_says_so_and_its_children_never_had_its_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S23: its last words were "unexpected ExceptionGroup"; and each child inherited the variable of `password_env`."""
    monkeypatch.setenv("IN_PEER", "hunter2")
    node = NodeProcess(tmp_path, subscribers=0)
    node.runner = GIVES_UP
    node.start()
    assert node.process is not None
    try:
        node.wait_for("ready after", 120)
        assert len(node.children()) >= 4, "Tarantool, two twins, a worker"
        for pid in node.children():
            assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
        worker = node.children("broadside.worker")[0]
        assert b"\0PATH=" in b"\0" + Path(f"/proc/{worker}/environ").read_bytes(), "all else is inherited"
        os.kill(worker, signal.SIGKILL)
        assert node.process.wait(60) == 1
    finally:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait(10)
    said = node.output.read_text()
    assert re.search(r"broadside: the node gives up: worker-\d+ failed again after 0 restarts in 60 s: ", said), said
    assert "ended with signal 9 (the tracebacks are in " in said
    assert "ExceptionGroup" not in said
    assert "Traceback" not in said
