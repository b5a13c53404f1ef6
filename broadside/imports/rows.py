"""One record of a file, in whatever format it came."""

from __future__ import annotations

import msgspec

from broadside.errors import Problem


class FileRow(msgspec.Struct, gc=False):
    """One record: its values by their names in the file, or the problem that it has none."""

    number: int
    """The line on which it begins."""
    raw: bytes
    """Its bytes, for the file of rejected lines."""
    record: dict[str, object]
    problem: Problem | None = None
    more: bool = False
    """The rest of a record that is too long, and was rejected."""
