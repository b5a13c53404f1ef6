"""Brings a backup back into an empty folder, and lets nothing go out of it before a person has decided."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from storage.backups.manifest import ARCHIVE, SNAPSHOT, Manifest, Progress, copied, read_manifest, why
from storage.embedded import LUA
from storage.errors import BackupFailed, BackupRefused, EmbeddedUnavailable
from storage.tarantool_program import ADVICE, tarantool, version

MARGIN = 64 << 20
"""Bytes of memory on top of what the instance had."""


class Restored(msgspec.Struct, frozen=True):
    """What came back."""

    subscribers: int
    campaigns: int
    held: list[tuple[int, str, str]]
    """Campaigns that wait for a person: id, title, and ``paused`` or ``armed``."""
    forgotten: list[str]
    """Nodes whose queues are not in the backup: they join anew, in a new epoch."""


def restore(
    backup: Path,
    instance: Path,
    *,
    go_on: bool,
    progress: Progress,
    archive: Path | None = None,
    roles: frozenset[str] = frozenset({"store"}),
) -> tuple[Manifest, Restored]:
    """Restore ``backup`` as the folder ``instance``, which must be empty or missing.

    ``go_on``: campaigns go on by themselves; ``archive``: where old ledgers go; ``roles``: what must be in it.

    Raises:
        BackupRefused: it is no backup, it is damaged, or it is newer than this Broadside or this Tarantool.
        BackupFailed: a disk or Tarantool failed on the way.
        EmbeddedUnavailable: there is no Tarantool. In every case nothing is left of it.
    """
    manifest = read_manifest(backup)
    if missing := roles - set(manifest.roles):
        raise BackupRefused(
            f"{backup}: has no {', '.join(missing)}: it is of a store server (restore it with --server)"
        )
    if instance.exists() and any(instance.iterdir()):
        raise BackupRefused(f"{instance} is not empty: its data would be lost (name an empty folder)")
    program = _program(manifest)
    staging = instance.with_name(f".{instance.name}-restoring")
    shutil.rmtree(staging, ignore_errors=True)  # of a killed run
    try:
        _copy(backup, manifest, staging, progress)
        progress("open", manifest.bytes, manifest.bytes)
        restored = _opened(program, staging / SNAPSHOT, manifest, go_on)
        if archive is not None and (staging / ARCHIVE).is_dir():
            (staging / ARCHIVE).rename(archive)
        if instance.exists():
            instance.rmdir()
        (staging / SNAPSHOT).rename(instance)  # the last step: a node finds all of it, or nothing
    except OSError as error:
        raise BackupFailed(f"the restoration failed: {why(error)}. Nothing of it is left") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest, restored


def _program(manifest: Manifest) -> str:
    program = tarantool()
    if program is None:
        raise EmbeddedUnavailable(f"tarantool is not installed: {ADVICE}")
    here, made_by = version(program), re.match(r"(\d+)\.(\d+)", manifest.tarantool)
    if made_by is not None and (int(made_by[1]), int(made_by[2])) > here.series:
        raise BackupRefused(
            f"the backup is of Tarantool {manifest.tarantool}, and {program} is {here.text}, which is older and does "
            "not read it (install that version or a newer one, or set TARANTOOL to its path)"
        )
    return program


def _copy(backup: Path, manifest: Manifest, staging: Path, progress: Progress) -> None:
    staging.mkdir(mode=0o700, parents=True)
    done = 0

    def told(n: int) -> None:
        nonlocal done
        done += n
        progress("copy", done, manifest.bytes)

    for file in manifest.files:
        folder, _, name = file.path.partition("/")
        if folder not in (SNAPSHOT, ARCHIVE) or not name or "/" in name or name.startswith("."):
            raise BackupRefused(f"{backup}: its manifest names {file.path!r}, which no backup has")
        source, target = backup / folder / name, staging / folder / name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if not source.is_file():
            raise BackupRefused(f"{source}: is missing: the backup is not whole (use another)")
        if copied(source, target, told) != file.sha256:
            raise BackupRefused(f"{source}: differs from its checksum: the backup is damaged (use another)")


def _opened(program: str, folder: Path, manifest: Manifest, go_on: bool) -> Restored:
    """Open it once: that proves that it can be, and lets the campaigns wait."""
    given = {"lua": str(LUA), "directory": str(folder), "memory": manifest.memory + MARGIN, "go_on": go_on}
    done = subprocess.run(
        [program, str(LUA / "restore.lua")], input=json.dumps(given) + "\n", capture_output=True, text=True, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise BackupFailed(f"Tarantool cannot open the backup: {last}") from None
    if not answer["ok"]:
        raise BackupRefused(f"the backup cannot be used: {answer['error']}")
    held = [(int(id), title, state) for id, title, state in answer["result"].pop("held")]
    return msgspec.convert({**answer["result"], "held": held}, Restored)
