"""The store's verbs about stories, typed."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from storage.link import Link

StorySaved: TypeAlias = Literal["saved", "changed", "busy", "full", "missing"]
"""What became of a change. ``changed``: the story has another version by now; ``busy``: a channel is being made at the
same place for another story; ``full``: there are too many stories; ``missing``: there is none of this id."""


AT_ONCE = 50
"""Stories that are read at once: one whose channel is being made may have 600 KB."""


class StoryRow(NamedTuple):
    """A story. ``changed_at``: ms UTC."""

    id: int
    version: int
    live: bool
    """Whether something may still have to be done for it."""
    making: str
    """The place where a channel is being made for it; empty: nowhere."""
    text: str
    """All of it, as JSON."""
    changed_at: int


class StoryStore:
    """Stories in the store."""

    def __init__(self, link: Link, where: str = "store") -> None:
        self._link = link
        self._where = where

    async def save(
        self, id: int, version: int, text: str, now: int, *, live: bool, making: str = ""
    ) -> tuple[StorySaved, StoryRow | None]:
        """Write the story of this ``version`` (0: a new one); returns what became of it, and how it is now.

        A repeat of a call whose answer was lost changes nothing.
        """
        word, *rest = await self._call("story_save", id, version, live, making, text, now)
        return word, StoryRow(*rest[0]) if rest and rest[0] is not None else None

    async def get(self, id: int) -> StoryRow | None:
        """Return a story."""
        (row,) = await self._call("story_get", id)
        return None if row is None else StoryRow(*row)

    async def page(self, limit: int, before: tuple[int, int] | None = None) -> list[StoryRow]:
        """Return stories, the last changed first; ``before``: (time, id), only those behind it."""
        (rows,) = await self._call("story_list", limit, before)
        return [StoryRow(*row) for row in rows]

    async def live(self) -> list[StoryRow]:
        """Return all stories for which something may still have to be done."""
        found: list[StoryRow] = []
        while True:
            (rows,) = await self._call("story_live", AT_ONCE, found[-1].id if found else 0)
            found += [StoryRow(*row) for row in rows]
            if len(rows) < AT_ONCE:
                return found

    async def _call(self, verb: str, *arguments: Any) -> list[Any]:
        return list(await self._link.call(self._where, f"store.{verb}", *arguments))
