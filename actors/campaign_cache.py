"""The campaign cache: a worker keeps the campaigns that it works on in memory."""

from __future__ import annotations

from typing import Protocol

import trio

from campaigns.campaign import Campaign
from storage.errors import LinkLost

REMEMBERED = 64
"""Campaigns kept; a worker rarely has more than a few in hand."""


class Campaigns(Protocol):
    """Where campaigns come from: the store."""

    async def campaign_timed(self, id: int) -> Campaign | None:
        """One campaign with its window classes, or None."""


class CampaignCache:
    """Returns campaigns with their window classes. After Fire only the texts change: each version is read once."""

    def __init__(self, store: Campaigns) -> None:
        self._store = store
        self._known: dict[int, Campaign] = {}

    async def get(self, id: int, texts: int = 0) -> Campaign | None:
        """The campaign, or None when the store knows no such id. Waits while the store is out of reach.

        ``texts``: the least version of its texts.
        """
        known = self._known.get(id)
        if known is not None and known.texts >= texts:
            await trio.lowlevel.checkpoint()
            return known
        while True:
            try:
                campaign = await self._store.campaign_timed(id)
                break
            except LinkLost:
                continue  # the link waits for its connection itself
        if campaign is not None:
            while len(self._known) >= REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[id] = campaign
        return campaign
