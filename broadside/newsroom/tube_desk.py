"""What may be asked of this node's tubes: how full they are, and what becomes of buried batches."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from broadside.api.node_status import TubeStatus
from broadside.api.operations import BuriedBatch, BuriedPage
from broadside.api.v1.cursors import number, page, read_cursor
from broadside.errors import Conflict, shown
from campaigns.identity import campaign_text
from storage.records import REFUSALS, TASK_FIELDS, Buried
from storage.tubes import Tubes


class TubeDesk:
    """One node's tubes. ``own``: the channels that it serves."""

    def __init__(self, tubes: Tubes, own: Collection[str]) -> None:
        self._tubes = tubes
        self._own = own

    async def status(self) -> TubeStatus:
        """Return the numbers of tasks by tube and state, of parked batches, and of reports in the outbox."""
        return msgspec.convert(await self._tubes.statistics(), TubeStatus)

    async def buried(self, channel: str, limit: int, cursor: str = "") -> BuriedPage:
        """Return buried batches of a channel; raises ``Conflict`` if there is none, ``RecordError`` for a cursor."""
        self._known(channel)
        after = read_cursor(cursor, lambda pri, id: (number(pri), number(id)))
        found = await self._tubes.tube_buried(channel, limit + 1, after)
        return BuriedPage(*page([_buried(each) for each in found], limit, lambda n: (found[n].pri, found[n].id)))

    async def kick(self, channel: str, count: int) -> int:
        """Put buried batches back on their tube; returns how many. Raises ``Conflict`` if there is no such channel."""
        self._known(channel)
        return await self._tubes.tube_kick(channel, count)

    async def end_buried(self, channel: str, limit: int) -> tuple[int, int]:
        """End buried batches; returns (batches, recipients). Raises ``Conflict`` if there is no such channel."""
        self._known(channel)
        return await self._tubes.tube_end(channel, limit)

    async def outbox_age(self) -> float:
        """For how many seconds this node's oldest report has waited for the store."""
        return await self._tubes.outbox_age()

    def _known(self, channel: str) -> None:
        if channel not in self._own:
            known = ", ".join(sorted(self._own))
            raise Conflict(f"no channel {shown(channel)} on this node", f"known: {known}", missing=True)


def _buried(batch: Buried) -> BuriedBatch:
    data, campaign, segment, seq, attempt = batch.data, None, None, None, None
    if isinstance(data, list) and len(data) == TASK_FIELDS - 1 and isinstance(data[1], int):
        campaign, segment, seq, attempt = campaign_text(data[1]), data[3], data[4], data[6] % REFUSALS
    return BuriedBatch(
        id=batch.id,
        campaign=campaign,
        segment=segment,
        page=seq,
        attempt=attempt,
        crashes=batch.crashes,
        maybe_sent=batch.maybe_sent,
        why=batch.why,
    )
