"""Which Tarantool runs, and what is said of its version."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import tarantool_program
from storage.embedded import Embedded
from storage.tarantool_program import ProgramUnusable, Version


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_environment_chooses_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = script(tmp_path / "newer", "echo Tarantool 3.8.0-0-gabc")
    monkeypatch.setenv("TARANTOOL", chosen)
    assert tarantool_program.tarantool() == chosen
    assert Embedded(tmp_path / "data", ["ios"], memory=64 << 20).command[0] == chosen
    found = tarantool_program.version(chosen)
    assert found.series == (3, 8)
    assert found.text == "Tarantool 3.8.0-0-gabc"


def test_a_program_that_is_not_there_is_not_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARANTOOL", "/nowhere/tarantool")
    assert tarantool_program.tarantool() is None


@pytest.mark.parametrize(
    ("series", "old", "said"),
    [
        ((1, 10), True, "not supported"),
        ((2, 5), True, "not supported"),
        ((2, 6), False, "not supported by its makers: good for a trial; 2.11 or 3 is recommended"),
        ((2, 11), False, "supported by its makers"),
        ((3, 0), False, "supported by its makers"),
        ((4, 1), False, "supported by its makers"),
    ],
)
def test_a_version_is_old_or_supported(series: tuple[int, int], old: bool, said: str) -> None:
    version = Version(series, "")
    assert version.old is old
    assert version.support.startswith(said)


@pytest.mark.parametrize("text", ["echo nginx 1.2", "exit 1"])
def test_another_program_is_no_tarantool(tmp_path: Path, text: str) -> None:
    with pytest.raises(ProgramUnusable, match="does not print its version"):
        tarantool_program.version(script(tmp_path / "other", text))


def test_a_file_that_cannot_be_run_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(ProgramUnusable, match="does not run"):
        tarantool_program.version(str(tmp_path))
