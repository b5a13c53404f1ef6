"""Whose a data folder or a configuration is, who gets its lock, and where its socket is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from broadside import cli, machine_users
from broadside.api.api_client import Client
from broadside.config.config import load
from broadside.datafolder import DataFolder
from broadside.errors import ConfigError, DataFolderError, UsageError
from storage import socket_path

OTHER = os.geteuid() + 12_345
"""The number of a user that this machine does not know."""
CHANNEL = '[channels.ios]\nplatform = "apns"\napp = "com.example.news"\ntwin = true\n'


@pytest.fixture
def as_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on what this test has written belongs to somebody else, and neither of us is root."""
    if os.geteuid() == 0:
        return
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)


def given_away(path: Path) -> None:
    """Make ``path`` another user's, as only root can; elsewhere `as_another_user` makes us another user instead."""
    if os.geteuid() == 0:
        os.chown(path, OTHER, -1)


@pytest.mark.usefixtures("as_another_user")
def test_a_data_folder_of_another_user_is_neither_used_nor_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S16: root in a foreign folder talked to the node of that folder's owner, and started one on it."""
    folder = DataFolder(tmp_path / "var")
    folder.root.mkdir(mode=0o700)
    given_away(folder.root)
    owner = machine_users.user_name(folder.root.stat().st_uid)
    expected = rf"belongs to {owner}, not to .* \(run the command as {owner}, or name another folder\)"
    with pytest.raises(DataFolderError, match=expected):
        Client.of(folder)
    with pytest.raises(DataFolderError, match=expected), folder.locked():
        pass
    assert cli.run(["campaign", "list", "--data", str(folder.root)]) == 2
    assert f"belongs to {owner}" in capsys.readouterr().err
    assert list(folder.root.iterdir()) == []


@pytest.mark.usefixtures("as_another_user")
def test_a_configuration_of_another_user_is_not_believed(tmp_path: Path) -> None:
    """S16: it names the store, the credentials and the data folder."""
    path = tmp_path / "broadside.toml"
    path.write_text(CHANNEL)
    given_away(path)
    owner = machine_users.user_name(path.stat().st_uid)
    with pytest.raises(ConfigError, match=rf"belongs to {owner}, not to .*\(run the command as {owner}; or") as caught:
        load(path)
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("as_another_user")
@pytest.mark.parametrize(("kind", "believed"), [("ext4", True), ("fuse.any", False)])
def test_a_configuration_that_is_mounted_as_a_file_is_believed(
    kind: str, believed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine mounts it into a container, and its owner has a number on the machine outside."""
    path = tmp_path / "two words" / "broadside.toml"
    path.parent.mkdir()
    path.write_text(CHANNEL)
    given_away(path)
    mounts = tmp_path / "mountinfo"
    place = str(path).replace(" ", "\\040")
    mounts.write_text(f"36 35 98:0 / / rw - ext4 root rw\n40 36 98:0 /conf {place} ro,noatime - {kind} /dev/vda rw\n")
    monkeypatch.setattr(machine_users, "_MOUNTS", mounts)
    if believed:
        assert load(path).channels
    else:
        with pytest.raises(ConfigError, match="belongs to"):
            load(path)


def test_what_is_ours_or_roots_is_believed() -> None:
    """S16: /etc/broadside/broadside.toml is root's."""
    assert machine_users.stranger(os.geteuid()) is None
    assert machine_users.stranger(0) is None
    assert machine_users.stranger(OTHER) == f"user {OTHER}"


def test_a_command_that_looks_at_the_lock_refuses_no_node_its_folder(tmp_path: Path) -> None:
    """S19: 201 of 2,000 starts were refused beside commands that looked."""
    folder = DataFolder(tmp_path / "var")
    folder.create()
    folder.lock.touch()
    looker = DataFolder(folder.root)
    done, looked = threading.Event(), 0

    def look() -> None:
        nonlocal looked
        while not done.is_set():
            looker.in_use()
            looked += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(200):
            with folder.locked():
                pass
    finally:
        done.set()
        thread.join()
    assert looked > 0


@pytest.fixture
def far(tmp_path: Path) -> DataFolder:
    """A data folder whose path is too long for a socket."""
    folder = DataFolder(tmp_path / ("x" * 100))
    folder.create()
    return folder


def test_a_long_tmpdir_is_no_place_for_a_socket(
    far: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S21, E7: the socket was bound outside its private folder, or not at all, and the node started for ever."""
    long = tmp_path / ("t" * 90)
    long.mkdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with far.socket() as path:
        assert socket_path.fits(path)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.parent.parent == Path("/tmp")
        path.touch()
        assert far.owns(path)
    assert not path.parent.exists()


def test_starts_that_are_killed_leave_one_folder_and_not_many(far: DataFolder) -> None:
    """S23: each left another /tmp/bs-…, with a name of its own."""
    script = """
import os, sys
from pathlib import Path
from broadside.datafolder import DataFolder
with DataFolder(Path(sys.argv[1])).socket() as path:
    path.touch()
    print(path.parent, flush=True)
    os._exit(9)
"""
    command = [sys.executable, "-c", script, str(far.root)]
    left = {subprocess.run(command, capture_output=True, text=True, timeout=60).stdout for _ in range(2)}
    assert len(left) == 1
    with far.socket() as path:
        assert left == {f"{path.parent}\n"}
    assert not path.parent.exists()


def test_a_folder_that_somebody_else_has_made_for_our_socket_is_not_used(far: DataFolder) -> None:
    private = socket_path.short_folder(far.root)
    private.mkdir(mode=0o755)
    private.chmod(0o755)
    try:
        with pytest.raises(DataFolderError, match="is not a private folder"), far.socket():
            pass
    finally:
        private.rmdir()


def test_a_path_that_is_not_utf_8_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """S18: Tarantool and the twins get paths as JSON, which is UTF-8."""
    folder = DataFolder(tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(DataFolderError, match="its path is not UTF-8") as caught:
        folder.create()
    str(caught.value).encode()


@pytest.mark.parametrize("option", ["--data", "--config"])
def test_a_home_that_is_not_there_is_a_sentence(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """S23: unexpected RuntimeError: could not determine home directory."""
    assert cli.run(["campaign", "list", option, "~nosuchuser/x"]) == UsageError.exit_code
    assert "~nosuchuser has no home folder here; write the whole path\n" in capsys.readouterr().err
