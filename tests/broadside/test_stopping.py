"""A stop repeats nothing, whoever is signalled and in whatever order: B4. Whole nodes, real signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from broadside import wire
from broadside.config.config import NodeConfig
from broadside.datafolder import DataFolder
from broadside.demo.demo_config import demo_config
from broadside.node.node import Node
from broadside.shared_tokens import TokenHolder
from broadside.topology import worker_tree
from supervision import Supervisor
from tests.broadside.test_node_end_to_end import NodeProcess, gone, lives, slow
from tests.broadside.test_wire import HELLO

SUBSCRIBERS = 12_000
LATENCY = 600
"""Milliseconds for each answer: there are always pushes under way."""
WITHIN = 15.0
"""Seconds for an orderly stop here: an answer's latency, and what the processes need to end on a busy machine."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, SUBSCRIBERS)
    slow(node, LATENCY)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


def in_mid_campaign(node: NodeProcess) -> list[int]:
    """Start it, and wait until it sends; answers its child processes."""
    node.start()
    node.wait_for("fired campaign")
    node.until(lambda: sum(node.ledger().values()) > 2000, "2,000 pushes")
    return node.children()


def finished(node: NodeProcess) -> tuple[int, int, int]:
    """The next start goes on to the campaign's end; answers (lost, unexpected, duplicates) of both."""
    for platform in ("apns", "fcm"):
        script = node.data / "twins" / f"{platform}.script.toml"
        script.write_text(script.read_text().replace(f"latency_ms = {LATENCY}", "latency_ms = 0"))
    node.start()
    node.wait_for("serving;", 60)
    node.until(lambda: all(c["state"] == "done" for c in node.api("/v1/campaigns")["items"]), "end", 60)
    assert node.end() == 0
    return node.judge()


def send(pids: list[int]) -> None:
    for pid in pids:
        if lives(pid):
            os.kill(pid, signal.SIGTERM)


def all_at_once(node: NodeProcess, children: list[int]) -> None:
    """As systemd does by default; the children first, as they were the first to run."""
    assert node.process is not None
    send([*children, node.process.pid])


def tarantool_first(node: NodeProcess, children: list[int]) -> None:
    send(node.children("embedded.lua"))
    time.sleep(0.5)
    send([*(pid for pid in children if pid not in node.children("embedded.lua")), node.process.pid])


def twins_first(node: NodeProcess, children: list[int]) -> None:
    send(node.children("simulators.twin"))
    time.sleep(0.5)
    node.process.send_signal(signal.SIGTERM)


def the_node_alone(node: NodeProcess, children: list[int]) -> None:
    node.process.send_signal(signal.SIGTERM)


def together(tree: Supervisor) -> dict[str, float]:
    """The children that stop together, with the seconds they get."""
    children = [child.spec for child in tree._children.in_order()]
    return {spec.id: spec.shutdown for spec in children if spec.together and isinstance(spec.shutdown, float)}


def test_the_walk_and_every_channel_of_a_worker_stop_together_within_the_drain() -> None:
    """B5: three channels took three times as long, and the later ones went on taking meanwhile."""
    setups = [
        wire.ChannelSetup(
            name=name,
            platform="apns",
            app="a",
            credentials={},
            origin=None,
            ca=None,
            connections=1,
            pace=None,
            dead_limit=0.2,
        )
        for name in "abc"
    ]
    hello = msgspec.structs.replace(HELLO, channels=setups, drain=7.0)
    tree = worker_tree(hello, tokens=TokenHolder([])).supervisor
    assert together(tree) == {"delivery": 7.0, "campaigns": 7.0}
    delivery = tree._children.find("delivery").spec.start()
    assert isinstance(delivery, Supervisor)
    assert together(delivery) == {f"channel:{name}": 7.0 for name in "abc"}


def test_the_workers_and_the_console_of_a_node_stop_together(tmp_path: Path) -> None:
    config = msgspec.structs.replace(demo_config(tmp_path), node=NodeConfig(data=tmp_path, workers=3, drain=40.0))
    folder = DataFolder(tmp_path)
    folder.create()
    tree = Node(config, folder).tree
    stopping = together(tree)
    assert set(stopping) == {"worker-1", "worker-2", "worker-3", "console", "twin-apns", "twin-fcm"}
    assert all(seconds > 40.0 + 5.0 for name, seconds in stopping.items() if name.startswith("worker"))
    order = [child.spec.id for child in tree._children.in_order()]
    assert order.index("tarantool") < order.index("twin-apns") < order.index("link") < order.index("worker-1")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("told", [all_at_once, tarantool_first, twins_first, the_node_alone])
def test_an_orderly_stop_repeats_nothing_whoever_is_signalled(
    node: NodeProcess, told: Callable[[NodeProcess, list[int]], None]
) -> None:
    """B4, B5: SIGTERM to every process made Tarantool go first: 22 s to stop, and thousands of pushes repeated."""
    children = in_mid_campaign(node)
    began = time.monotonic()
    told(node, children)
    assert node.process is not None
    assert node.process.wait(60) == 0, node.output.read_text()
    assert time.monotonic() - began < WITHIN
    assert gone(children, 0.5), "no orphan"
    assert sum(node.ledger().values()) < SUBSCRIBERS * 0.9, "it was in mid-campaign"
    assert finished(node) == (0, 0, 0)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", ["embedded.lua", "broadside.worker", "simulators.twin"])
def test_a_part_that_is_told_to_end_alone_drains_and_is_started_again(node: NodeProcess, part: str) -> None:
    """B4: Tarantool hands out nothing more and waits for settlements; a worker settles; a twin answers first."""
    children = in_mid_campaign(node)
    (victim, *_) = node.children(part)
    os.kill(victim, signal.SIGTERM)
    assert gone([victim], 45 if part == "embedded.lua" else WITHIN), "Tarantool waits for all that is in hand"
    node.until(lambda: len(node.children()) == len(children), "successor")
    node.wait_for("serving;", 60)
    node.until(lambda: all(c["state"] == "done" for c in node.api("/v1/campaigns")["items"]), "end", 90)
    assert node.end() == 0
    assert node.judge() == (0, 0, 0)


@pytest.mark.timeout(180)
def test_orphans_drain_into_a_tarantool_that_outlives_them_and_the_next_start_waits_for_it(node: NodeProcess) -> None:
    """B4: kill -9 of the node: workers have 5 s, Tarantool 6, and whoever starts at once gets the folder after them."""
    children = in_mid_campaign(node)
    assert node.process is not None
    node.process.kill()
    node.process.wait(10)
    assert any(map(lives, children)), "what is under way is answered first"
    assert finished(node) == (0, 0, 0)
    assert gone(children, 0.5)


@pytest.mark.timeout(120)
def test_a_node_without_work_stops_at_once(node: NodeProcess) -> None:
    """Nobody waits for sessions that hold nothing."""
    for platform in ("apns", "fcm"):
        (node.data / "twins" / f"{platform}.script.toml").unlink()
    node.start()
    node.wait_for("serving;", 60)
    began = time.monotonic()
    assert node.end() == 0
    assert time.monotonic() - began < 6
