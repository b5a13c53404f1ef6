"""Makes a backup of a running instance: a checkpoint, whose files Tarantool keeps until they are copied.

Whoever may reach the admin socket may make one: the user that owns the data folder, who can read all of it anyway. So a
backup needs no right of its own, and no verb of the network can begin one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from campaigns.clock import wall_clock
from storage import admin
from storage.backups.manifest import (
    ARCHIVE,
    FORMAT,
    MANIFEST,
    SNAPSHOT,
    BackupFile,
    Manifest,
    Progress,
    copied,
    read_manifest,
    why,
)
from storage.errors import AdminRefused, BackupFailed, BackupRefused
from storage.whole_file import WholeFile, sync_folder, write_whole

LONGEST = 3600.0
"""Seconds that a checkpoint may take."""
SPARE = 64 << 20
"""Bytes that stay free on each disk: a running instance must be able to write."""
LAST = "backup.json"
"""The file in the instance's folder that says when it was backed up last."""


class LastBackup(msgspec.Struct, frozen=True, kw_only=True):
    """``backup.json``."""

    at: int
    """Ms UTC."""
    path: str
    bytes: int


def back_up(instance: Path, to: Path, *, broadside: str, progress: Progress, archive: Path | None = None) -> Manifest:
    """Back the instance whose folder is ``instance`` up into the new folder ``to``.

    ``archive``: a folder of files that never change, which come along; ``broadside``: this version.

    Raises:
        OSError: no instance listens on the admin socket, or this user may not connect.
        BackupRefused: there is no room, or ``to`` exists.
        BackupFailed: Tarantool or a disk failed on the way. Nothing is left of the backup.
    """
    if to.exists():
        raise BackupRefused(f"{to} exists already (name a new folder, as in {to.name}-2)")
    socket = instance / "admin.sock"
    measured = admin.ask(socket, "measure")
    if "store" not in measured["roles"]:
        raise BackupRefused(f"{instance}: has a queue alone, whose work the store knows too (back up the store)")
    to.parent.mkdir(parents=True, exist_ok=True)
    _check_room(int(measured["used"]), instance, to.parent)
    made_at = wall_clock()
    done = _checkpoint_progress(instance, progress)
    try:
        with admin.asked(socket, "backup", LONGEST, done) as said:
            sources = {f"{SNAPSHOT}/{Path(name).name}": instance / Path(name).name for name in said["files"]}
            if archive is not None and archive.is_dir():
                # after the checkpoint: a ledger that had left the store by then is in the archive by now
                sources |= {f"{ARCHIVE}/{path.name}": path for path in sorted(archive.glob("*.ndjson.gz"))}
            manifest = _copy(said, sources, to, made_at, broadside, progress)
    except AdminRefused as error:
        raise BackupFailed(f"Tarantool makes no checkpoint: {error}") from None
    last = LastBackup(at=made_at, path=str(to), bytes=manifest.bytes)
    # a full disk: the backup is whole, and only the doctor does not know of it
    with suppress(OSError), WholeFile(instance / LAST) as file:
        file.write(msgspec.json.encode(last) + b"\n")
    return manifest


def last_backup(instance: Path) -> LastBackup | None:
    """When this instance was backed up last; None: never, as far as its folder says."""
    try:
        return msgspec.json.decode((instance / LAST).read_bytes(), type=LastBackup)
    except (OSError, msgspec.MsgspecError):
        return None


def _check_room(used: int, instance: Path, target: Path) -> None:
    """Refuse a backup that would fill a disk: rows take at most as many bytes in a checkpoint as in memory."""
    disks: dict[int, tuple[Path, int]] = {}
    for place in (instance, target):
        disk = place.stat().st_dev
        disks[disk] = (place, disks.get(disk, (place, 0))[1] + used)
    for place, needed in disks.values():
        if (free := shutil.disk_usage(place).free) < needed + SPARE:
            both = " (the checkpoint and its copy)" if len(disks) == 1 else ""
            raise BackupRefused(
                f"{place}: a backup may take {(needed + SPARE) >> 20:,} MB of its disk{both}, and {free >> 20:,} MB "
                "are free (make room, or name a folder on another disk)"
            )


def _checkpoint_progress(instance: Path, progress: Progress) -> Any:
    before = max((path.stat().st_size for path in instance.glob("*.snap")), default=0)

    def look() -> None:
        written = max((path.stat().st_size for path in instance.glob("*.snap.inprogress")), default=0)
        progress("checkpoint", written, max(before, written))

    return look


def _copy(
    said: dict[str, Any], sources: dict[str, Path], to: Path, made_at: int, broadside: str, progress: Progress
) -> Manifest:
    total = sum(path.stat().st_size for path in sources.values())
    done = 0

    def told(n: int) -> None:
        nonlocal done
        done += n
        progress("copy", done, total)

    with _whole_folder(to) as partial:
        files = []
        for name, source in sources.items():
            target = partial / name
            target.parent.mkdir(mode=0o700, exist_ok=True)
            checksum = copied(source, target, told)
            files.append(BackupFile(name, target.stat().st_size, checksum))
        manifest = Manifest(
            format=FORMAT,
            made_at=made_at,
            broadside=broadside,
            files=files,
            **{name: said[name] for name in Manifest.__struct_fields__ if name in said and name != "files"},
        )
        write_whole(partial / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    return read_manifest(to)


@contextmanager
def _whole_folder(to: Path) -> Iterator[Path]:
    """A folder beside ``to`` that takes its name at the end of the block, or leaves nothing behind."""
    partial = to.with_name(f".{to.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed run: Tarantool lets nobody make two backups at once
    try:
        partial.mkdir(mode=0o700)
        yield partial
        partial.rename(to)
        sync_folder(to.parent)
    except OSError as error:
        raise BackupFailed(f"the backup failed: {why(error)}. Nothing of it is left") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
