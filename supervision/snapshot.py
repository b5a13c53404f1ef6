"""The plain-data picture of a tree: dicts, lists, numbers and strings, ready for JSON."""

from __future__ import annotations

from typing import TypedDict

PARKED = "parked"
"""The state of an actor that waits for its next try (`Parking`)."""


class Snapshot(TypedDict, total=False):
    """One node of the tree. The fields from `strategy` on are a supervisor's only.

    `state` is a `ChildState`, or `parked`. `incarnation` counts an id's starts from 1, `uptime` is in seconds since
    ready (0.0 when not running), and `since` is when that was. `crash` is the last crash in words, left out where there
    was none. `since` and `crashed_at` are seconds UTC. `restarts` are those of a supervisor that still count against
    its intensity.
    """

    id: str
    kind: str
    state: str
    incarnation: int
    uptime: float
    since: float
    crash: str
    crashed_at: float
    strategy: str
    restarts: int
    children: list[Snapshot]
