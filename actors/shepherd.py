"""The shepherd: looks for lost batons and makes them again. Harmless when early: an extra baton is stale."""

from __future__ import annotations

import structlog

from actors.campaign_cache import CampaignCache
from actors.periodic import Periodic
from campaigns.baton import Baton
from campaigns.clock import Clock
from campaigns.lane import Lane
from storage.errors import LinkLost, VerbRefused
from storage.store import Store
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

BATON_TIMEOUT = 5.0
"""Seconds that a cursor may stand still, or one of our pages lack its mark, before a baton is made for it."""
MARKS_AGE = 120.0
"""Seconds after a campaign's end until its marks are deleted: longer than any lease from before its end."""


class Shepherd(Periodic):
    """Looks round every ``timeout`` seconds."""

    def __init__(
        self,
        *,
        node: str,
        tubes: Tubes,
        store: Store,
        cache: CampaignCache,
        clock: Clock,
        timeout: float = BATON_TIMEOUT,
    ) -> None:
        super().__init__()
        self._cache = cache
        self._node = node
        self._tubes = tubes
        self._store = store
        self._clock = clock
        self._timeout = timeout

    async def look(self) -> float:
        """Look round once."""
        try:
            await self._release()
            await self._revive()
            await self._clean()
            await self._expire()
        except LinkLost as error:
            log.debug("the shepherd sees nothing", error=str(error))
        except VerbRefused as error:
            log.warning("the shepherd is refused a look", error=str(error))
        return self._timeout

    async def _release(self) -> None:
        """The second step of forgetting a node: its lease has run out, so others may walk its pages."""
        for name in await self._store.nodes_release():
            log.warning("a forgotten node's lease is over: its unsettled pages are walked by others", node=name)

    async def _revive(self) -> None:
        _, epoch, _ = await self._tubes.epoch()
        lost, own = await self._store.strays(self._node, epoch, self._clock(), int(self._timeout * 1000))
        lost += await self._unmarked(own)
        if lost:
            log.info("batons made again", batons=len(lost))
            for lane, batons in (await self._lanes(lost)).items():
                await self._tubes.baton_put(batons, lane)

    async def _lanes(self, batons: list[Baton]) -> dict[Lane, list[Baton]]:
        found: dict[Lane, list[Baton]] = {}
        for baton in batons:
            campaign = await self._cache.get(baton.campaign)
            if campaign is not None:
                found.setdefault(campaign.lane, []).append(baton)
        return found

    async def _unmarked(self, own: list[Baton]) -> list[Baton]:
        if not own:
            return []
        marked = await self._tubes.marked(own)
        return [baton for baton, done in zip(own, marked, strict=True) if not done]

    async def _expire(self) -> None:
        """End expired batches that nobody takes (buried, or of a stopped channel), so that their campaigns can end."""
        batches, recipients = await self._tubes.batches_expire(self._clock())
        if batches:
            log.warning("batches have expired on their tubes", batches=batches, recipients=recipients)

    async def _clean(self) -> None:
        await self._store.keys_expire(self._clock())
        campaigns = await self._tubes.marked_campaigns()
        if campaigns:
            for campaign in await self._store.campaigns_over(campaigns, self._clock(), int(MARKS_AGE * 1000)):
                await self._tubes.marks_drop(campaign)
