"""The messages that actors pass to each other, and the few constants that they share."""

from __future__ import annotations

from dataclasses import dataclass, field

from campaigns.batch import Batch
from campaigns.campaign import Campaign
from storage.records import Claim, PagePart, TakenBaton
from transports.contract import Outcomes

FENCED_PAUSE = 1.0
"""Seconds before the next try when this node's epoch is not current: the node is about to join again."""
FULL_PAUSE = 1.0
"""Seconds before the next try when the queue has no memory for a page or a settlement: other settlements free some."""


@dataclass(frozen=True, slots=True)
class Page:
    """Walker → batcher: a claimed page with its subscribers, and the baton to ack once the page is on the tubes."""

    taken: TakenBaton
    claim: Claim
    campaign: Campaign
    parts: list[PagePart]
    skipped: dict[str, int] = field(default_factory=dict)
    """channel → rows of the page that are not in the campaign's audience."""
    kept: str | None = None
    """See ``PageRows``."""


@dataclass(frozen=True, slots=True)
class PartAnswered:
    """Transport → settler: some of a batch are delivered, while the answers to a few others are late."""

    batch: Batch
    delivered: list[int]
    """Indexes of its recipients."""
    settled: frozenset[int]
    """Those of earlier parts."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Transport → settler: a batch and its outcomes. (Consumer → transport: the batch alone.)"""

    batch: Batch
    outcomes: Outcomes
    """Of all of its recipients."""
    settled: frozenset[int] = frozenset()
    """Indexes of those recipients who were settled in parts: they were delivered."""
