"""Remembers how far an import of a file has come, so that an interrupted one can go on there."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from broadside.errors import UsageError
from broadside.imports.private_file import PrivateFile

_EVERY = 1.0


class _State(msgspec.Struct, frozen=True):
    size: int
    changed: int
    """Time of the file's last change, in nanoseconds: another file is not gone on with."""
    offset: int


class Resume:
    """The place in the unpacked file up to which every row was stored, kept in a small file beside the imported one."""

    def __init__(self, file: Path | None = None, *, go_on: bool = False) -> None:
        """Keep the state of ``file`` in ``FILE.resume``; None: nowhere. ``go_on``: begin where the last one ended.

        Raises ``UsageError`` if there is nothing to go on with, or the file has changed.
        """
        self.offset = 0
        self._path = None if file is None else file.with_name(f"{file.name}.resume")
        self._written = time.monotonic()
        self._reached = 0
        self._was = _State(0, 0, 0)
        if file is None or self._path is None:
            return
        found = file.stat()
        self._was = _State(found.st_size, found.st_mtime_ns, 0)
        if go_on:
            self.offset = _read(self._path, self._was)

    @property
    def kept(self) -> bool:
        """Whether an import that ends before the file does can be gone on with."""
        return self._path is not None and bool(self._reached)

    def reached(self, offset: int) -> None:
        """Every row before ``offset`` is stored. Written once a second."""
        self._reached = max(offset, self.offset)
        if time.monotonic() - self._written >= _EVERY:
            self._write()

    def close(self, *, finished: bool) -> None:
        """Write how far the import has come; remove the file if it has come to the end."""
        if self._path is None:
            return
        if finished:
            self._path.unlink(missing_ok=True)
        elif self._reached:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._path is not None:
            with PrivateFile(self._path) as out:
                out.write(msgspec.json.encode(_State(self._was.size, self._was.changed, self._reached)))


def _read(path: Path, now: _State) -> int:
    try:
        state = msgspec.json.decode(path.read_bytes(), type=_State)
    except FileNotFoundError:
        raise UsageError(f"--resume: no {path} is here, so no import was interrupted (leave --resume out)") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--resume: {path} cannot be read: {error} (leave --resume out)") from None
    if (state.size, state.changed) != (now.size, now.changed):
        raise UsageError(f"--resume: the file has changed since {path} was written (leave --resume out)")
    return state.offset
