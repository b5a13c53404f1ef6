"""What a node says and does while the disk of its Tarantool is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from storage.link import Link
from storage.store import Store
from tests.broadside.test_fire_once import client, fire, phones
from tests.broadside.test_full_memory import CONFIGURATION, Configured
from tests.conftest import Server

pytestmark = pytest.mark.tarantool
ROOM = "make room on the disk of its data folder: all goes on by itself, without a restart"


async def test_a_full_disk_is_507_and_an_alarm_until_there_is_room(own_tarantool: Server, own_link: Link) -> None:
    """S11: it was a 500 that named no remedy, and no alarm."""
    await phones(Store(own_link), 10)
    async with client(own_link) as api:
        with own_tarantool.disk_full():
            removed = await api.delete("/v1/subscribers?channel=ios&token=token-1")
            refused = await fire(api)
            ready = await api.get("/readyz")
            status = await api.get("/v1/status")
        for answer in (removed, refused):
            error = answer.json()
            assert (answer.status_code, error["remedy"]) == (507, ROOM), answer.text
            assert "Tarantool's disk is full: store: store." in error["detail"]
        assert ready.status_code == 503
        for alarms in (ready.json()["alarms"], status.json()["alarms"]):
            (alarm,) = [each for each in alarms if each["name"] == "disk-full"]
            assert alarm["text"] == "the disk of the store is full: nothing is accepted, and campaigns wait"
            assert alarm["remedy"] == ROOM
        fired = await fire(api)
        assert fired.status_code == 201, "the refused request has fired nothing, and its key is free"
        with trio.fail_after(20):  # a probe may be told of a look of a second ago
            while (again := await api.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - the disk has room by then
                await trio.sleep(0.05)
        assert again.json()["alarms"] == []


MOUNT = """
mount -t tmpfs -o size=24m,mode=700 tmpfs "$0" || exit 9
dd if=/dev/zero of="$0/ballast" bs=4096 2>/dev/null
exec "$@"
"""


class Small(Configured):
    """A node whose data folder is a disk of 24 MB, full from the beginning."""

    def start(self) -> Configured:
        (self.folder / "broadside.toml").write_text(CONFIGURATION.format(memory="64 MB"))
        self.data.mkdir(mode=0o700)
        (self.data / "tarantool").mkdir(mode=0o700)
        command = [sys.executable, "-m", "broadside.cli", "node", "--config", str(self.folder / "broadside.toml")]
        alone = ["unshare", "--mount", "sh", "-c", MOUNT, str(self.data / "tarantool")]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen([*alone, *command], stdout=out, stderr=subprocess.STDOUT)
        return self

    def ask(self, *words: str) -> str:
        """What a command says that sees the node's disks."""
        assert self.process is not None
        there = ["nsenter", "--mount", "--target", str(self.process.pid), f"--wd={Path.cwd()}"]
        command = [sys.executable, "-m", "broadside.cli", *words, "--config", str(self.folder / "broadside.toml")]
        return subprocess.run([*there, *command], capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk of its own")
@pytest.mark.timeout(120)
def test_a_node_that_starts_on_a_full_disk_says_so_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """S11: it ended with `No space left on device`."""
    node = Small(tmp_path)
    try:
        node.start().wait_for("the disk of the data folder is full: the start waits until there is room", 60)
        assert "the start waits until there is room" in (node.data / "logs" / "node.log").read_text()
        said = node.ask("doctor")
        assert "tarantool: only 0 KB are free: a node waits with its start" in said, said
        assert ROOM in said
        assert node.process is not None
        Path(f"/proc/{node.process.pid}/root{node.data}/tarantool/ballast").unlink()
        node.wait_for("serving;", 60)
        assert "a node waits with its start" not in node.ask("doctor")
        assert node.end() == 0
    finally:
        node.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk of its own")
@pytest.mark.timeout(120)
def test_a_node_that_waits_for_room_can_be_stopped(tmp_path: Path) -> None:
    """S11: with exit code 0, as at any other time."""
    node = Small(tmp_path)
    try:
        node.start().wait_for("the start waits until there is room", 60)
        assert node.end() == 0
    finally:
        node.end()
