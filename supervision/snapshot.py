"""The plain-data picture of a tree: dicts, lists, numbers and strings, ready for JSON."""

from __future__ import annotations

from typing import TypedDict


class Snapshot(TypedDict, total=False):
    """One node of the tree. The fields from `strategy` on are a supervisor's only.

    `incarnation` counts an id's starts from 1, `uptime` is in seconds since ready (0.0 when not running),
    `restarts` are those of a supervisor that still count against its intensity.
    """

    id: str
    kind: str
    state: str
    incarnation: int
    uptime: float
    strategy: str
    restarts: int
    children: list[Snapshot]
