"""The node's event feed: one reader of the store for all listeners, and none while nobody listens.

The feed keeps only the newest state of each campaign, of the channels and of the alarms, each with a number that rises
with every change. A listener remembers the last number that it was sent. So a slow listener skips to the newest state,
nothing waits for it, and whoever connects again gets what has changed since.

The task that reads also writes: the same bytes, joined once, straight to each client that takes them at once. Only a
client that does not is left to the listener's own task.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import msgspec
import trio

from broadside.api.campaign_report import CampaignLine
from broadside.api.event_records import PING_EVERY, AlarmsNow, ChannelsNow, EventName, written
from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.newsroom import LOOK_EVERY, Newsroom
from broadside.newsroom.ring import Ring
from campaigns.campaign import ENDED
from campaigns.identity import parse_campaign
from storage.errors import StorageError

NEWEST = 20
"""The newest campaigns, which every listener is sent."""
RING_EVERY = 1.0
"""Seconds between two reads of the channels' states and of the alarms."""
MOST = 300
"""Listeners at once: fewer than a door's connections, so that requests get through."""


@dataclass(frozen=True, slots=True)
class Event:
    """The newest state of one thing."""

    number: int
    campaign: str
    """The campaign's id; empty: it is about no campaign."""
    text: bytes
    """Written once, for all listeners."""
    shown: object
    """The state without what changes with the time alone."""


class Straight(Protocol):
    """A way to a client that does not wait."""

    @property
    def behind(self) -> bool:
        """Whether the rest of a text must be written by the listener's own task."""

    def put_now(self, part: bytes) -> bool:
        """Write a text as far as the client takes it; False: nothing of it."""


class Listener:
    """One client's place in the feed. ``straight``: a way to it that does not wait, if there is one."""

    def __init__(self, feed: EventFeed, campaign: str | None, seen: int, straight: Straight | None, ring: bool) -> None:
        self.ring = ring
        """Whether it is sent what runs in every node."""
        self._feed = feed
        self._campaign = campaign
        self._seen = seen
        self._straight = straight
        self._written = trio.current_time()
        self._waiting: trio.Event | None = None
        """What its own task waits for; None: that task writes, or looks for what is new."""

    async def next(self, most: int | None = None) -> list[Event]:
        """Wait until something is to be written that was not written straight to the client.

        Returns the newest states that were not returned yet, ``most`` at most. An empty list: a ping is due, after
        silence or to write the rest of what the client has not taken.
        """
        while True:
            found = self._feed.since(self._seen, self._campaign, self.ring)[:most]
            if found:
                self._seen = found[-1].number
            elif trio.current_time() < self._written + PING_EVERY and not self._behind:
                self._waiting = trio.Event()
                with trio.move_on_at(self._written + PING_EVERY):
                    await self._waiting.wait()
                self._waiting = None
                continue
            self._written = trio.current_time()
            return found

    def hear(self, texts: dict[tuple[int, str | None, bool], tuple[int, bytes]]) -> None:
        """Write what is new straight to the client, or wake its task. ``texts``: what other listeners were written."""
        if self._waiting is None or self._waiting.is_set():
            return  # its task looks for what is new by itself
        place = self._seen, self._campaign, self.ring
        if place not in texts:
            found = self._feed.since(*place)
            texts[place] = (found[-1].number if found else self._seen, b"".join(event.text for event in found))
        number, text = texts[place]
        if not text:
            return
        if self._straight is not None and self._straight.put_now(text):
            self._seen, self._written = number, trio.current_time()
            if not self._behind:
                return
        self._waiting.set()

    @property
    def _behind(self) -> bool:
        return self._straight is not None and self._straight.behind


