"""Watches the share of a campaign's tokens that a provider refuses: far above the usual, it is not the phones.

A key of the other environment, a wrong app or project: then every token is "dead", and a base would be emptied within
seconds. So a share far above the usual pauses the channel before anything is deleted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import trio

from transports.contract import Exceptional, Outcome, Outcomes

LIMIT = 0.2
"""The usual share stays far below this one."""
LEAST = 500
"""So many answers of one campaign must be there before its share means anything."""
_PATIENCE = 1.0  # seconds that a small, suspicious batch waits for company
_WINDOW = 4 * LEAST  # older answers fade, or a good half million would hide a bad page
_CAMPAIGNS = 8  # those under way at once; the oldest is forgotten
_REFUSED = (Outcome.DEAD, Outcome.REJECTED)


class _Share:
    """What is known of one campaign."""

    __slots__ = ("changed", "judged", "refused", "tripped")

    def __init__(self) -> None:
        self.judged = 0
        self.refused = 0
        self.tripped = False
        self.changed = trio.Event()


class Refusals:
    """One channel's watch. Lives as long as its breaker."""

    __slots__ = ("_campaigns", "limit")

    def __init__(self, limit: float = LIMIT) -> None:
        """``limit``: a share between 0 and 1 (1: never pause)."""
        self.limit = limit
        self._campaigns: dict[int, _Share] = {}

    async def weigh(self, campaign: int, outcomes: Outcomes) -> Outcomes:
        """The outcomes as they may be settled: if the share is too high, what was refused is HELD, with a STOP.

        A batch that alone looks bad while fewer than :data:`LEAST` answers are known waits a second for others, so
        that the first batches of a campaign are not deleted before their number means anything.
        """
        share = self._share(campaign)
        refused = sum(entry.outcome in _REFUSED for entry in outcomes.exceptions)
        judged = outcomes.delivered + refused
        if not judged:
            return outcomes
        self._count(share, judged, refused)
        if refused <= self.limit * judged:
            if share.tripped and (judged >= LEAST or share.refused <= self.limit * share.judged):
                share.tripped, share.judged, share.refused = False, judged, refused
            return outcomes
        if not share.tripped and share.judged < LEAST:
            with trio.move_on_after(_PATIENCE):
                while share.judged < LEAST and not share.tripped:
                    await share.changed.wait()
        if judged >= LEAST or (share.judged >= LEAST and share.refused > self.limit * share.judged):
            share.tripped = True
        return self._held(outcomes, judged, refused) if share.tripped else outcomes

    def _share(self, campaign: int) -> _Share:
        share = self._campaigns.get(campaign)
        if share is None:
            if len(self._campaigns) >= _CAMPAIGNS:
                del self._campaigns[next(iter(self._campaigns))]
            share = self._campaigns[campaign] = _Share()
        return share

    @staticmethod
    def _count(share: _Share, judged: int, refused: int) -> None:
        if share.judged >= _WINDOW:
            share.judged //= 2
            share.refused //= 2
        share.judged += judged
        share.refused += refused
        share.changed.set()
        share.changed = trio.Event()

    def _held(self, outcomes: Outcomes, judged: int, refused: int) -> Outcomes:
        reasons = Counter(entry.reason for entry in outcomes.exceptions if entry.outcome in _REFUSED)
        sentence = (
            f"{refused} of {judged} tokens refused ({reasons.most_common(1)[0][0]}), far above the usual: check the"
            f" channel's app and environment, or raise dead_limit ({self.limit:g})"
            " if the base is that old; nothing was deleted"
        )
        exceptions = [
            Exceptional(entry.index, Outcome.HELD, entry.reason) if entry.outcome in _REFUSED else entry
            for entry in outcomes.exceptions
        ]
        return replace(outcomes, exceptions=exceptions, stop=outcomes.stop or sentence)
