"""The feed: what became of subscribers, for the app's backend, which asks when it likes and misses nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

from broadside.access.limits import KeyLimits
from broadside.api.outward_records import FeedLine
from broadside.api.v1.cursors import number, read_cursor
from campaigns.clock import Clock, wall_clock
from campaigns.identity import campaign_text
from storage.outward_store import FeedRow, OutwardStore

ROWS_A_CALL = 100
"""Rows read at once; a row has at most some hundred subscribers."""


class FeedDesk:
    """One node's access to the feed."""

    def __init__(self, store: OutwardStore, clock: Clock = wall_clock) -> None:
        self._store = store
        self._clock = clock

    async def lines(self, cursor: str, limit: int, limits: KeyLimits) -> list[FeedLine]:
        """Return up to ``limit`` entries behind ``cursor`` on the channels of a key, the oldest first.

        At least once: an entry may come again, and nothing is left out but what a ``gap`` stands for.
        """
        begun, index = read_cursor(cursor, _position) or (0, 0)
        after = max(0, begun - 1) if index else begun
        found: list[FeedLine] = []
        more = True
        while more and len(found) < limit:
            rows, _, last = await self._store.feed(after, ROWS_A_CALL)
            if begun > last and not found:  # the store was put back from a backup: its numbers begin again before this
                return [FeedLine(cursor=f"{last}", kind="gap", at=self._clock())]
            for row in rows:
                if (after or begun) and row.number > after + 1:
                    found.append(FeedLine(cursor=f"{row.number - 1}", kind="gap", at=row.at))
                found += _lines(row, index if row.number == begun else 0, limits)
                after = row.number
                if len(found) >= limit:
                    break
            more = len(rows) == ROWS_A_CALL
        return found[:limit]


def _lines(row: FeedRow, skip: int, limits: KeyLimits) -> list[FeedLine]:
    allowed = limits.channels is None or row.channel in limits.channels
    if row.kind == "gap":
        return [FeedLine(cursor=f"{row.number}", kind="gap", at=row.at)] if allowed and not skip else []
    if not allowed:
        return []
    campaign = campaign_text(row.campaign) if row.campaign else None
    kind: Any = row.kind
    entry = partial(FeedLine, kind=kind, at=row.at, channel=row.channel, campaign=campaign)
    lines = []
    for n, (subscriber, token, other) in enumerate(row.entries[skip:], skip + 1):
        cursor = f"{row.number}" if n == len(row.entries) else f"{row.number}.{n}"
        more = {"new_token": other} if row.kind == "replaced" else {"reason": other} if row.kind == "dead" else {}
        lines.append(entry(cursor=cursor, subscriber=subscriber, token=token, **more))
    return lines


def _position(row: str, entry: str = "0") -> tuple[int, int]:
    """``7``: behind row 7; ``7.2``: behind the second entry of row 7."""
    return number(row), number(entry)
