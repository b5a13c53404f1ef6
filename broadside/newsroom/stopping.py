"""Stopping a campaign: tells every node of the ring at once, and draws the cut line."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
import trio

from broadside.api.campaign_report import CutLine
from campaigns.campaign import Campaign
from campaigns.tally import Tally
from storage.errors import StorageError
from storage.records import WaitedFor
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

STOPS = ("pausing", "paused", "cancelling", "cancelled")
"""The states in which a campaign has a cut line."""
WORDS = {
    "not yet": "not yet",
    "answers": "waits for its last answers",
    "away": "away: it begins nothing, and has not reported",
}


async def tell(queues: Sequence[Tubes]) -> None:
    """Let all nodes ask the store what is stopped. A node that cannot be told asks within a second by itself."""
    async with trio.open_nursery() as nursery:
        for queue in queues:
            nursery.start_soon(_tell, queue)


async def _tell(queue: Tubes) -> None:
    try:
        await queue.stop()
    except StorageError as error:
        log.warning("a node was not told of a stop: it learns it by its next heartbeat", error=str(error))


def cut_line(campaign: Campaign, tallies: Sequence[Tally], nodes: Sequence[WaitedFor]) -> CutLine:
    """Say who has a stopped campaign, and who has not. ``tallies``: of its channels."""

    def total(word: str) -> int:
        return sum(getattr(tally, word) for tally in tallies)

    cancelled = total("cancelled")
    ended = total("settled") - cancelled
    left = cancelled or total("remaining")
    unsure = min(left, total("unsure") + sum(node.unsure for node in nodes))
    on_tubes = max(0, min(left, total("enqueued") - ended) - unsure)
    return CutLine(
        accepted=total("delivered"),
        refused=ended - total("delivered"),
        may_have_it=unsure,
        on_tubes=on_tubes,
        not_walked=left - unsure - on_tubes + total("unwalked"),
        in_rows=campaign.where is not None and (not campaign.walked or total("unwalked") > 0),
        nodes={node.node: WORDS.get(node.state, node.state) for node in nodes},
    )
