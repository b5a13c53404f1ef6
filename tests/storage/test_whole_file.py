"""A file is there as a whole or not at all, and its owner alone can read it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.whole_file import WholeFile, write_whole

ROOT = Path(__file__).parents[2]
PRODUCT = ("supervision", "campaigns", "transports", "storage", "actors", "broadside")
KILLED = """
import os, signal, sys
from pathlib import Path
from storage.whole_file import WholeFile
with WholeFile(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_whoever_reads_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "api.key"
    path.write_bytes(b"old")
    with WholeFile(path) as file:
        file.write(b"new, and longer")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new, and longer"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "api.key"
    write_whole(path, b"old")
    with pytest.raises(ZeroDivisionError), WholeFile(path) as file:
        file.write(b"%d" % (1 // 0))
    full = WholeFile(path, durable=True)
    os.close(full.file.fileno())  # as if the disk failed
    full.file.write(b"half")
    with pytest.raises(OSError, match="Bad file descriptor"):
        full.replace()
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"api.key": b"old"}


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """S12"""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "out").symlink_to("victim")
    write_whole(tmp_path / "out", b"new")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not (tmp_path / "out").is_symlink()


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "archive [1].gz"
    killed = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    assert not path.exists()
    write_whole(path, b"whole")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {path.name: b"whole"}


def test_files_are_made_whole_in_one_place_only() -> None:
    """S12: three places did it, each in its own way."""
    files = [path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if ".fsync(" in path.read_text()}
    found |= {str(path.relative_to(ROOT)) for path in files if "mkstemp(" in path.read_text()}
    assert found == {"storage/whole_file.py"}
