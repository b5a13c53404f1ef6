"""The store's verbs about forecasts and live reach, typed."""

from __future__ import annotations

from typing import NamedTuple

from storage.link import Link


class ReachRow(NamedTuple):
    """How soon a node's pushes of a campaign were accepted, on one channel."""

    channel: str
    node: str
    counts: dict[int, int]
    """Class of time (``campaigns.reach``) → accepted pushes."""


class RateRow(NamedTuple):
    """How fast a node is with a campaign now, on one channel."""

    channel: str
    node: str
    rate: float
    """Pushes that have ended a second, over the last five."""


class WrittenExperience(NamedTuple):
    """What a node has learnt, as it wrote it."""

    node: str
    text: str
    at: int
    """Ms UTC."""


class ForecastStore:
    """Live reach of campaigns, and the nodes' experience."""

    def __init__(self, link: Link, where: str = "store") -> None:
        self._link = link
        self._where = where

    async def reach(self, campaign: int) -> tuple[list[ReachRow], list[RateRow]]:
        """How soon a campaign's pushes were accepted, and how fast it is now; a row for each node and channel."""
        rows, rates = await self._link.call(self._where, "store.campaign_reach", campaign)
        return (
            [ReachRow(channel, node, {int(n): count for n, count in counts.items()}) for channel, node, counts in rows],
            [RateRow(*row) for row in rates],
        )

    async def keep_experience(self, node: str, text: str, now: int) -> None:
        """Keep what a node has learnt. ``now``: ms UTC."""
        await self._link.call(self._where, "store.experience_keep", node, text, now)

    async def experience(self) -> list[WrittenExperience]:
        """What all nodes have learnt."""
        (rows,) = await self._link.call(self._where, "store.experience_all", deadline=2.0)
        return [WrittenExperience(*row) for row in rows]
