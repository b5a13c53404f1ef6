"""How full the memory of the Tarantools is, in a sentence, before it is too late."""

from __future__ import annotations

from collections.abc import Mapping

from storage.records import Memory

WARN = 0.85
FULL = 0.95
"""As in storage/lua/roles/memory.lua: from here on nothing new is taken."""
MB = 1 << 20
REMEDY = "raise [node] memory in broadside.toml (memory of the server that runs it) and restart"


def memory_alarms(memories: Mapping[str, Memory]) -> tuple[list[str], bool]:
    """A sentence for each instance that is nearly full, and whether one is full."""
    sentences, full = [], False
    for name, memory in memories.items():
        share = memory.used / max(memory.size, 1)
        size = f"{share:.0%} of the {name}'s memory is used ({memory.used / MB:,.0f} of {memory.size / MB:,.0f} MB)"
        if memory.full or share > FULL:
            full = True
            sentences.append(f"{size}: no subscribers are taken, and campaigns wait until there is room; {REMEDY}")
        elif share > WARN:
            sentences.append(f"{size}: {REMEDY} before it is full")
    return sentences, full
