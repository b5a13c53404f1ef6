"""What a person should hear of: a sentence for each, with the remedy.

Memory that fills up, a ledger that hears nothing, a console that breaks, channels that stand still.
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
"""Seconds that a line may wait in the outbox for the store."""
REMEDY = "raise [node] memory in broadside.toml (memory of the server that runs it) and restart"


def memory_alarms(memories: Mapping[str, Memory]) -> tuple[list[str], bool]:
    """A sentence for each instance that is nearly full, and whether one is full."""
    sentences, full = [], False
    for name, memory in memories.items():
        share = memory.used / max(memory.size, 1)
        size = f"{share:.0%} of the {name}'s memory is used ({memory.used / MB:,.0f} of {memory.size / MB:,.0f} MB)"
        if memory.full:
            full = True
            sentences.append(f"{size}: no subscribers are taken, and campaigns wait until there is room; {REMEDY}")
        elif share > WARN:
            sentences.append(f"{size}: {REMEDY} before it is full")
    return sentences, full


class Setbacks:
    """Failures of a part that the node can do without; its alarm stands for an hour after the last one."""

    SHOWN_FOR = 3600.0
    """Seconds."""

    def __init__(self, part: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._part = part
        self._clock = clock
        self.down = False
        """It has failed too often, and is tried again after a pause."""
        self._count = 0
        self._last = ""
        self._at = 0.0

    def add(self, error: BaseException) -> None:
        """Take down one failure."""
        self._count += 1
        self._last = shown(f"{type(error).__name__}: {error}", 200)
        self._at = self._clock()

    def alarms(self) -> list[str]:
        """The sentence, or none."""
        ago = self._clock() - self._at
        if not self._count or (ago > self.SHOWN_FOR and not self.down):
            return []
        now = "it is down and tried again every half minute" if self.down else "it was restarted, campaigns went on"
        text = f"{self._part} has failed {self._count} times since the start, last {ago:.0f} s ago: {self._last}"
        return [f"{text}; {now}; the whole story is in node.log, please report it"]


def channel_alarms(states: Iterable[ChannelState]) -> list[str]:
    """A sentence for each channel that will not go on by waiting alone."""
    return [state.alarm for state in states if state.reason in ALARMING]


def outbox_alarms(age: float) -> list[str]:
    """A sentence when the ledger has not taken this node's first line for a minute. ``age``: seconds."""
    if age <= OWED:
        return []
    what = f"the store has not taken this node's reports for {age:,.0f} s: counts stand still, no campaign gets done"
    return [f"{what}; look for the word report in the node's log, and whether the store is up"]
