"""The doctor sees what goes wrong slowly: no backup, a disk or a memory too small, an old instance, a clock, a unit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from broadside import machine_limits
from broadside.config.config import NodeConfig
from broadside.datafolder import DataFolder
from broadside.demo.demo_config import demo_config
from broadside.doctor import checks_upkeep
from broadside.doctor.findings import Finding
from storage.backups.backing_up import back_up
from tests.conftest import Server

DAY = 86400.0


def lines(findings: Iterable[Finding]) -> list[str]:
    return [str(finding) for finding in findings]


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.tarantool
def test_a_base_without_a_backup_of_today_is_a_warning(own_tarantool: Server, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)  # in which the instance's folder is ``tarantool``
    (never,) = lines(checks_upkeep.backup_age(folder, 0.0))
    assert never.startswith("?? backup: this base was never backed up (broadside backup FOLDER")
    made = back_up(own_tarantool.embedded.directory, tmp_path / "b", broadside="1", progress=lambda *_: None)
    at = made.made_at / 1000
    (fresh,) = lines(checks_upkeep.backup_age(folder, at + DAY))
    assert fresh.startswith("ok backup: the last one is of ")
    (old,) = lines(checks_upkeep.backup_age(folder, at + 2 * DAY))
    assert old.startswith("?? backup: the last one is of ")
    assert list(checks_upkeep.backup_age(DataFolder(tmp_path / "nothing"), at)) == [], "there is no base yet"


@pytest.mark.tarantool
def test_what_runs_is_compared_with_what_is_installed(
    own_tarantool: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (same,) = lines(checks_upkeep.running(own_tarantool.embedded.directory))
    assert same.startswith("ok versions: store schema ")
    monkeypatch.setenv("TARANTOOL", str(program(tmp_path, "newer", "echo Tarantool 9.9.1-0-gabc")))
    (newer,) = lines(checks_upkeep.running(own_tarantool.embedded.directory))
    assert "runs, and 9.9.1-0-gabc is installed (restart the node" in newer
    assert newer.startswith("?? versions: ")
    assert list(checks_upkeep.running(tmp_path / "nothing")) == []


def test_a_disk_that_may_not_take_the_next_checkpoint_is_a_warning(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.tarantool.mkdir()
    snapshot = folder.tarantool / "00000000000000000001.snap"
    snapshot.write_bytes(b"x")
    assert list(checks_upkeep.checkpoint_room(folder)) == []
    os.truncate(snapshot, shutil.disk_usage(tmp_path).free)  # a hole takes no room
    (warning,) = lines(checks_upkeep.checkpoint_room(folder))
    assert warning.startswith("?? disk: ")
    assert "and the next checkpoint may take" in warning


def test_a_node_that_may_use_more_memory_than_there_is_is_a_warning() -> None:
    config = demo_config()
    there, _ = machine_limits.memory()
    small = msgspec.structs.replace(config, node=NodeConfig(workers=1, memory="64 MB"))
    assert list(checks_upkeep.memory(small)) == []
    large = msgspec.structs.replace(config, node=NodeConfig(workers=1, memory=f"{there >> 20} MB"))
    (warning,) = lines(checks_upkeep.memory(large))
    assert warning.startswith("?? memory: Tarantool and the workers may use ")


def test_a_clock_that_is_wrong_or_that_nothing_keeps_right_is_told() -> None:
    now = 1_796_000_000.0
    assert list(checks_upkeep.clock(now, adjusted=True)) == []
    assert lines(checks_upkeep.clock(now, adjusted=False))[0].startswith("?? clock: nothing keeps")
    assert lines(checks_upkeep.clock(0.0, adjusted=True))[0].startswith(
        "!! clock: this machine's clock says 1970-01-01"
    )


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("LoadState=not-found", None),
        (
            "LoadState=loaded UnitFileState=enabled ActiveState=active NeedDaemonReload=no",
            "ok systemd: x.service starts",
        ),
        ("LoadState=loaded UnitFileState=disabled ActiveState=active", "?? systemd: x.service does not start with"),
        ("LoadState=loaded UnitFileState=enabled ActiveState=failed", "!! systemd: x.service has failed"),
        (
            "LoadState=loaded UnitFileState=enabled ActiveState=active NeedDaemonReload=yes",
            "?? systemd: x.service has changed since systemd read it (systemctl daemon-reload",
        ),
    ],
)
def test_an_installed_unit_is_looked_at(
    said: str, line: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "systemctl", f"printf '%s\\n' {said}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = lines(checks_upkeep.systemd_unit("x.service"))
    assert len(found) == (line is not None)
    assert all(each.startswith(str(line)) for each in found)
