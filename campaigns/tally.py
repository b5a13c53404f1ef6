"""Counts outcomes: the words of the ledger's sums, and their tally for one channel of a campaign."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from campaigns.outcome import TERMINAL

AUDIENCE = "audience"
"""Subscribers that the channel had at Fire."""
ENQUEUED = "enqueued"
"""Recipients of the pages that have been put on tubes."""
ROWS = "rows"
"""Subscribers that the channel had at Fire, if the audience has conditions: the walk finds out who is in it."""
SKIPPED = "skipped"
"""Rows of those pages that are not in the audience. Not an outcome: ``enqueued`` and ``skipped`` make up all rows."""
UNWALKED = "unwalked"
"""Rows of such a campaign that had not been walked when it was cancelled."""
RETRIED = "retried"
"""Attempts that led to another one. Not an outcome: a recipient may be counted here many times, or never."""
UNSURE = "unsure"
"""Recipients without an outcome who may have a push: no answer to it is known. Nearly all of them are on tubes."""
ENDS = tuple(outcome.value for outcome in TERMINAL)
"""The terminal outcomes' words, in the order in which reports name them."""


def ended(sums: Mapping[str, int]) -> int:
    """How many recipients have a terminal outcome, of a channel's sums (word → count)."""
    return sum(sums.get(word, 0) for word in ENDS)


class Tally(msgspec.Struct, frozen=True):
    """What became of a campaign's recipients on one channel, so far."""

    audience: int = 0
    enqueued: int = 0
    delivered: int = 0
    dead: int = 0
    retried: int = 0
    rejected: int = 0
    expired: int = 0
    dropped: int = 0
    cancelled: int = 0
    remaining: int = 0
    skipped: int = 0
    unwalked: int = 0
    unsure: int = 0

    @property
    def settled(self) -> int:
        """Recipients with a terminal outcome."""
        return sum(getattr(self, word) for word in ENDS)

    @classmethod
    def of(cls, sums: Mapping[str, int], *, walked: bool, estimate: int = 0) -> Tally:
        """The tally of a channel's sums. ``walked``: whether no more of the campaign's segments will be walked.

        ``estimate``: the size of an audience with conditions, until the walk has found it.
        """
        # once the base is walked, the enqueued count is final: subscribers who left since Fire are not waited for
        enqueued = sums.get(ENQUEUED, 0)
        counts = {word: sums.get(word, 0) for word in (AUDIENCE, ENQUEUED, RETRIED, *ENDS, SKIPPED, UNWALKED)}
        if ROWS in sums:
            most = sums[ROWS] - counts[SKIPPED]
            counts[AUDIENCE] = enqueued if walked else max(enqueued, min(estimate, most))
        expected = enqueued if walked else max(counts[AUDIENCE], enqueued)
        return cls(**counts, remaining=max(0, expected - ended(sums)), unsure=max(0, sums.get(UNSURE, 0)))
