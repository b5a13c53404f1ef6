"""Reads ``[guards]``: what stands between an editor and a Fire by mistake."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from broadside.config.strict_toml import Reader
from broadside.errors import shown
from campaigns.duration import EXAMPLES, parse_duration
from campaigns.guards import LONGEST_REPEAT, Guards
from campaigns.quiet_hours import OFF

LONGEST_APPROVAL = 30 * 86400
"""Seconds."""


class _Table(msgspec.Struct, frozen=True, kw_only=True):
    """The table as it is written."""

    repeat: str | int | None = None
    approval_above: Annotated[int, Meta(ge=1)] | None = None
    approval_for: str | None = None


def read_guards(reader: Reader, table: object) -> Guards:
    """Return the guards' settings."""
    written = reader.table(_Table, table, "guards", _REMEDIES)
    given: dict[str, Any] = {}
    if written is None:
        return Guards()
    if written.repeat is not None:
        given["repeat"] = _seconds(reader, written.repeat, "guards.repeat", LONGEST_REPEAT)
    if written.approval_above is not None:
        given["approval_above"] = written.approval_above
    if written.approval_for is not None:
        given["approval_for"] = _seconds(reader, written.approval_for, "guards.approval_for", LONGEST_APPROVAL)
    return Guards(**given)


def _seconds(reader: Reader, written: str | int, key: str, most: int) -> int:
    """Read a duration; 0 or "off" is none, where there can be none."""
    if written in (0, "0", OFF) and key == "guards.repeat":
        return 0
    seconds = parse_duration(str(written))
    if seconds is None or seconds > most:
        what = "is not a duration" if seconds is None else "is too long"
        reader.problem(key, f"{shown(written)} {what}", _REMEDIES[key], written)
        return 0
    return seconds


_REMEDIES = {
    "guards.approval_above": "a number of phones; leave it out if nobody need approve",
    "guards.approval_for": f'write it as in "12h" ({EXAMPLES}), at most "30d"',
    "guards.repeat": f'write it as in "30m" ({EXAMPLES}), at most "7d"; 0 turns the guard off',
}
