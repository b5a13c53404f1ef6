"""Quiet hours, asked again at the moment when a batch is about to be sent."""

from __future__ import annotations

from dataclasses import replace

from campaigns.batch import Batch
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from campaigns.windows import QuietRule
from transports.contract import Outcomes, all_alike

REASON = "quiet hours"


def heed(batch: Batch, now: int) -> Batch | Outcomes:
    """Return the batch as it may be sent now, or its outcomes if it may not. ``now``: ms UTC.

    Whatever happened since the batch was put on its tube (an outage, a pause, a clock that was set), only the clocks of
    its recipients count.
    """
    window = batch.window
    if window is None:
        return batch
    interval = window.interval(now)
    if interval is not None:
        return replace(batch, opens_at=interval[0], closes_at=interval[1])
    if window.rule is QuietRule.SILENT:
        return replace(batch, presentation=Presentation.ASLEEP)
    if window.rule is QuietRule.DROP:
        return all_alike(batch, Outcome.DROPPED, REASON)
    return all_alike(batch, Outcome.POSTPONED, REASON)