class EventFeed:
    """Tells listeners what has changed.

    One of the listeners' tasks reads for all of them. When that listener leaves, the task of another one goes on.
    """

    def __init__(self, newsroom: Newsroom, board: AlarmBoard, ring: Ring) -> None:
        self._newsroom = newsroom
        self._board = board
        self._ring = ring
        self._life = secrets.token_hex(4)
        self._number = self._woken = 0
        self._events: dict[tuple[EventName, str], Event] = {}
        self._asked: Counter[str] = Counter()
        self._reading = trio.Lock()
        self._listeners: set[Listener] = set()

    @asynccontextmanager
    async def listener(
        self, campaign: str | None = None, last: str = "", straight: Straight | None = None, ring: bool = False
    ) -> AsyncIterator[Listener]:
        """Listen to one campaign or to all, to channels and alarms, and if ``ring`` to what runs in every node.

        ``last``: the id of the last event that the client has got; ``straight``: as of `Listener`.
        """
        life, _, number = last.partition("-")
        seen = int(number) if life == self._life and number.isdecimal() and len(number) < 20 else 0
        listener = Listener(self, campaign, seen, straight, ring)
        self._listeners.add(listener)
        if campaign is not None:
            self._asked[campaign] += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                yield listener
                nursery.cancel_scope.cancel()
        finally:
            self._listeners.discard(listener)
            if not self._ring_wanted:
                self._events.pop((EventName.RING, ""), None)  # from here on it would be out of date
            if campaign is not None:
                self._asked[campaign] -= 1
                self._asked += Counter()  # leaves out what nobody asks for
            if not self._listeners:
                self._events.clear()  # from here on they would be out of date

    def since(self, number: int, campaign: str | None, ring: bool = False) -> list[Event]:
        """The newest states that came after ``number``, in their order."""
        found = [
            event
            for (name, _), event in self._events.items()
            if event.number > number
            and (campaign is None or event.campaign in ("", campaign))
            and (ring or name is not EventName.RING)
        ]
        return sorted(found, key=lambda event: event.number)

    @property
    def _ring_wanted(self) -> bool:
        return any(listener.ring for listener in self._listeners)

    @property
    def full(self) -> bool:
        """Whether too many clients listen already."""
        return len(self._listeners) >= MOST

    async def _read(self) -> None:
        async with self._reading, trio.open_nursery() as nursery:
            nursery.start_soon(self._again_and_again, self._look_at_campaigns, LOOK_EVERY)
            nursery.start_soon(self._again_and_again, self._look_at_ring, RING_EVERY)

    async def _again_and_again(self, look: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            with contextlib.suppress(StorageError):  # an alarm says it
                await look()
            if self._number != self._woken:
                self._woken = self._number
                texts: dict[tuple[int, str | None, bool], tuple[int, bytes]] = {}
                for listener in self._listeners:
                    listener.hear(texts)
            await trio.sleep(every)

    async def _look_at_campaigns(self) -> None:
        lines = (await self._newsroom.campaigns(NEWEST)).items
        lines = lines + await self._others({line.id for line in lines})
        told = {line.id for line in lines} | self._asked.keys()
        for key in [key for key in self._events if key[1] and key[1] not in told]:
            del self._events[key]
        for line in reversed(lines):  # the oldest first, as they would have come
            self._tell(
                EventName.CAMPAIGN,
                line.id,
                line,
                msgspec.structs.replace(line, seconds=None, rate=0.0, rate_now=0.0, left=None),
            )

    async def _others(self, listed: Collection[str]) -> list[CampaignLine]:
        """Campaigns older than the newest that somebody listens to. One that has ended is read once."""
        lines = []
        for id in [id for id in self._asked if id not in listed]:
            known = self._events.get((EventName.CAMPAIGN, id))
            if known is not None and isinstance(known.shown, CampaignLine) and known.shown.state in ENDED:
                continue
            if (found := await self._newsroom.campaign(parse_campaign(id))) is not None:
                lines.append(CampaignLine.of(found))
        return lines

    async def _look_at_ring(self) -> None:
        seen = await self._board.look()
        alarms, channels = AlarmsNow(seen.alarms), ChannelsNow(seen.channels)
        self._tell(EventName.ALARMS, "", alarms, alarms)
        if seen.reached or seen.channels:
            self._tell(EventName.CHANNELS, "", channels, channels)
        if self._ring_wanted:
            state = await self._ring.state()
            self._tell(EventName.RING, "", state, state.steady())

    def _tell(self, name: EventName, campaign: str, state: msgspec.Struct, shown: object) -> None:
        """Keep a state as the newest, if it differs from the last one by more than the time."""
        known = self._events.get((name, campaign))
        if known is None or known.shown != shown:
            self._number += 1
            text = written(name, f"{self._life}-{self._number}", state)
            self._events[name, campaign] = Event(self._number, campaign, text, shown)
