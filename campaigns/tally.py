"""Counts outcomes: the words of the ledger's sums, and their tally for one channel of a campaign."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from campaigns.outcome import TERMINAL

AUDIENCE = "audience"
"""Subscribers that the channel had at Fire."""
ENQUEUED = "enqueued"
"""Recipients of the pages that have been put on tubes."""
RETRIED = "retried"
"""Attempts that led to another one. Not an outcome: a recipient may be counted here many times, or never."""
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

    @property
    def settled(self) -> int:
        """Recipients with a terminal outcome."""
        return sum(getattr(self, word) for word in ENDS)

    @classmethod
    def of(cls, sums: Mapping[str, int], *, walked: bool) -> Tally:
        """The tally of a channel's sums. ``walked``: whether every segment of the campaign has been walked."""
        # once the base is walked, the enqueued count is final: subscribers who left since Fire are not waited for
        enqueued = sums.get(ENQUEUED, 0)
        expected = enqueued if walked else max(sums.get(AUDIENCE, 0), enqueued)
        counts = {word: sums.get(word, 0) for word in (AUDIENCE, ENQUEUED, RETRIED, *ENDS)}
        return cls(**counts, remaining=max(0, expected - ended(sums)))
