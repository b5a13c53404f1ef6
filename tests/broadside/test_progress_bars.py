"""The bars of `fire --wait`: they say how many there are only once that is known."""

from __future__ import annotations

import msgspec
import pytest
from rich.progress import Progress

from broadside.api.campaign_report import CampaignReport
from broadside.api.v1.examples import EXAMPLES
from broadside.cli.waiting import _Bars
from campaigns.tally import Tally


@pytest.mark.parametrize(
    ("tally", "walked", "total", "done"),
    [
        (Tally(), False, None, 0),
        (Tally(audience=200, delivered=50, remaining=150), False, 200, 50),
        (Tally(audience=200, enqueued=180, delivered=180), True, 200, 180),
        (Tally(), True, 1, 1),
    ],
)
def test_a_bar_has_no_end_until_the_walk_has_found_somebody(
    tally: Tally, walked: bool, total: int | None, done: int
) -> None:
    """A campaign whose audience the walk must find showed a full bar, and the demo 0/0, until the first page."""
    progress = Progress(disable=True)
    bars = _Bars(progress)
    bars(msgspec.structs.replace(EXAMPLES[CampaignReport], channels={"ios": tally}, walked=walked, paused_channels={}))
    (task,) = progress.tasks
    assert (task.total, task.completed) == (total, done)
