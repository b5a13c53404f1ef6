"""The batcher: splits a page by channel, and puts all its batches on this node's tubes in one call."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec
import structlog
import trio

from actors.messages import Page
from storage.errors import LinkLost
from storage.records import PutBatch, Target
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

RECIPIENTS_A_BATCH = 500
"""A task costs Tarantool 5.7 µs a recipient at 6 recipients and 0.3 at 500."""
FULL_PAUSE = 1.0
"""Seconds before the next try when the queue has no memory for a page: settlements free some."""

_ENCODER = msgspec.json.Encoder()


class Split(NamedTuple):
    """A page as it goes to the tubes."""

    batches: list[PutBatch]
    recipients: int
    tallies: dict[str, dict[str, int]]
    """channel → outcome → n: who was counted, and who needs no batch (``dropped``)."""


def split(page: Page, channels: Collection[str]) -> Split:
    """Group a page's rows by channel, ≤ 500 recipients a batch. Channels that this node does not serve are dropped."""
    groups: dict[str, list[Target]] = {}
    for row in page.rows:
        group = groups.get(row.channel)
        if group is None:
            group = groups[row.channel] = []
        group.append(row)
    audience = page.campaign.audience
    batches: list[PutBatch] = []
    tallies: dict[str, dict[str, int]] = {}
    recipients = 0
    for channel, group in groups.items():
        if audience is not None and channel not in audience:
            continue
        for span in page.claim.spans:
            if span.channel == channel:
                group = [row for row in group if not span.first <= row.id <= span.last or row.id in span.left]
        if not group:
            continue
        recipients += len(group)
        tallies[channel] = {"enqueued": len(group)}
        if channel not in channels:
            tallies[channel]["dropped"] = len(group)
            continue
        batches += [
            _batch(channel, group[start : start + RECIPIENTS_A_BATCH], page.campaign.expires_at)
            for start in range(0, len(group), RECIPIENTS_A_BATCH)
        ]
    return Split(batches, recipients, tallies)


def _batch(channel: str, rows: list[Target], expires_at: int) -> PutBatch:
    locales: dict[str, int] = {}
    recipients = [
        (row.id, row.token, row.kind, row.registered_at, locales.setdefault(row.locale, len(locales))) for row in rows
    ]
    return PutBatch(channel, 0.0, list(locales), _ENCODER.encode(recipients).decode(), expires_at)


class Batcher:
    """Puts pages on the tubes of ``channels``, which acks their batons.

    ``intake``: the walkers' end of ``pages``, of which each walker has a clone; the batcher closes it to end.
    """

    def __init__(
        self,
        *,
        tubes: Tubes,
        pages: trio.MemoryReceiveChannel[Page],
        intake: trio.MemorySendChannel[Page],
        channels: Collection[str],
    ) -> None:
        self._tubes = tubes
        self._pages = pages
        self._intake = intake
        self._channels = channels

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until the walkers have closed their end."""
        ready()
        async with self._pages:
            async for page in self._pages:
                await self._put(page)

    def stop(self) -> None:
        """End when the walkers have, with every page in hand on the tubes."""
        self._intake.close()

    async def _put(self, page: Page) -> None:
        batches, recipients, tallies = split(page, self._channels)
        told = False
        while True:
            verdict = await self._tubes.page_put(page.held, batches, recipients, tallies)
            if verdict != "full":
                break
            if not told:
                log.warning("the walk waits: the queue's memory is used up", baton=page.held.baton)
                told = True
            await trio.sleep(FULL_PAUSE)
        if verdict == "fenced":
            # no lease for now, or a new epoch: the baton comes again, and then the store says whose page this is
            log.warning("page not put: this queue has no lease for it", baton=page.held.baton)
            try:
                await self._tubes.baton_release(page.held)
            except LinkLost:
                log.warning("baton not given back: the queue does it when our session ends", baton=page.held.baton)
