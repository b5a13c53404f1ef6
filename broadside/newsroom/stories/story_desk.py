"""Stories: what an editor may ask for. Opens, updates and ends them, once however often the same is asked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Literal

import msgspec
import trio

from broadside.api.campaign_report import FireRequest
from broadside.api.idempotency import HEADER
from broadside.api.story_records import BroadcastPlace, StoryChange, StoryPage, StoryReport, StoryRequest
from broadside.api.v1.cursors import number, page, read_cursor
from broadside.errors import Conflict, Problem, RecordError
from broadside.newsroom.guards.approvals import Asker
from broadside.newsroom.stories.story_plan import Card, Step, Story, card_state, report, with_update
from broadside.newsroom.stories.story_shelf import Kept, StoryShelf
from broadside.newsroom.stories.story_work import StoryWork
from campaigns.clock import Clock
from campaigns.identity import campaign_text, parse_campaign
from campaigns.message import Message
from transports.broadcasts import Broadcasting
from transports.errors import CredentialsError, PayloadError

ANSWERED_WITHIN = 12.0
"""Seconds for which a request waits until its update is sent. Then it says that it is being sent: nodes go on."""
LOOK_EVERY = 0.2
_FAR = 4_000_000_000  # seconds UTC: as long as any timestamp

Check = Callable[[Message, Collection[str]], None]
"""Raises ``RecordError`` if one of these channels cannot carry a message."""
Channels = Callable[[FireRequest], list[str]]
"""Returns the channels of a request (raises ``RecordError`` for unknown ones)."""
Kinds = Callable[[FireRequest], object]
"""Raises ``RecordError`` for an unknown kind."""


class StoryDesk:
    """One node's stories. ``transports``: channel → its transport, of those with broadcast channels."""

    def __init__(
        self,
        shelf: StoryShelf,
        work: StoryWork,
        transports: Mapping[str, Broadcasting],
        *,
        check: Check,
        channels: Channels,
        kind: Kinds,
        clock: Clock,
    ) -> None:
        self._shelf = shelf
        self._work = work
        self._transports = transports
        self._check = check
        self._channels = channels
        self._kind = kind
        self._clock = clock
        self.places: dict[str, BroadcastPlace] = {}
        """What the keeper has counted."""

    async def open(self, request: StoryRequest, by: Asker, key: str | None) -> StoryReport:
        """Open a story. Raises ``RecordError`` for what cannot be shown, ``Conflict`` if there are too many."""
        if request.audience and request.audience.channels is not None:
            raise RecordError(Problem("audience.channels", "has no use here", "name the story's own channels"))
        asked = _digest(request)
        id = secrets.randbits(63) or 1 if key is None else _number(f"{by.owner}\n{key}")
        kept = await self._shelf.find(id)
        if kept is None:
            wanted = FireRequest(message=request.change.message, channels=request.channels, kind=request.kind)
            self._kind(wanted)
            names = self._channels(wanted)
            cards = self._cards([name for name in names if name in self._transports])
            now = self._clock()
            plain = Story(
                id=id,
                title=request.title,
                kind=request.kind,
                audience=request.audience or None,
                fallback=[name for name in names if name not in self._transports],
                cards=cards,
                stored=request.stored,
                request=asked,
                created_at=now,
                created_by=by.name,
            )
            story = with_update(plain, "update", request.change, now, by, "")
            self._check_change(story, story.newest, "change.")
            kept = await self._shelf.add(story)
        if kept.story.request != asked:
            raise RecordError(
                Problem(HEADER, f"was used for story {kept.story.text}, with another request", "use a new key")
            )
        return await self._carried_out(id, 1)

    async def update(
        self, id: int, event: Literal["update", "end"], change: StoryChange, by: Asker, key: str | None
    ) -> StoryReport:
        """Update or end a story. Raises ``RecordError``, and ``Conflict`` if it has ended."""
        token = "" if key is None else hashlib.sha256(f"{by.owner}\n{key}".encode()).hexdigest()[:24]
        before = (await self._shelf.get(id)).story
        if before.ended_at is None:
            self._check_change(before, None, "", event, change)

        def add(story: Story) -> Story:
            if (same := _keyed(story, token)) is not None:
                if (same.event, same.change) != (event, change):
                    raise RecordError(Problem(HEADER, "was used for another update of this story", "use a new key"))
                return story
            if story.ended_at is not None:
                raise Conflict(f"story {story.text} has ended", "open another one")
            return with_update(story, event, change, self._clock(), by, token)

        story = (await self._shelf.change(id, add)).story
        return await self._carried_out(id, (_keyed(story, token) or story.newest).number)

    async def show(self, id: int) -> StoryReport:
        """Return a story (raises ``Conflict`` if there is none)."""
        return _report(await self._shelf.get(id))

    async def page(self, limit: int, cursor: str) -> StoryPage:
        """Return stories, the last changed first."""
        before = read_cursor(cursor, lambda at, id: (number(at), number(id)))
        found = await self._shelf.page(limit + 1, before)
        items, next = page(found, limit, lambda n: (found[n].changed_at, found[n].story.id))
        return StoryPage([_report(each) for each in items], sorted(self.places.values(), key=_place), next)

    async def request_of(self, id: int, change: StoryChange) -> FireRequest:
        """What a key's limits are held against, of an update."""
        story = (await self._shelf.get(id)).story
        channels = [*(card.channel for card in story.cards), *story.fallback]
        return FireRequest(
            message=change.message, channels=channels, kind=story.kind, audience=story.audience or msgspec.UNSET
        )

    def _cards(self, names: list[str]) -> list[Card]:
        cards: dict[str, Card] = {}
        for name in sorted(names):
            try:
                place = self._transports[name].broadcasts().place
            except CredentialsError as error:
                what = f"{name} has no cards: {error}"
                raise RecordError(Problem("channels", what, "or name the other channels", name)) from None
            cards.setdefault(place, Card(channel=name, place=place))
        return list(cards.values())

    def _check_change(
        self,
        story: Story,
        step: Step | None,
        where: str,
        event: Literal["update", "end"] = "update",
        change: StoryChange | None = None,
    ) -> None:
        """Raise ``RecordError`` for a change that a card or a channel cannot show."""
        if step is None:
            assert change is not None
            step = Step(number=1, event=event, timestamp=_FAR, at=0, by=("", "", False), change=change)
        change = step.change
        if change.dismiss_seconds is not None and step.event != "end":
            raise RecordError(Problem(f"{where}dismiss_seconds", "is only for the end of a story", "leave it out"))
        for card in story.cards:
            if card.channel not in self._transports:
                what = f"this node does not serve {card.channel}, by which the story's card is sent"
                raise Conflict(what, "ask a node that does (`broadside status` there)")
            if not change.state and step.event != "end":
                what = "is empty, and the iPhone app draws the card from it"
                raise RecordError(Problem(f"{where}state", what, "write the fields of the app's ContentState"))
            try:
                self._transports[card.channel].broadcasts().body(card_state(step))
            except PayloadError as error:
                raise RecordError(Problem(f"{where}state", str(error), "shorten state or message")) from None
            except CredentialsError as error:
                raise RecordError(Problem("channels", f"{card.channel}: {error}")) from None
        if story.fallback:
            self._check(change.message, story.fallback)

    async def _carried_out(self, id: int, wanted: int) -> StoryReport:
        """Wait until an update is sent, refused or superseded, but not for long; return the story."""
        give_up = trio.current_time() + ANSWERED_WITHIN
        while True:
            kept = await self._shelf.get(id)
            step = next((each for each in kept.story.steps if each.number == wanted), None)
            over = step is None or step.words(kept.story.cards) != "sending"
            made = all(card.words != "making" for card in kept.story.cards)
            if (over and made) or trio.current_time() >= give_up:
                return _report(kept)
            if self._work.free(kept.story):
                await self._work.advance(id)
            else:
                await trio.sleep(LOOK_EVERY)


def _report(kept: Kept) -> StoryReport:
    return report(kept.story, kept.changed_at)


def _keyed(story: Story, token: str) -> Step | None:
    return next((each for each in story.steps if token and each.key == token), None)


def _digest(request: StoryRequest) -> str:
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()[:24]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1 or 1


def _place(place: BroadcastPlace) -> str:
    return place.place


def parse_story(text: str) -> int:
    """Read a story's id as people write it (raises ``RecordError``)."""
    try:
        return parse_campaign(text)
    except ValueError:
        what = f'"{text[:40]}" is not a story\'s id'
        raise RecordError(
            Problem("story_id", what, f"13 letters and digits, as in {campaign_text(7)}", text[:40])
        ) from None
