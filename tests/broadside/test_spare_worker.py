"""A worker in reserve takes a killed worker's place, knows nothing before that, and is missed by nobody if it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from broadside.node import spare_worker
from broadside.node.spare_worker import SpareWorker
from tests.broadside.test_node_end_to_end import RUNNER, NodeProcess

SOON = RUNNER.replace(
    "sys.exit(",
    """
from broadside.config.config import Supervision
from broadside.node import spare_worker
spare_worker.LATER = 0.1
config = msgspec.structs.replace(config, supervision=Supervision(restarts=1))
sys.exit(""",
)


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


@pytest.mark.timeout(120)
def test_a_spare_takes_a_killed_workers_place_and_the_restart_counts(tmp_path: Path) -> None:
    """Issue 24.6: a killed worker served again after 1.4 s on busy cores, and half of that was its imports."""
    node = NodeProcess(tmp_path, subscribers=0)
    node.runner = SOON
    node.start()
    try:
        node.wait_for("serving;", 60)

        def spares() -> list[int]:
            return [pid for pid in node.children("broadside.worker") if name(pid) == "spare-worker"]

        def first() -> dict[str, Any]:
            worker: dict[str, Any] = node.api("/v1/status")["workers"][0]
            return worker

        (spare,) = node.until(spares, "spare")
        tree = {each["id"]: each for each in node.api("/v1/status")["tree"]["children"]}
        assert tree["spare-worker"]["state"] == "running"
        victim = first()["pid"]
        assert name(victim) == "worker-1"
        os.kill(victim, signal.SIGKILL)
        node.until(lambda: first()["pid"] == spare and first()["serving"], "worker in the spare's process")
        assert name(spare) == "worker-1"
        tree = {each["id"]: each for each in node.api("/v1/status")["tree"]["children"]}
        assert tree["worker-1"]["incarnation"] == 2
        assert node.api("/v1/status")["tree"]["restarts"] == 1
        (second,) = node.until(spares, "second spare")
        assert second != spare
        os.kill(spare, signal.SIGKILL)  # the second restart, and one is allowed
        assert node.process is not None
        assert node.process.wait(60) == 1
        assert not Path(f"/proc/{second}").exists()
    finally:
        if node.process is not None and node.process.poll() is None:
            node.process.kill()
            node.process.wait(10)


@asynccontextmanager
async def kept(spare: SpareWorker) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: spare.run(task_status.started))
        yield
        spare.stop()


async def test_a_spare_is_told_nothing_but_the_platforms_and_ends_with_its_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Issue 24.6."""
    monkeypatch.setattr(spare_worker, "LATER", 0.0)
    spare = SpareWorker(["apns", "apns", "nowhere"], os.environ)
    assert spare.take() is None
    async with kept(spare):
        with trio.fail_after(30):
            while spare.pid is None or name(spare.pid) != "spare-worker":  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(0.01)
        pid = spare.pid
        assert command_line(pid)[-3:-1] == ["-m", "broadside.worker"], "and its last argument is a descriptor"
        taken = spare.take()
        assert taken is not None
        assert taken.process.pid == pid
        assert spare.take() is None, "it is handed over once"
        await taken.stream.aclose()
        with trio.fail_after(30):
            assert await taken.process.wait() == 0, "its node is gone, so it ends by itself"
            while spare.pid is None:  # noqa: ASYNC110
                await trio.sleep(0.01)
        for pipe in (taken.process.stdin, taken.process.stdout, taken.process.stderr):
            assert pipe is not None
            await pipe.aclose()
        last = spare.pid
    assert name(last) == "", "a stop ends and reaps the spare"


async def test_a_spare_that_cannot_live_is_tried_again_later_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 24.6: its death is no crash of the node's tree, which would count as a restart."""
    monkeypatch.setattr(spare_worker, "LATER", 0.0)
    monkeypatch.setattr(spare_worker, "AGAIN", 0.01)
    spare = SpareWorker(["apns"], os.environ | {"PYTHONHOME": "/nowhere"})
    with structlog.testing.capture_logs() as logs:
        async with kept(spare):
            with trio.fail_after(30):
                while len(logs) < 2:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            assert spare.take() is None
    assert "No module named 'encodings'" in logs[0]["why"]
