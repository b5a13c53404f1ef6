"""A whole node as a process: the demo, its ledgers, its end; and kill -9 of each part in mid-campaign."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from broadside.demo import samples
from broadside.machine_limits import cores
from broadside.topology import HANDS_A_CONNECTION, LEAST_CONNECTIONS

SUBSCRIBERS = 4000
CHANNELS = {"android-news": "fcm", "ios-news": "apns"}
RUNNER = """
import sys, msgspec
from pathlib import Path
from broadside.config.config import Demo, Http, NewsroomConfig
from broadside.demo.demo_config import demo_config
from broadside.node.program import run_node
from campaigns.guards import NO_GUARDS
config = demo_config(Path(sys.argv[1]))
config = msgspec.structs.replace(
    config,
    http=Http(bind="127.0.0.1:0"),
    demo=Demo(subscribers=int(sys.argv[2])),
    newsroom=NewsroomConfig(quiet="off"),
    guards=NO_GUARDS,
)
sys.exit(run_node(config))
"""


class NodeProcess:
    """A demo node in a folder of its own."""

    def __init__(self, folder: Path, subscribers: int = SUBSCRIBERS) -> None:
        self.folder = folder
        self.data = folder / "var"
        self.output = folder / "output"
        self.subscribers = subscribers
        self.runner = RUNNER
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> NodeProcess:
        command = [sys.executable, "-c", self.runner, str(self.folder), str(self.subscribers)]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        return self

    def wait_for(self, text: str, seconds: float = 40.0) -> str:
        return self.until(lambda: text in (said := self.output.read_text()) and said, f"{text!r}", seconds)

    def until(self, look: Callable[[], Any], what: str, seconds: float = 40.0) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            assert self.process is not None
            assert self.process.poll() is None, f"the node ended:\n{self.output.read_text()}"
            time.sleep(0.02)
        raise AssertionError(f"no {what} within {seconds} s:\n{self.output.read_text()}")

    def url(self) -> str:
        return str(json.loads((self.data / "node.json").read_text())["url"])

    def api(self, path: str) -> Any:
        key = (self.data / "api.key").read_text().strip()
        return (
            httpx.get(self.url() + path, headers={"authorization": f"Bearer {key}"}, timeout=20)
            .raise_for_status()
            .json()
        )

    def judged(self) -> None:
        """Wait until every refused token has had its verdict, and what that says is done to its end."""

        def waits() -> bool:
            entries = self.api("/v1/dead")["items"]
            return any(each["kept"] or each["state"] in {"deleting", "forgetting"} for each in entries)

        self.until(lambda: not waits(), "verdict over what was refused")

    def children(self, pattern: str = "") -> list[int]:
        assert self.process is not None
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, IndexError):
                continue
            if parent == self.process.pid and pattern in command:
                found.append(int(stat.parent.name))
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def kill(self) -> None:
        """End it if it still runs; nothing is asked of it any more."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def ledger(self) -> Counter[str]:
        """Accepted pushes by token, over both twins."""
        accepted: Counter[str] = Counter()
        for path in self.data.glob("twins/*.ledger"):
            whole, _, _ = path.read_text().rpartition("\n")  # the twin may be writing the next line just now
            accepted.update(json.loads(line)["token"] for line in whole.splitlines())
        return accepted

    def judge(self) -> tuple[int, int, int]:
        """(lost, unexpected, duplicates) of one campaign over the sample base."""
        tokens = {s.token for s in samples.subscribers(self.subscribers, 0.02, CHANNELS)}
        live = {token for token in tokens if not token.startswith(samples.DEAD)}
        accepted = self.ledger()
        return len(live - set(accepted)), len(set(accepted) - live), sum(accepted.values()) - len(accepted)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path)
    yield node
    node.kill()


