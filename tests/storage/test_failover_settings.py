"""How a server's settings say who becomes the store's master, and which Tarantool can do it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from storage import admin
from storage.embedded import Embedded
from storage.tarantool_program import ELECTS, support, tarantool, version

pytestmark = pytest.mark.tarantool
TARANTOOL = version(tarantool() or "tarantool")


def refused(folder: Path, failover: str) -> str:
    (folder / "password").write_text("secret\n")
    (folder / "password").chmod(0o600)
    password = str(folder / "password")
    settings = {
        "role": "store",
        "data": str(folder / "base"),
        "listen": "127.0.0.1:1",
        "password_file": password,
        "replication": {"others": ["127.0.0.1:9"], "password_file": password, "failover": failover},
    }
    (folder / "settings").write_text(json.dumps(settings))
    command = [Embedded(folder, []).command[0], str(admin.SERVER), str(folder / "settings")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert not (folder / "base").exists()
    return ended.stderr.strip()


def test_another_failover_than_these_two_is_unknown(tmp_path: Path) -> None:
    assert refused(tmp_path, "magic") == "settings: replication.failover: magic is unknown (raft or manual)"


@pytest.mark.skipif(TARANTOOL.series >= ELECTS, reason=f"{TARANTOOL.text} can")
def test_an_old_tarantool_does_not_elect(tmp_path: Path) -> None:
    said = refused(tmp_path, "raft")
    assert "replication.failover: failover by election needs Tarantool 2.11 or later, this is 2." in said
    assert said.endswith("(manual works with every version)")


PROMOTES = "a person promotes a replica if the master is lost"
OLD = "2.6.0-0-g47aa4e01e"


@pytest.mark.parametrize(
    ("text", "failover", "instances", "said"),
    [
        ("2.11.9", "manual", 3, f"{PROMOTES}; with failover: raft three servers elect their leader"),
        ("3.8.0", "raft", 3, "the servers elect their leader"),
    ],
)
def test_what_is_said_of_a_server_that_is_supported(text: str, failover: str, instances: int, said: str) -> None:
    assert support(text, failover, instances) == f"Tarantool {text}, supported by its makers; {said}"


def test_what_is_said_of_a_server_that_is_not() -> None:
    said = support(OLD, "manual", 2)
    assert said.startswith(
        f"Tarantool {OLD}, not supported by its makers: good for a trial; 2.11 or 3 is recommended; "
    )
    assert said.endswith(f"{PROMOTES}; from 2.11 on three servers can elect their leader")
    assert PROMOTES not in support(OLD, "manual", 1), "there is no replica"
