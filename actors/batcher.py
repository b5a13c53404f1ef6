"""The batcher: puts each part of a page on this node's tubes as a batch, all in one call."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

import structlog
import trio

from actors.messages import FULL_PAUSE, Page
from actors.poison import count_crash, is_outage
from campaigns.outcome import Outcome
from campaigns.recipient import pack_recipients, unpack_recipients
from campaigns.tally import ENQUEUED
from storage.errors import LinkLost
from storage.records import PagePart
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

_EXPIRED = Outcome.EXPIRED.value


class Split(NamedTuple):
    """A page, ready for the tubes."""

    parts: list[PagePart]
    """Each becomes a batch."""
    expires_at: int
    """Ms UTC after which nobody wants them."""
    recipients: int
    tallies: dict[str, dict[str, int]]
    """channel → word → count: recipients that are enqueued, and recipients that need no batch (expired)."""
    ended: list[int]
    """The ids of those that need no batch."""


def split(page: Page, channels: Collection[str]) -> Split:
    """Select the parts of a page that the campaign goes to, less the recipients that were settled before.

    ``channels``: the channels that this node serves. A walker claims pages of others only once the news has expired.
    """
    audience = page.campaign.channels
    parts: list[PagePart] = []
    tallies: dict[str, dict[str, int]] = {}
    recipients = 0
    ended: list[int] = []
    for part in page.parts:
        channel = part.channel
        if channel not in audience:
            continue
        if page.claim.ended:
            part = _left(part, page.claim.ended)
        if not part.size:
            continue
        recipients += part.size
        tally = tallies.setdefault(channel, {ENQUEUED: 0})
        tally[ENQUEUED] += part.size
        if channel in channels:
            parts.append(part)
        else:
            tally[_EXPIRED] = tally.get(_EXPIRED, 0) + part.size
            ended += (row.id for row in unpack_recipients(part.recipients))
    return Split(parts, page.campaign.expires_at, recipients, tallies, ended)


def _left(part: PagePart, ended: frozenset[int]) -> PagePart:
    """The part without the recipients that an earlier owner of the page has settled."""
    rows = [row for row in unpack_recipients(part.recipients) if row.id not in ended]
    return part._replace(size=len(rows), recipients=pack_recipients(rows))


class Batcher:
    """Puts pages on the tubes of ``channels``; the same call acks their batons.

    ``intake``: the sending end of ``pages``. Each walker has a clone; the batcher closes its own to stop.
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
                try:
                    await self._put(page)
                except Exception as error:  # a page that cannot be put does not stop the batcher for others
                    if is_outage(error):
                        raise
                    log.exception("a page cannot be put on the tubes", baton=page.taken.baton)
                    await count_crash(partial(self._tubes.baton_crashed, page.taken), error, baton=page.taken.baton)

    def stop(self) -> None:
        """Stop once the walkers have ended and every page in hand is on the tubes."""
        self._intake.close()

    async def _put(self, page: Page) -> None:
        page_split = split(page, self._channels)
        told = False
        while True:
            verdict = await self._tubes.page_put(page.taken, *page_split)
            if verdict != "full":
                break
            if not told:
                log.warning("the walk waits: the queue's memory is used up", baton=page.taken.baton)
                told = True
            await trio.sleep(FULL_PAUSE)
        if verdict == "fenced":
            # no lease for now, or a new epoch: the baton comes again, and then the store decides who owns the page
            log.warning("page not put: this queue has no lease for it", baton=page.taken.baton)
            try:
                await self._tubes.baton_release(page.taken)
            except LinkLost:
                log.warning("baton not given back: the queue does it when our session ends", baton=page.taken.baton)