def lives(pid: int) -> bool:
    """A zombie is gone: it waits for nothing but init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(lives, pids))


@pytest.mark.timeout(120)
def test_the_demo_pushes_to_every_live_phone_once_and_a_second_start_fires_nothing(node: NodeProcess) -> None:
    node.start()
    said = node.wait_for("serving;")
    assert "is done" in said
    assert node.judge() == (0, 0, 0)
    dead = sum(s.token.startswith(samples.DEAD) for s in samples.subscribers(SUBSCRIBERS, 0.02, CHANNELS))
    assert dead > 0
    node.judged()
    assert node.api("/v1/subscribers/count")["total"] == SUBSCRIBERS - dead, "dead tokens are gone from the base"
    (campaign,) = node.api("/v1/campaigns")["items"]
    totals: Counter[str] = Counter()
    for tally in campaign["channels"].values():
        totals.update(tally)
    assert (totals["delivered"], totals["dead"], totals["remaining"]) == (SUBSCRIBERS - dead, dead, 0)
    children = node.children()
    assert len(children) == 3 + cores(), "tarantool, two twins, a worker for each core"
    assert node.end() == 0
    assert gone(children, 0.5), "no orphan"
    before = node.ledger()

    node.start()
    said = node.wait_for("serving;")
    assert "nothing is fired" in said
    assert len(node.api("/v1/campaigns")["items"]) == 1
    assert node.end(signal.SIGINT) == 0
    assert node.ledger() == before


def slow(node: NodeProcess, latency_ms: int = 400) -> None:
    """Make the twins slow, so that there is a mid-campaign."""
    (node.data / "twins").mkdir(parents=True)
    node.data.chmod(0o700)
    (node.data / "twins").chmod(0o700)
    for platform in ("apns", "fcm"):
        script = f"latency_ms = {latency_ms}\n\n{samples.TWIN_SCRIPT}"
        (node.data / "twins" / f"{platform}.script.toml").write_text(script)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("victim", ["broadside.worker", "embedded.lua"])
def test_kill_minus_nine_in_mid_campaign_loses_nothing(node: NodeProcess, victim: str) -> None:
    slow(node)
    node.start()
    node.wait_for("fired campaign")
    node.until(lambda: sum(node.ledger().values()) > 800, "800 pushes")
    os.kill(node.children(victim)[0], signal.SIGKILL)
    said = node.wait_for("serving;", 60)
    assert "is done" in said
    assert "Traceback" not in said
    lost, unexpected, duplicates = node.judge()
    assert (lost, unexpected) == (0, 0)
    workers = 1 if "worker" in victim else cores()  # whose leases ended
    assert duplicates <= workers * 2 * LEAST_CONNECTIONS * HANDS_A_CONNECTION * 500, (
        "at most the leases that were unsettled"
    )
    assert node.end() == 0


@pytest.mark.timeout(120)
def test_a_node_killed_in_mid_campaign_leaves_no_orphan_and_goes_on_at_its_next_start(node: NodeProcess) -> None:
    slow(node)
    node.start()
    node.wait_for("fired campaign")
    node.until(lambda: sum(node.ledger().values()) > 800, "800 pushes")
    children = node.children()
    assert node.process is not None
    node.process.kill()
    node.process.wait(10)
    assert gone(children, 15.0), "an orphan outlived the node"

    node.start()
    node.wait_for("nothing is fired")
    node.until(lambda: node.api("/v1/campaigns")["items"][0]["state"] == "done", "end of the campaign", 60)
    assert node.judge()[:2] == (0, 0)
    assert node.end() == 0


@pytest.mark.timeout(120)
def test_sigterm_in_mid_campaign_drains_and_the_next_start_sends_nothing_twice(node: NodeProcess) -> None:
    slow(node)
    node.start()
    node.wait_for("fired campaign")
    node.until(lambda: sum(node.ledger().values()) > 800, "800 pushes")
    assert node.end() == 0
    node.start()
    node.wait_for("nothing is fired")
    node.until(lambda: node.api("/v1/campaigns")["items"][0]["state"] == "done", "end of the campaign", 60)
    assert node.judge() == (0, 0, 0)
    assert node.end() == 0


@pytest.mark.timeout(120)
def test_a_fire_whose_answer_is_lost_and_that_is_sent_again_is_one_push_a_phone(node: NodeProcess) -> None:
    """B1: the wire is cut at the API's answer; whoever repeats the request with its key fires nothing twice."""
    node.start()
    node.wait_for("serving;")
    before = node.ledger()
    url = urlsplit(json.loads((node.data / "node.json").read_text())["url"])
    key = (node.data / "api.key").read_text().strip()
    headers = {"authorization": f"Bearer {key}", "idempotency-key": "goal-3"}
    body = json.dumps({"message": {"title": "again", "body": "b"}})
    for _ in range(3):
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = f"POST /v1/campaigns HTTP/1.1\r\nhost: node\r\ncontent-length: {len(body)}\r\n"
        with socket.create_connection((url.hostname or "", url.port or 0), 10) as editor:
            editor.sendall((head + "\r\n".join(lines) + "\r\n\r\n" + body).encode())
        # gone before the answer
    answer = httpx.post(f"{url.geturl()}/v1/campaigns", content=body, headers=headers, timeout=20).raise_for_status()
    again = httpx.post(f"{url.geturl()}/v1/campaigns", content=body, headers=headers, timeout=20).raise_for_status()
    assert again.json()["id"] == answer.json()["id"]
    path = f"/v1/campaigns/{answer.json()['id']}"
    node.until(lambda: node.api(path)["state"] == "done", "end of the campaign")
    assert len(node.api("/v1/campaigns")["items"]) == 2, "the demo's, and this one"
    pushes = node.ledger() - before
    assert set(pushes) == {token for token in before if not token.startswith(samples.DEAD)}
    assert set(pushes.values()) == {1}
    assert node.end() == 0


@pytest.mark.timeout(60)
def test_a_second_node_on_the_same_folder_is_refused_in_one_line(node: NodeProcess) -> None:
    node.subscribers = 10
    node.start()
    node.wait_for("serving;")
    command = [sys.executable, "-c", RUNNER, str(node.folder), "10"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 2
    assert "another node is running on it" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert node.end() == 0


@pytest.mark.timeout(60)
def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        runner = RUNNER.replace('"127.0.0.1:0"', f'"127.0.0.1:{port}"')
        command = [sys.executable, "-c", runner, str(tmp_path), "10"]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert f"http.bind: 127.0.0.1:{port}: Address already in use" in line
    assert "set [http] bind" in line
