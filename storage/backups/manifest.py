"""What a backup's folder has in it: its files with their checksums, and what made them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from storage.errors import BackupRefused
from storage.whole_file import WholeFile

FORMAT = 1
"""Of the folder: a newer one is refused."""
MANIFEST = "manifest.json"
SNAPSHOT = "tarantool"
"""The folder of the instance's files, in a backup."""
ARCHIVE = "archive"
"""The folder of old campaigns' ledgers, in a backup of a node."""
_PIECE = 1 << 20

Progress = Callable[[str, int, int], None]
"""Gets what is being done, and how many of how many bytes are."""


class BackupFile(msgspec.Struct, frozen=True):
    """One file of a backup."""

    path: str
    """In the backup's folder, with ``/``."""
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``manifest.json``. Written last: a folder without it is no backup."""

    format: int
    made_at: int
    """Ms UTC: the moment whose state it is, but for the second that the checkpoint took to begin."""
    broadside: str
    tarantool: str
    roles: list[str]
    """``store``, ``tubes``: what is in the instance."""
    instance: str
    """Its uuid, which is a node's identity too: the restored instance has the same."""
    memory: int
    """Bytes that the instance might use."""
    store_schema: int | None
    queue_schema: int | None
    subscribers: int | None
    campaigns: int | None
    files: list[BackupFile]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.bytes for file in self.files)


def read_manifest(backup: Path) -> Manifest:
    """Read a backup's manifest (raises ``BackupRefused``)."""
    path = backup / MANIFEST
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        remedy = "name the folder that `broadside backup` has made; without this file it is no whole backup"
        raise BackupRefused(f"{path}: no such file ({remedy})") from None
    except OSError as error:
        raise BackupRefused(f"{path}: {(error.strerror or str(error)).lower()}") from None
    try:
        version = msgspec.json.decode(raw, type=_OfAnyFormat).format
        if version > FORMAT:
            raise BackupRefused(f"{path}: format {version} is newer than this Broadside's {FORMAT} (use a newer one)")
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BackupRefused(f"{path}: is no manifest of a backup: {error}") from None


class _OfAnyFormat(msgspec.Struct):
    format: int


def copied(source: Path, target: Path, told: Callable[[int], None]) -> str:
    """Copy a file, mode 0600 and durably; return its SHA-256. ``told`` gets the bytes of each piece."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, WholeFile(target, durable=True) as writer:
        while piece := reader.read(_PIECE):
            digest.update(piece)
            writer.write(piece)
            told(len(piece))
    return digest.hexdigest()


def why(error: OSError) -> str:
    """Say what a file could not do, in a few words."""
    return f"{error.filename or ''}: {(error.strerror or str(error)).lower()}".removeprefix(": ")
