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
from storage.store import Store
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


def cut_line(
    campaign: Campaign, tallies: Sequence[Tally], nodes: Sequence[WaitedFor], not_walked: int | None = None
) -> CutLine:
    """Say who has a stopped campaign, and who has not.

    ``tallies``: of its channels; ``not_walked``: how many of its audience nobody has looked at yet, if it was counted.
    """

    def total(word: str) -> int:
        return sum(getattr(tally, word) for tally in tallies)

    cancelled = total("cancelled")
    ended = total("settled") - cancelled
    unsure, put = total("unsure") + sum(node.unsure for node in nodes), max(0, total("enqueued") - ended)
    left = cancelled or total("remaining") if not_walked is None else unsure + put
    unsure = min(left, unsure)
    on_tubes = max(0, min(left, put) - unsure)
    return CutLine(
        accepted=total("delivered"),
        refused=ended - total("delivered"),
        may_have_it=unsure,
        on_tubes=on_tubes,
        not_walked=left - unsure - on_tubes + total("unwalked") if not_walked is None else not_walked,
        in_rows=not_walked is None and campaign.where is not None and (not campaign.walked or total("unwalked") > 0),
        nodes={node.node: WORDS.get(node.state, node.state) for node in nodes},
    )


async def not_walked(store: Store, campaign: Campaign) -> int | None:
    """Count the audience among the rows that no page has, in slices; None: the audience has no conditions, so that each
    row counts.
    """
    if campaign.where is None or campaign.corrects is not None:
        return None
    found = 0
    for cursor in await store.campaign_cursors(campaign.id):
        if not cursor.ended:
            rows = await store.audience_in(campaign.id, cursor.after_id, cursor.end_id)
            found += sum(each.inside for each in rows.values())
    return found
