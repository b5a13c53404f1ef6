"""Reads a request from a file that an option names."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TypeVar

import msgspec

from broadside.api import strict_json
from broadside.errors import RecordError, UsageError, shown

T = TypeVar("T", bound=msgspec.Struct)


def read_json(path: Path, kind: type[T], noun: str, option: str = "") -> T:
    """Read a record of this ``kind``. ``noun``: what it is; ``option``: what names the file. Raises ``UsageError``."""
    where = f"{option}: file {shown(str(path))}" if option else f"file {shown(str(path))}"
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        reason = "not found" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise UsageError(f"{where} {reason} (name a JSON file)") from None
    try:
        return strict_json.decode(content, kind, noun)
    except RecordError as error:
        raise UsageError(f"{where}: {error}") from None
