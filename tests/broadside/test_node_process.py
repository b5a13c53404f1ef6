"""What a node as a process does with a signal that asks nothing of it, and says of a child that cannot run: C7."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.broadside.test_node_end_to_end import NodeProcess, slow


@pytest.mark.timeout(120)
def test_hup_ends_nothing_and_is_told_to_the_log(tmp_path: Path) -> None:
    """C7: `kill -HUP`, which reloads what can be in most servers, killed the node at once and undrained."""
    node = NodeProcess(tmp_path, subscribers=100).start()
    node.wait_for("serving;", 60)
    assert node.process is not None
    children = node.children()
    for pid in (node.process.pid, *node.children("broadside.worker")):
        os.kill(pid, signal.SIGHUP)
    said = node.wait_for("SIGHUP: there is no reload yet")
    assert "restart the node" in said
    time.sleep(0.5)
    assert node.children() == children
    assert node.api("/api/status")["ready"]
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
