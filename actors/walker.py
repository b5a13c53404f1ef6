"""The walker: takes a baton, claims its page, passes the next baton on at once, and reads its own page."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType

import structlog
import trio

from actors.campaign_cache import CampaignCache
from actors.messages import FENCED_PAUSE, Page
from actors.poison import count_crash, is_outage
from campaigns import personal
from campaigns.batch import RECIPIENTS_A_BATCH
from campaigns.baton import Baton
from campaigns.campaign import Campaign
from campaigns.clock import Clock
from campaigns.lane import Lane
from campaigns.walk_figures import WalkFigures
from campaigns.where import AppVersions
from storage.errors import LinkLost, VerbRefused
from storage.records import TakenBaton
from storage.store import Store
from storage.tubes import Tubes

log = structlog.get_logger(__name__)


class Walker:
    """Walks one page at a time.

    ``ring``: the neighbours' tubes by name, the nearest first; the next baton goes there. ``channels``: the channels
    that this node serves. A page has subscribers of all channels, so a node that lacks one of a campaign's channels
    leaves the campaign to other nodes. ``versions``: channel → the versions of its app that count as new; the channel's
    recipients carry whether theirs does. ``keep``: the store is this node's queue, too, so a page's recipients stay in
    it. Other pages are read: if somebody of them is settled, their batches are cut smaller, or the news has expired.
    """

    def __init__(
        self,
        *,
        node: str,
        tubes: Tubes,
        ring: Mapping[str, Tubes],
        channels: Collection[str],
        store: Store,
        cache: CampaignCache,
        pages: trio.MemorySendChannel[Page],
        clock: Clock,
        versions: Mapping[str, AppVersions] = MappingProxyType({}),
        figures: WalkFigures | None = None,
        keep: bool = False,
    ) -> None:
        self._node = node
        self._tubes = tubes
        self._ring = ring
        self._channels = frozenset(channels)
        self._store = store
        self._cache = cache
        self._pages = pages
        self._clock = clock
        self._versions = versions
        self._figures = figures or WalkFigures()
        self._keep = keep
        self._stopping = False
        self._polling = trio.CancelScope()

    async def run(self, ready: Callable[[], None]) -> None:
        """Walk until stopped."""
        ready()
        async with self._pages:
            await self._tubes.baton_release_worker()
            while not self._stopping:
                taken = await self._take()
                if taken is not None:
                    await self._walk_or_bury(taken)

    def stop(self) -> None:
        """Take no more batons; the page in hand is finished."""
        self._stopping = True
        self._polling.cancel()

    async def _take(self) -> TakenBaton | None:
        # its own scope: a stop ends the long poll, and a baton that it was about to take is given back
        self._polling = trio.CancelScope()
        with self._polling:
            try:
                return await self._tubes.baton_take()
            except LinkLost:
                return None
        return None

    async def _walk_or_bury(self, taken: TakenBaton) -> None:
        """Walk a baton. A crash is counted against it, and does not stop the walker for other campaigns."""
        try:
            await self._walk(taken)
        except Exception as error:
            if is_outage(error) or isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError):
                raise  # an outage, or the batcher is gone: not the baton's fault
            log.exception("a baton cannot be walked", baton=taken.baton)
            await count_crash(partial(self._tubes.baton_crashed, taken), error, baton=taken.baton)

    async def _walk(self, taken: TakenBaton) -> None:
        baton, began = taken.baton, trio.current_time()
        campaign = await self._cache.get(baton.campaign)
        if campaign is not None and not self._serves(campaign):
            await self._hand_on(taken, campaign)
            return
        claim = await self._store.page_claim(self._node, taken.epoch, baton, self._clock())
        if claim.verdict == "fenced":
            await self._give_back(taken)
            await trio.sleep(FENCED_PAUSE)
            return
        if claim.next is not None:
            await self._pass_on(claim.next, Lane.MIDDLE if campaign is None else campaign.lane)
        if campaign is None or claim.verdict != "claimed":
            await self._drop(taken)
            return
        rows = await self._store.page_read(
            claim.from_id,
            claim.to_id,
            RECIPIENTS_A_BATCH,
            claim.position,
            campaign.id if campaign.planned or claim.only is not None else None,
            personal.fields(campaign.message),
            ended=claim.ended,
            versions=self._versions,
            only=claim.only,
            keep=self._keep
            and not claim.ended
            and claim.only is None
            and not campaign.batch
            and campaign.channels <= self._channels,
        )
        await self._pages.send(Page(taken, claim, campaign, *rows))
        skipped = sum(rows.skipped.values())
        taken_rows = sum(part.size for part in rows.parts)
        self._figures.walked(taken_rows + skipped, skipped, trio.current_time() - began)

    def _serves(self, campaign: Campaign) -> bool:
        """Whether this node may claim the campaign's pages. Once the news has expired any node may: nothing is sent."""
        return campaign.channels <= self._channels or campaign.expires_at <= self._clock()

    async def _hand_on(self, taken: TakenBaton, campaign: Campaign) -> None:
        """Give a baton to the nearest node that serves the campaign's channels, without a claim.

        If there is none, the baton ends here: the shepherds make it again every few seconds until there is one.
        """
        serving = await self._store.nodes_serving(sorted(campaign.channels))
        for name, peer in self._ring.items():
            if name in serving and await self._offer(peer, taken.baton, campaign.lane):
                break
        else:
            log.debug("no living node serves all channels of the campaign", baton=taken.baton)
        await self._drop(taken)

    async def _offer(self, peer: Tubes, baton: Baton, lane: Lane) -> bool:
        try:
            await peer.baton_offer([baton], lane)
        except (LinkLost, VerbRefused) as error:
            log.debug("a neighbour does not take the baton", error=str(error))
            return False
        return True

    async def _pass_on(self, baton: Baton, lane: Lane) -> None:
        """Put the baton on the tubes of the next peer that answers, or on our own."""
        for peer in self._ring.values():
            if await self._offer(peer, baton, lane):
                return
        await self._tubes.baton_put([baton], lane)

    async def _drop(self, taken: TakenBaton) -> None:
        try:
            await self._tubes.baton_ack(taken)
        except LinkLost:
            log.warning("baton not acked: it comes again and will be stale", baton=taken.baton)

    async def _give_back(self, taken: TakenBaton) -> None:
        try:
            await self._tubes.baton_release(taken)
        except LinkLost:
            log.warning("baton not given back: the queue does it when our session ends", baton=taken.baton)
