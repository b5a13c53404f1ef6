"""A story as the store keeps it, and what is to be done for it next: pure data, no I/O.

Everything that is done for a story may be done twice without harm, so after a crash it is only done again: a channel is
looked for before another is made, a broadcast is repeated with the same timestamp, a campaign is fired under the same
idempotency key, a channel that is gone is deleted.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from broadside.api.audience_request import AudienceRequest
from broadside.api.story_records import CardWords, StoryCard, StoryChange, StoryReport, StoryUpdate, UpdateWords
from campaigns.identity import campaign_text
from transports.broadcasts import CardState

CAMPAIGN = ""
"""The part of a story that is no card."""
KEPT_UPDATES = 20
STORED_FOR = 8 * 3600
"""Seconds for which Apple keeps the last update of a channel."""
LINGER = {True: STORED_FOR * 1000, False: 600_000}
"""Stored or not → ms after its end for which a story's channels stay, so that its last update can still arrive."""


class Card(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A broadcast channel of a story."""

    channel: str
    place: str
    broadcast: str = ""
    before: list[str] | None = None
    """The channels that there were just before one was asked for: a channel whose answer was lost is not among them.
    None: none was asked for, or its id is known."""
    error: str = ""
    deleted: bool = False

    @property
    def words(self) -> CardWords:
        """Its state."""
        if self.deleted:
            return "deleted"
        return "ready" if self.broadcast else "failed" if self.error else "making"


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One update. ``by``: owner, name, and whether the key may approve; ``key``: a digest of the idempotency key."""

    number: int
    event: Literal["update", "end"]
    timestamp: int
    at: int
    by: tuple[str, str, bool]
    change: StoryChange
    key: str = ""
    sent: dict[str, str] = {}
    """Channel of a card → why it was refused; empty: sent."""
    campaign: int | None = None
    refused: str = ""
    """Why there is no campaign."""
    fallen: bool = False
    """The campaign was fired or refused, or there is none to fire."""
    over: bool = False
    """Its campaign has ended, so that none of its pushes comes any more."""
    superseded: bool = False

    def is_sent(self, cards: list[Card]) -> bool:
        """Whether each card has it, or cannot."""
        return all(each.channel in self.sent or not each.broadcast or each.deleted for each in cards)

    def words(self, cards: list[Card]) -> UpdateWords:
        """Its state."""
        if self.fallen and self.is_sent(cards):
            return "refused" if self.refused or any(self.sent.values()) else "sent"
        return "superseded" if self.superseded else "sending"


class Wait(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a part of a story cannot be done now. ``again_at``: ms UTC."""

    why: str
    again_at: int
    tries: int = 1


class Story(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of a story. Times: ms UTC."""

    id: int
    title: str
    kind: str | None = None
    audience: AudienceRequest | None = None
    fallback: list[str] = []
    cards: list[Card] = []
    stored: bool = True
    steps: list[Step] = []
    """Oldest first."""
    request: str = ""
    """A digest of the request that opened it."""
    created_at: int
    created_by: str
    ended_at: int | None = None
    holder: str = ""
    """Who is doing what is to be done: node, life and task, with slashes between them …"""
    until: int = 0
    """… until this time at most."""
    waits: dict[str, Wait] = {}
    """Channel of a card, or ``CAMPAIGN`` → why it has to wait. One part never waits for another."""

    @property
    def text(self) -> str:
        """Its id for people, and for the pushes' place on the screen."""
        return campaign_text(self.id)

    @property
    def newest(self) -> Step:
        """The last update."""
        return self.steps[-1]

    @property
    def live(self) -> bool:
        """Whether something may still have to be done for it."""
        if self.ended_at is None:
            return True
        return not (self.newest.fallen and all(each.deleted or each.error for each in self.cards))

    @property
    def making(self) -> str:
        """The place where a channel is being made for it."""
        return next((each.place for each in self.cards if each.before is not None), "")


class Act(NamedTuple):
    """What is to be done next. ``part``: a card's channel, or ``CAMPAIGN``; ``card``: its index."""

    what: Literal["make", "send", "fall", "delete"]
    part: str = CAMPAIGN
    card: int = -1


def next_act(story: Story, now: int) -> Act | None:
    """What is to be done for a story next; None: nothing, for now."""
    step, over = story.newest, story.ended_at is not None and now >= story.ended_at + LINGER[story.stored]
    for number, card in enumerate(story.cards):
        if is_waiting(story, card.channel, now):
            continue
        unmade = not (card.broadcast or card.error or card.deleted)
        if unmade and (story.ended_at is None or card.before is not None):
            return Act("make", card.channel, number)
        if card.broadcast and not card.deleted and card.channel not in step.sent:
            return Act("send", card.channel, number)
        if over and not card.deleted and not card.error:
            return Act("delete", card.channel, number)
    return None if step.fallen or is_waiting(story, CAMPAIGN, now) else Act("fall")


def is_waiting(story: Story, part: str, now: int) -> bool:
    """Whether a part may not be tried again yet."""
    return part in story.waits and now < story.waits[part].again_at


def without_wait(story: Story, part: str) -> Story:
    """The story, a part of which waits for nothing any more."""
    waits = {name: wait for name, wait in story.waits.items() if name != part}
    return msgspec.structs.replace(story, waits=waits)


def with_card(story: Story, number: int, **changes: object) -> Story:
    """The story with a changed card."""
    cards = list(story.cards)
    cards[number] = msgspec.structs.replace(cards[number], **changes)
    return msgspec.structs.replace(story, cards=cards)


def with_step(story: Story, number: int, **changes: object) -> Story:
    """The story with a changed update; one that is not kept any more changes nothing."""
    steps = [msgspec.structs.replace(each, **changes) if each.number == number else each for each in story.steps]
    return msgspec.structs.replace(story, steps=steps)


def with_update(
    story: Story,
    event: Literal["update", "end"],
    change: StoryChange,
    now: int,
    by: tuple[str, str, bool],
    key: str,
) -> Story:
    """The story with one more update, which comes after all others, on phones too: its timestamp is the highest."""
    last = story.steps[-1] if story.steps else None
    stamp = max(now // 1000, 0 if last is None else last.timestamp + 1)
    number = 1 if last is None else last.number + 1
    step = Step(number=number, event=event, timestamp=stamp, at=now, by=by, change=change, key=key)
    step = msgspec.structs.replace(step, fallen=not story.fallback)
    earlier = [
        each if each.words(story.cards) in ("sent", "refused") else msgspec.structs.replace(each, superseded=True)
        for each in story.steps[-KEPT_UPDATES + 1 :]
    ]
    ended = now if event == "end" else story.ended_at
    return msgspec.structs.replace(story, steps=[*earlier, step], ended_at=ended, waits={})


def card_state(step: Step) -> CardState:
    """What a card shows after an update."""
    change = step.change
    stale, dismiss = change.stale_seconds, change.dismiss_seconds
    return CardState(
        event=step.event,
        timestamp=step.timestamp,
        state=change.state,
        alert=change.message if change.loud else None,
        stale_at=None if stale is None else step.timestamp + stale,
        dismiss_at=None if dismiss is None or step.event != "end" else step.timestamp + dismiss,
    )


def report(story: Story, changed_at: int) -> StoryReport:
    """The story as the API says it."""
    done = not any(each.words == "making" for each in story.cards)
    state = "open" if done else "opening"
    if story.ended_at is not None:
        state = "ending" if story.live else "ended"
    cards = [
        StoryCard(channel=each.channel, place=each.place, broadcast=each.broadcast, state=each.words, error=each.error)
        for each in story.cards
    ]
    updates = [
        StoryUpdate(
            number=each.number,
            event=each.event,
            at=each.at,
            by=each.by[1],
            timestamp=each.timestamp,
            state=each.words(story.cards),
            errors={
                **{name: why for name, why in each.sent.items() if why},
                **({", ".join(story.fallback): each.refused} if each.refused else {}),
            },
            campaign=None if each.campaign is None else campaign_text(each.campaign),
            change=each.change,
        )
        for each in reversed(story.steps)
    ]
    return StoryReport(
        id=story.text,
        title=story.title,
        state=state,  # type: ignore[arg-type]
        cards=cards,
        fallback=story.fallback,
        stored=story.stored,
        updates=updates,
        created_at=story.created_at,
        created_by=story.created_by,
        changed_at=changed_at,
        waiting="; ".join(dict.fromkeys(wait.why for wait in story.waits.values())),
    )
