"""Why a channel stands still: one record, passed from the worker that sees it to every node of the ring."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

MOST = 200
"""Channels that one node reports."""
LONGEST = 500
"""Characters of a sentence or a remedy."""

_WORDS = "question parked breaker unreachable unserved settling silent quota answers limiter"
_RANKS = {word: rank for rank, word in enumerate(_WORDS.split())}


class ChannelState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why one channel sends nothing, or less than it could."""

    channel: str
    reason: str
    """A short word: ``question`` (a person is asked), ``parked`` (its actors crash), ``breaker`` (the provider refuses
    the whole channel), ``unreachable`` (no connection, or no access token), ``unserved`` (no node has it), ``settling``
    (settlements fail), ``silent`` (no push is answered), ``quota`` (the provider asks for less), ``answers`` (all
    batches in hand wait for the provider's answers), ``limiter`` (its own rate)."""
    sentence: str
    """The reason in a person's words."""
    since: int
    """Ms UTC."""
    until: int | None = None
    """Ms UTC until which nothing is tried; None: it is tried as soon as there is something to send."""
    remedy: str = ""
    node: str = ""
    """The node that reports it; empty on that node itself."""

    def bounded(self) -> ChannelState:
        """The same with texts of at most :data:`LONGEST` characters."""
        if len(self.sentence) <= LONGEST and len(self.remedy) <= LONGEST:
            return self
        return msgspec.structs.replace(self, sentence=self.sentence[:LONGEST], remedy=self.remedy[:LONGEST])


def worst(states: Iterable[ChannelState]) -> dict[str, ChannelState]:
    """One state for each channel: the one with the worst reason, and of several the one that began first."""
    chosen: dict[str, ChannelState] = {}
    for state in sorted(states, key=lambda state: (_RANKS.get(state.reason, len(_RANKS)), state.since)):
        chosen.setdefault(state.channel, state)
    return chosen
