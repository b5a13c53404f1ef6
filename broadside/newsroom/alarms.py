"""Alarms for people, each a sentence with its remedy.

Causes: memory that is nearly full, a full disk, reports that do not reach the ledger, an API that breaks, channels that
stand still.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from broadside.errors import shown
from campaigns.channel_state import ALARMING, ChannelState
from storage.records import Memory

WARN = 0.85
MB = 1 << 20
OWED = 60.0
"""Seconds that a report may wait in the outbox before it is an alarm."""
REMEDY = "raise [node] memory in broadside.toml (memory of the server that runs it) and restart"

DISK_REMEDY = "make room on the disk of its data folder: all goes on by itself, without a restart"


def memory_alarms(memories: Mapping[str, Memory]) -> tuple[list[str], bool]:
    """Return an alarm for each instance that is nearly full or whose disk is full, and whether any is full."""
    sentences, full = [], False
    for name, memory in memories.items():
        if memory.disk_full:
            full = True
            what = f"the disk of the {name} is full: nothing is accepted, and campaigns wait"
            sentences.append(f"{what}; {DISK_REMEDY}")
        share = memory.used / max(memory.size, 1)
        size = f"{share:.0%} of the {name}'s memory is used ({memory.used / MB:,.0f} of {memory.size / MB:,.0f} MB)"
        if memory.full:
            full = True
            sentences.append(f"{size}: no subscribers are accepted, and campaigns wait until there is room; {REMEDY}")
        elif share > WARN:
            sentences.append(f"{size}: {REMEDY} before it is full")
    return sentences, full


class Setbacks:
    """Failures of a part that the node can do without. The alarm lasts for an hour after the last failure."""

    SHOWN_FOR = 3600.0
    """Seconds."""

    def __init__(self, part: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._part = part
        self._clock = clock
        self.down = False
        """The part has failed too often, and is started again after a pause."""
        self._count = 0
        self._last = ""
        self._at = 0.0

    def add(self, error: BaseException) -> None:
        """Count one failure."""
        self._count += 1
        self._last = shown(f"{type(error).__name__}: {error}", 200)
        self._at = self._clock()

    def alarms(self) -> list[str]:
        """Return the alarm, or none."""
        ago = self._clock() - self._at
        if not self._count or (ago > self.SHOWN_FOR and not self.down):
            return []
        now = "it is down and retried every half minute" if self.down else "it was restarted, campaigns went on"
        text = f"{self._part} has failed {self._count} times since the start, last {ago:.0f} s ago: {self._last}"
        return [f"{text}; {now}; please report it with the traceback in node.log"]


def channel_alarms(states: Iterable[ChannelState]) -> list[str]:
    """Return an alarm for each channel that will not recover by waiting alone."""
    return [state.alarm for state in states if state.reason in ALARMING]


def outbox_alarms(age: float) -> list[str]:
    """Return an alarm if this node's oldest report has waited for the store for a minute. ``age``: seconds."""
    if age <= OWED:
        return []
    what = f"the store has not taken this node's reports for {age:,.0f} s: counts stand still, no campaign can be done"
    return [f"{what}; check that the store is up, and look for the word report in the node's log"]
