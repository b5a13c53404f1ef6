"""Looks after stories on one node: goes on where another task stopped, deletes what is left, counts channels."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
import trio

from actors.periodic import Periodic
from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.story_records import BroadcastPlace
from broadside.errors import BroadsideError
from broadside.newsroom.stories.story_desk import StoryDesk
from broadside.newsroom.stories.story_shelf import StoryShelf
from broadside.newsroom.stories.story_work import StoryWork
from campaigns.clock import Clock
from storage.errors import StorageError
from transports.broadcasts import Broadcasting
from transports.errors import TransportError

log = structlog.get_logger(__name__)

LOOK_EVERY = 5.0
COUNT_EVERY = 3600.0
"""Seconds between two counts of all channels of an app."""
NEARLY = 0.9
"""The share of the provider's limit from which on it is an alarm."""
SHOWN = 100


class StoryKeeper(Periodic):
    """Any node may do what is to be done: the store lets one."""

    def __init__(
        self,
        shelf: StoryShelf,
        work: StoryWork,
        desk: StoryDesk,
        transports: Mapping[str, Broadcasting],
        clock: Clock,
        *,
        every: float = LOOK_EVERY,
    ) -> None:
        super().__init__()
        self._shelf = shelf
        self._work = work
        self._desk = desk
        self._transports = transports
        self._clock = clock
        self._every = every
        self._counted = -COUNT_EVERY

    async def look(self) -> float:
        """Look once."""
        try:
            for kept in await self._shelf.live():
                if self._work.free(kept.story):
                    try:
                        await self._work.advance(kept.story.id)
                    except BroadsideError as error:
                        log.warning("a story is not looked after for now", story=kept.story.text, why=str(error))
            if trio.current_time() >= self._counted + COUNT_EVERY and await self._shelf.page(1, None):
                self._counted = trio.current_time()
                await self.count()
        except StorageError as error:
            log.debug("stories are not looked after for now", error=str(error))
        return self._every

    async def count(self) -> None:
        """Count the channels of each place that this node can ask (raises ``StorageError``)."""
        asked: set[str] = set()
        for transport in self._transports.values():
            try:
                apple = transport.broadcasts()
                if apple.place in asked:
                    continue
                asked.add(apple.place)
                there = set(await apple.channels())
            except TransportError as error:
                log.debug("broadcast channels are not counted for now", error=str(error))
                continue
            ours = there & await self._work.ours(apple.place)
            unknown = sorted(there - ours)
            self._desk.places[apple.place] = BroadcastPlace(
                place=apple.place,
                channels=len(there),
                limit=apple.limit,
                ours=len(ours),
                unknown=unknown[:SHOWN],
                at=self._clock(),
            )


def channel_alarms(places: Mapping[str, BroadcastPlace]) -> list[Alarm]:
    """The alarms about apps that have nearly all broadcast channels that their provider keeps."""
    found = []
    for each in places.values():
        if each.channels >= NEARLY * each.limit:
            full = each.channels >= each.limit
            text = f"{each.place} has {each.channels:,} broadcast channels, and Apple keeps {each.limit:,}"
            text += ": no story can be opened" if full else ""
            remedy = f"end stories that are over; {each.channels - each.ours:,} of them belong to no story: see "
            remedy += "`broadside story list --json`, and delete those that nobody uses in Apple's console"
            severity = Severity.CRITICAL if full else Severity.WARNING
            found.append(
                Alarm(name=AlarmName.BROADCAST_CHANNELS, severity=severity, text=text, remedy=remedy, about=each.place)
            )
    return found
