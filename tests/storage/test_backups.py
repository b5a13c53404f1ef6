"""A backup is one moment of a running instance, whole or not there at all; it is restored into an empty folder only."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from campaigns.message import Message
from storage import admin
from storage.backups import backing_up
from storage.backups.backing_up import back_up, last_backup
from storage.backups.manifest import MANIFEST, Manifest
from storage.backups.restoring import Restored, restore
from storage.errors import AdminRefused, BackupFailed, BackupRefused
from tests.conftest import Server, linked
from tests.storage.test_schema_versions import NEWER
from tests.storage.test_walk_verbs import BOTH, CAMPAIGN, NOW, House
from tests.storage.written_folder import script

pytestmark = pytest.mark.tarantool
PEOPLE = 12
LATER = CAMPAIGN + 7


def nothing(step: str, done: int, total: int) -> None:
    """No progress is shown."""


def made(server: Server, to: Path) -> Manifest:
    return back_up(server.embedded.directory, to, broadside="1", progress=nothing)


def back(backup: Path, into: Path, go_on: bool = False) -> Restored:
    return restore(backup, into, go_on=go_on, progress=nothing)[1]


def started(folder: Path) -> Server:
    return Server(folder, ["ios", "android"]).start()


async def campaign_under_way(server: Server) -> None:
    """Of three pages one is settled, one on the tubes, one not yet claimed; a second campaign is scheduled."""
    async with linked(server) as link:
        house = House(link)
        await house.join()
        await house.subscribers(PEOPLE)
        await house.fire(page_size=4)
        await house.walk_page()
        await house.deliver("ios")
        await house.deliver("android")
        await house.report()
        await house.walk_page()
        policy = {"start": NOW, "ttl_ms": 1000}
        await house.store.campaign_create(LATER, Message(title="later", body="b"), None, policy, NOW)
        await house.store.campaign_fire(LATER, 1, NOW)


@pytest.fixture
def under_way(own_tarantool: Server) -> Server:
    trio.run(campaign_under_way, own_tarantool)
    return own_tarantool


def test_a_backup_is_the_moment_at_which_it_was_made_and_its_campaigns_wait_for_a_person(
    under_way: Server, tmp_path: Path
) -> None:
    manifest = made(under_way, tmp_path / "backup")
    assert (manifest.subscribers, manifest.campaigns) == (PEOPLE, 2)
    assert last_backup(under_way.embedded.directory) is not None
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0

    async def goes_on() -> None:
        async with linked(under_way) as link:
            house = House(link)
            await house.join()
            await house.deliver("ios")
            await house.report()
            await house.subscribers(PEOPLE + 5)

    trio.run(goes_on)
    under_way.stop()
    restored = back(tmp_path / "backup", tmp_path / "restored")
    assert (restored.subscribers, restored.campaigns, restored.forgotten) == (PEOPLE, 2, [])
    assert restored.held == [(CAMPAIGN, "t", "paused"), (LATER, "later", "armed")]
    server = started(tmp_path / "restored")

    async def waits_and_then_goes_on_to_its_end() -> None:
        async with linked(server) as link:
            house = House(link)
            _, epoch, _ = await house.tubes.epoch()
            assert await house.join() == epoch, "its queue is the one of the backup: the same owner goes on"
            assert await house.state() == "pausing"
            later = await house.store.campaign_get(LATER)
            assert later is not None
            assert later.state == "armed"
            assert (await house.store.campaigns_due()).campaigns == []
            assert (await house.tallies())["ios"]["delivered"] == 2
            state, batons = await house.store.campaign_resume(CAMPAIGN, NOW)
            assert state == "firing"
            await house.tubes.baton_put(batons)
            while await house.walk_page() is not None:
                pass
            sent = 0
            while await house.report() is not None or await house.state() == "firing":
                sent += await house.deliver("ios") + await house.deliver("android")
            assert sent == PEOPLE - 4, "who was settled before the backup gets nothing again"
            assert await house.state() == "done"

    try:
        trio.run(waits_and_then_goes_on_to_its_end)
    finally:
        server.stop()
        server.embedded.remove_runtime()


def test_campaigns_go_on_by_themselves_if_that_is_wished(under_way: Server, tmp_path: Path) -> None:
    made(under_way, tmp_path / "backup")
    assert back(tmp_path / "backup", tmp_path / "restored", go_on=True).held == []
    server = started(tmp_path / "restored")

    async def states() -> tuple[str, str]:
        async with linked(server) as link:
            later = await House(link).store.campaign_get(LATER)
            assert later is not None
            return await House(link).state(), later.state

    try:
        assert trio.run(states) == ("firing", "scheduled")
    finally:
        server.stop()
        server.embedded.remove_runtime()


def test_a_node_whose_queue_is_not_in_the_backup_is_forgotten_and_its_pages_are_walked_again(
    own_tarantool: Server, tmp_path: Path
) -> None:
    async def another_node() -> None:
        async with linked(own_tarantool) as link:
            house = House(link)
            await house.join()
            await house.store.node_join("n2", "another-queue", 0, NOW, BOTH)
            await house.subscribers(PEOPLE)
            await house.fire(page_size=4)
            held = await house.take()
            assert held is not None
            assert (await house.store.page_claim("n2", 1, held.baton, NOW)).verdict == "claimed"

    trio.run(another_node)
    made(own_tarantool, tmp_path / "backup")
    assert back(tmp_path / "backup", tmp_path / "restored").forgotten == ["n2"]
    server = started(tmp_path / "restored")

    async def joins_anew() -> None:
        async with linked(server) as link:
            house = House(link)
            await house.join()
            (page,) = await house.store.campaign_pages(CAMPAIGN)
            assert page.state == "open"
            assert await house.store.node_join("n2", "another-queue", 1, NOW, BOTH) == 2

    try:
        trio.run(joins_anew)
    finally:
        server.stop()
        server.embedded.remove_runtime()


def test_tarantool_deletes_none_of_a_backups_files_until_its_client_has_gone(own_tarantool: Server) -> None:
    folder = own_tarantool.embedded.directory
    with admin.asked(folder / "admin.sock", "backup") as said:
        with pytest.raises(AdminRefused, match="another backup is being made"):
            admin.ask(folder / "admin.sock", "backup")
        files = [folder / Path(name).name for name in said["files"]]
        assert files
        assert all(file.exists() for file in files)
    admin.ask(folder / "admin.sock", "backup")
    with pytest.raises(AdminRefused, match="unknown command"):
        admin.ask(folder / "admin.sock", "promote")


def test_a_backup_that_cannot_be_written_leaves_nothing_and_says_why(
    own_tarantool: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    trio.run(more, own_tarantool)  # else there is nothing to write
    with own_tarantool.disk_full(), pytest.raises(BackupFailed, match=r"Tarantool makes no checkpoint: .*snap"):
        made(own_tarantool, folder / "one")
    monkeypatch.setattr(backing_up, "SPARE", 1 << 60)
    with pytest.raises(BackupRefused, match=r"a backup may take [\d,]+ MB of its disk \(the checkpoint and its copy\)"):
        made(own_tarantool, folder / "one")
    monkeypatch.undo()
    (folder / ".one-partial").mkdir()  # a run that was killed
    made(own_tarantool, folder / "one")
    assert [path.name for path in folder.iterdir()] == ["one"]
    with pytest.raises(BackupRefused, match="exists already"):
        made(own_tarantool, folder / "one")


async def more(server: Server) -> None:
    async with linked(server) as link:
        await House(link).subscribers(PEOPLE)


def in_manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(backup: Path) -> None:
        said = json.loads((backup / MANIFEST).read_text())
        change(said)
        (backup / MANIFEST).write_text(json.dumps(said))

    return damage


def flipped(backup: Path) -> None:
    (snapshot,) = (backup / "tarantool").glob("*.snap")
    content = bytearray(snapshot.read_bytes())
    content[len(content) // 2] ^= 1
    snapshot.write_bytes(content)


def newer(backup: Path) -> None:
    """As a newer Broadside would write it."""
    script(NEWER.replace("os.exit(0)", "box.snapshot() os.exit(0)"), backup / "tarantool")
    for old in sorted((backup / "tarantool").iterdir()):
        if old.suffix != ".snap":
            old.unlink()
    *before, last = sorted((backup / "tarantool").glob("*.snap"))
    for old in before:
        old.unlink()
    file = {
        "path": f"tarantool/{last.name}",
        "bytes": last.stat().st_size,
        "sha256": hashlib.sha256(last.read_bytes()).hexdigest(),
    }
    in_manifest(lambda said: said.update(files=[file]))(backup)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (lambda backup: (backup / MANIFEST).unlink(), r"manifest\.json: no such file .*no whole backup"),
    "another bit": (flipped, "differs from its checksum: the backup is damaged"),
    "a missing file": (lambda backup: next((backup / "tarantool").iterdir()).unlink(), "is missing: the backup is not"),
    "a newer schema": (newer, r"the store has schema \d+, this Broadside knows \d+: start a newer Broadside"),
    "a newer format": (in_manifest(lambda said: said.update(format=9)), "format 9 is newer than this Broadside's 1"),
    "a newer Tarantool": (
        in_manifest(lambda said: said.update(tarantool="99.1.0")),
        "of Tarantool 99.1.0, and .*older",
    ),
    "no store": (in_manifest(lambda said: said.update(roles=["tubes"])), "has no store"),
    "a way out of it": (
        in_manifest(lambda said: said["files"][0].update(path="tarantool/../../x")),
        "names 'tarantool/../../x', which no backup has",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    server = started(folder / "data")
    made(server, folder / "backup")
    server.stop()
    server.embedded.remove_runtime()
    return folder / "backup"


@pytest.mark.parametrize("what", DAMAGE)
def test_a_backup_that_is_damaged_or_newer_is_refused_in_words_and_leaves_nothing(
    what: str, good: Path, tmp_path: Path
) -> None:
    damage, words = DAMAGE[what]
    shutil.copytree(good, tmp_path / "backup")
    damage(tmp_path / "backup")
    with pytest.raises(BackupRefused, match=words):
        back(tmp_path / "backup", tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_only_an_empty_folder_is_restored_into(good: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "00000000000000000001.snap").write_text("somebody's base")
    with pytest.raises(BackupRefused, match="is not empty: its data would be lost"):
        back(good, tmp_path / "data")
    assert (tmp_path / "data" / "00000000000000000001.snap").read_text() == "somebody's base"
