"""A node whose Tarantool runs out of memory: it says so, keeps what it has acknowledged, and goes on with more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from broadside import cli
from tests.broadside.test_node_end_to_end import NodeProcess

CONFIGURATION = """
[node]
data = "var"
workers = 1
memory = "{memory}"

[http]
bind = "127.0.0.1:0"

[channels.ios-news]
platform = "apns"
app = "com.example.news"
twin = true
"""
ROWS = 200_000


class Configured(NodeProcess):
    """A node without a demo, by a configuration file."""

    def start(self) -> Configured:
        command = [
            str(Path(sys.executable).with_name("broadside")),
            "node",
            "--config",
            str(self.folder / "broadside.toml"),
        ]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        return self

    def with_memory(self, memory: str) -> Configured:
        (self.folder / "broadside.toml").write_text(CONFIGURATION.format(memory=memory))
        self.start()
        self.wait_for("serving;", 60)
        return self


def readiness(node: NodeProcess) -> tuple[int, Any]:
    """What ``/readyz`` answers."""
    answer = httpx.get(json.loads((node.data / "node.json").read_text())["url"] + "/readyz", timeout=10)
    return answer.status_code, answer.json()


@pytest.mark.timeout(180)
def test_an_import_into_too_small_a_memory_stops_in_plain_words_and_goes_on_in_a_larger_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.run([*words, "--config", str(tmp_path / "broadside.toml")])
        return code, *capfd.readouterr()

    base = tmp_path / "base.csv"
    with base.open("w") as file:
        file.write("channel,token,tags\n")
        for n in range(ROWS):
            file.write(f"ios-news,{n:064x},{'x' * 32}|{'y' * 32}|{'z' * 32}|{n:032d}|{'v' * 32}|{'w' * 32}\n")
    node = Configured(tmp_path).with_memory("64 MB")
    try:
        assert node.process is not None
        code, out, err = command("doctor")
        assert "is ready" in out
        code, out, err = command("subscribers", "import", str(base))
        assert (code, out) == (1, "")
        (line,) = err.splitlines()
        assert line.startswith("Tarantool's memory is full: ")
        assert "rows of" in line
        assert "raise [node] memory in broadside.toml" in line
        assert "then import the file again: existing rows are updated, not doubled" in line
        taken = node.api("/v1/subscribers/count")["total"]
        assert 0 < taken < ROWS

        status, said = readiness(node)
        assert (status, said["ready"]) == (503, False)
        (alarm,) = [each for each in said["alarms"] if each["name"] == "memory-full"]
        assert "of the store's memory is used" in alarm["text"]
        assert "no subscribers are accepted" in alarm["text"]
        assert alarm["name"] in [each["name"] for each in node.api("/v1/status")["alarms"]]
        code, out, err = command("doctor")
        assert code == 1
        assert "no subscribers are accepted, and campaigns wait until there is room" in out
        assert "{" not in out, "words, not a dump"

        node.process.kill()  # what was acknowledged was written, too
        node.process.wait(10)
        node.with_memory("256 MB")
        assert node.api("/v1/subscribers/count")["total"] == taken
        code, out, err = command("subscribers", "import", str(base))
        assert code == 0
        assert f"{ROWS - taken:,} new, {taken:,} updated, 0 rejected" in out
        assert node.api("/v1/subscribers/count")["total"] == ROWS
        status, said = readiness(node)
        assert (status, said["ready"]) == (200, True)
        assert [each for each in said["alarms"] if each["name"].startswith("memory")] == []
        assert node.end() == 0
    finally:
        if node.process is not None and node.process.poll() is None:
            node.process.kill()
            node.process.wait(10)
