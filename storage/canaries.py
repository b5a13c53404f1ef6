"""The store's verbs about canaries, typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage.link import Link
from storage.records import Rest


class CanaryStore:
    """Canaries in the store."""

    def __init__(self, link: Link, where: str = "store") -> None:
        self._link = link
        self._where = where

    async def undecided(self) -> list[int]:
        """Return the campaigns whose rest is not decided yet."""
        (ids,) = await self._call("canaries_open")
        return list(ids)

    async def decide(self, id: int, rest: int, estimate: Mapping[str, int], *, reached: bool) -> Rest | None:
        """Decide about the rest of a campaign, unless that is done. None: there is no such campaign, or it has no rest.

        ``reached``: everybody of the share who may get it now has an outcome; ``rest``: an id for the campaign to the
        rest; ``estimate``: channel → about how many are in it.
        """
        state, *more = await self._call("canary_decide", id, reached, rest, dict(estimate))
        return None if state is None else Rest(state, *more)

    async def go(self, id: int, rest: int, estimate: Mapping[str, int]) -> Rest | None:
        """Let the rest have it, whatever has become of the share. Returns as `decide`."""
        state, *more = await self._call("canary_go", id, rest, dict(estimate))
        return None if state is None else Rest(state, *more)

    async def _call(self, verb: str, *arguments: Any) -> list[Any]:
        return list(await self._link.call(self._where, f"store.{verb}", *arguments))
