"""The store's verbs about the herd governor, and about duties that one node does for the ring, typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from storage.link import Link


class HerdState(NamedTuple):
    """What the ring knows of the newsroom's load."""

    governed: list[int]
    """The campaigns under way that the load governs."""
    posted: float | None = None
    """The load that the newsroom has posted last, 0 to 1; None: none."""
    posted_age: float = 0.0
    """Seconds since then."""
    share: float | None = None
    """The share of their rate that the governing node has found last; None: no node has governed yet."""
    text: str = ""
    """What it says, as JSON."""
    age: float = 0.0
    """Seconds since it has said it."""


class HerdStore:
    """The herd governor's part of the store."""

    def __init__(self, link: Link, where: str = "store") -> None:
        self._link = link
        self._where = where

    async def rates(self, node: str, waiting: Sequence[tuple[int, int]], now: int) -> list[tuple[int, float]]:
        """This node's part of each campaign's rate, people a second; negative: the campaign is over.

        ``waiting``: each campaign, and how many of its batches wait on this node.
        """
        (rates,) = await self._call("herd_rates", node, [list(each) for each in waiting], now)
        return [(campaign, float(rate)) for campaign, rate in rates]

    async def state(self) -> HerdState:
        """What is governed, and what is known of the load."""
        governed, posted, age, share, text, said = [*await self._call("herd_state"), *[None] * 6][:6]
        return HerdState(list(governed), posted, float(age or 0), share, str(text or ""), float(said or 0))

    async def steer(self, share: float, text: str) -> None:
        """Set the share of their rate that governed campaigns get for the next ten seconds."""
        await self._call("herd_steer", share, text)

    async def note_load(self, load: float) -> None:
        """Keep what the newsroom says of its load, 0 to 1."""
        await self._call("load_note", load)

    async def set_rate(self, campaign: int, rate: float) -> tuple[str, bool] | None:
        """Change a campaign's rate. Returns its state, and whether it has one; None: no such campaign."""
        state, *changed = await self._call("campaign_rate", campaign, rate)
        return None if state is None else (str(state), bool(changed and changed[0]))

    async def take_duty(self, duty: str, node: str) -> bool:
        """Whether this node does ``duty`` for the ring now; it stays so for ten seconds after each such call."""
        return bool((await self._call("duty_take", duty, node))[0])

    async def _call(self, verb: str, *arguments: Any) -> list[Any]:
        return list(await self._link.call(self._where, f"store.{verb}", *arguments))
