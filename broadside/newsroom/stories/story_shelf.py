"""Stories in the store: read, and changed by whoever knew the last version, as often as it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import trio

from broadside.errors import Conflict
from broadside.newsroom.stories.story_plan import Story
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.errors import LinkLost
from storage.stories import StoryRow, StoryStore

AGAIN_AFTER = 0.1
"""Seconds before a call whose answer was lost is repeated …"""
WITHIN = 10.0
"""… and for how long it is."""
_DECODER = msgspec.json.Decoder(Story)


class PlaceBusy(Exception):
    """A channel is being made at the same place for another story."""


class Kept(NamedTuple):
    """A story, with its version in the store."""

    story: Story
    version: int
    changed_at: int


class StoryShelf:
    """Reads and writes stories."""

    def __init__(self, store: StoryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def get(self, id: int) -> Kept:
        """Return a story (raises ``Conflict`` if there is none)."""
        row = await self._store.get(id)
        if row is None:
            what, remedy = f"no story {campaign_text(id)}", "`story list` shows the ids"
            raise Conflict(what, remedy, missing=True, field="story_id", value=campaign_text(id))
        return _kept(row)

    async def find(self, id: int) -> Kept | None:
        """Return a story, or None."""
        row = await self._store.get(id)
        return None if row is None else _kept(row)

    async def add(self, story: Story) -> Kept:
        """Write a new story, or return the one of its id (raises ``Conflict`` if there are too many)."""
        return await self._write(story, 0) or await self.get(story.id)

    async def change(self, id: int, change: Callable[[Story], Story]) -> Kept:
        """Write what ``change`` makes of the story as it is now. What it raises is raised.

        Raises ``PlaceBusy``, and ``StorageError`` while the store is away.
        """
        while True:
            kept = await self.get(id)
            changed = change(kept.story)
            if changed is kept.story:
                return kept
            if (written := await self._write(changed, kept.version)) is not None:
                return written

    async def live(self) -> list[Kept]:
        """Return the stories for which something may still have to be done."""
        return [_kept(row) for row in await self._store.live()]

    async def page(self, limit: int, before: tuple[int, int] | None) -> list[Kept]:
        """Return stories, the last changed first."""
        return [_kept(row) for row in await self._store.page(limit, before)]

    async def _write(self, story: Story, version: int) -> Kept | None:
        """Write; None: somebody else has changed it since. A lost answer is asked for again."""
        text, now = msgspec.json.encode(story).decode(), self._clock()
        give_up = trio.current_time() + WITHIN
        while True:
            try:
                word, row = await self._store.save(story.id, version, text, now, live=story.live, making=story.making)
                break
            except LinkLost:
                if trio.current_time() >= give_up:
                    raise
                await trio.sleep(AGAIN_AFTER)
        if word == "busy":
            raise PlaceBusy
        if word == "full":
            raise Conflict("there are 1,000 stories", "end those that are over; a story is forgotten after four weeks")
        return _kept(row) if word == "saved" and row is not None else None


def _kept(row: StoryRow) -> Kept:
    return Kept(_DECODER.decode(row.text), row.version, row.changed_at)
