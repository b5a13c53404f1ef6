"""The store's verbs about drafts of campaigns, typed."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from storage.link import Link

OWNER = "draft"
"""Whom the idempotency keys belong to under which drafts are fired: no key of the API has this id."""

Saved: TypeAlias = Literal["saved", "changed", "fired", "full", "missing"]
"""What became of a change. ``changed``: the draft has another version by now; ``fired``: it is a campaign by now;
``full``: there are too many drafts; ``missing``: there is none of this id."""


class DraftRow(NamedTuple):
    """A draft. Times: ms UTC."""

    id: str
    version: int
    title: str
    request: str
    """The campaign as JSON; empty in lists."""
    created_at: int
    created_by: str
    """The name of a key."""
    changed_at: int
    changed_by: str


class DraftStore:
    """Drafts in the store."""

    def __init__(self, link: Link, where: str = "store") -> None:
        self._link = link
        self._where = where

    async def save(
        self, id: str, version: int, title: str, request: str, by: str, now: int
    ) -> tuple[Saved, DraftRow | None, int | None]:
        """Write the draft of this ``version`` (0: a new one); returns what became of it, how it is now, its campaign.

        A repeat of a call whose answer was lost changes nothing.
        """
        word, *rest = await self._call("draft_save", id, version, title, request, by, now)
        return word, DraftRow(*rest[0]) if rest else None, rest[1] if len(rest) > 1 else None

    async def get(self, id: str, now: int) -> tuple[DraftRow, int | None] | None:
        """Return a draft, and the campaign that it has become."""
        row, *campaign = await self._call("draft_get", id, now)
        return None if row is None else (DraftRow(*row), campaign[0] if campaign else None)

    async def page(self, limit: int, before: tuple[int, str] | None, now: int) -> list[DraftRow]:
        """Return drafts that were not fired, the last changed first; ``before``: (time, id), only those behind it."""
        (rows,) = await self._call("draft_list", limit, before, now)
        return [DraftRow(*row) for row in rows]

    async def delete(self, id: str) -> bool:
        """Delete a draft; returns whether it was there."""
        return bool((await self._call("draft_delete", id))[0])

    async def _call(self, verb: str, *arguments: Any) -> list[Any]:
        return list(await self._link.call(self._where, f"store.{verb}", *arguments))
