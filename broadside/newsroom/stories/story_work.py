"""Does what is to be done for a story: channels, broadcasts, campaigns. One task at a time, of the whole ring.

Each act is written down when it is done, and the next one begins with the story as it is then: so an update that comes
in between is sent next, and never overtaken by a repeat of an earlier one. Whoever does it holds the story for a
limited time, longer than any request takes; after a crash another node goes on once that is over, and the same node as
soon as it is there again: what it did before died with its process.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec
import structlog
import trio

from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.errors import Conflict, FireFailed, RecordError
from broadside.newsroom.guards.approvals import Asker
from broadside.newsroom.stories.story_plan import (
    CAMPAIGN,
    STORED_FOR,
    Card,
    Step,
    Story,
    Wait,
    card_state,
    next_act,
    with_card,
    with_step,
    without_wait,
)
from broadside.newsroom.stories.story_shelf import Kept, PlaceBusy, StoryShelf
from campaigns.clock import Clock
from campaigns.identity import campaign_text, parse_campaign
from storage.store import Store
from transports.broadcasts import Broadcasting, BroadcastLater, BroadcastRefused, Broadcasts
from transports.errors import ConnectionLost, CredentialsError

log = structlog.get_logger(__name__)

HOLD = 45_000
"""Ms for which a story is held, from the last act: a broadcast is given up after 10 s, a Fire after 15."""
LIFE = secrets.token_hex(4)
"""This process, among all that had its node's name. A reload makes a new desk in it, beside work that is under way."""
LONGEST_WAIT = 60.0
OWNER = "story"
"""The owner of the idempotency keys of stories' campaigns: no key of the API has this id."""
STOPPED_WITHIN = 5.0
"""Seconds in which the campaign of the update before is to have stopped, before another try."""

Fire = Callable[..., Awaitable[CampaignReport]]
Cancel = Callable[[int], Awaitable[CampaignReport]]


class _PutOff(Exception):
    """The act has to be tried again. ``after``: seconds; None: after twice the time of the last try."""

    def __init__(self, why: str, after: float | None = None) -> None:
        self.why, self.after = why, after
        super().__init__(why)


class _Lost(Exception):
    """Somebody else holds the story now."""


class StoryWork:
    """``node``: this node's name, which no other process has; ``transports``: channel → this node's transport, of those
    with broadcast channels; ``life``: of the process.
    """

    def __init__(
        self,
        node: str,
        store: Store,
        shelf: StoryShelf,
        transports: Mapping[str, Broadcasting],
        fire: Fire,
        cancel: Cancel,
        clock: Clock,
        *,
        life: str = LIFE,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._transports = transports
        self._fire = fire
        self._cancel = cancel
        self._clock = clock
        self._node = node
        self._life = life

    def serves(self, story: Story) -> bool:
        """Whether this node has all that the story's cards need."""
        return all(card.channel in self._transports for card in story.cards)

    def free(self, story: Story) -> bool:
        """Whether there is something to do, and nobody does it."""
        now = self._clock()
        held = story.holder and now < story.until and not self._died(story.holder)
        return not held and next_act(story, now) is not None and self.serves(story)

    def _died(self, holder: str) -> bool:
        """Whether whoever holds a story was an earlier process of this node."""
        node, _, life = holder.rpartition("/")[0].rpartition("/")
        return node == self._node and life != self._life

    async def advance(self, id: int) -> Kept:
        """Do what is to be done for a story until there is nothing, or something has to wait; return how it is then.

        If somebody else does it already, nothing is done. Raises ``StorageError`` and ``Conflict``.
        """
        holder = f"{self._node}/{self._life}/{secrets.token_hex(4)}"

        def take(story: Story) -> Story:
            if not self.free(story):
                return story
            return msgspec.structs.replace(story, holder=holder, until=self._clock() + HOLD)

        kept = await self._shelf.change(id, take)
        try:
            while kept.story.holder == holder and (act := next_act(kept.story, self._clock())) is not None:
                story = kept.story
                try:
                    match act.what:
                        case "make":
                            kept = await self._make(story, act.card, holder)
                        case "send":
                            kept = await self._send(story, act.card, holder)
                        case "fall":
                            kept = await self._fall(story, story.newest, holder)
                        case "delete":
                            kept = await self._delete(story, act.card, holder)
                except _PutOff as wait:
                    kept = await self._put_off(id, holder, act.part, wait)
                except (BroadcastLater, ConnectionLost) as error:
                    later = _PutOff(str(error), getattr(error, "after", None))
                    kept = await self._put_off(id, holder, act.part, later)
            return await self._held(id, holder, lambda story: msgspec.structs.replace(story, holder="", until=0))
        except _Lost:
            return await self._shelf.get(id)

    async def _held(self, id: int, holder: str, change: Callable[[Story], Story]) -> Kept:
        """Write a change, if the story is still held (else raises ``_Lost``)."""

        def held(story: Story) -> Story:
            if story.holder != holder:
                raise _Lost
            kept = msgspec.structs.replace(story, until=self._clock() + HOLD)
            return change(kept)

        return await self._shelf.change(id, held)

    async def _did(self, id: int, holder: str, part: str, change: Callable[[Story], Story]) -> Kept:
        """Write what an act has changed: its part waits for nothing."""
        return await self._held(id, holder, lambda story: without_wait(change(story), part))

    async def _put_off(self, id: int, holder: str, part: str, put_off: _PutOff) -> Kept:
        log.warning("a story waits", story=campaign_text(id), channel=part, why=put_off.why)

        def waits(story: Story) -> Story:
            tries = min(story.waits[part].tries + 1 if part in story.waits else 1, 10)
            after = min(LONGEST_WAIT, 2.0 ** (tries - 1) if put_off.after is None else put_off.after)
            wait = Wait(why=put_off.why[:300], again_at=self._clock() + round(after * 1000), tries=tries)
            return msgspec.structs.replace(story, waits={**story.waits, part: wait})

        return await self._held(id, holder, waits)

    def _broadcasts(self, card: Card) -> Broadcasts:
        try:
            return self._transports[card.channel].broadcasts()
        except (KeyError, CredentialsError) as error:  # the node was configured anew
            why = f"this node has no channel {card.channel} that can broadcast: {error}"
            raise _PutOff(why, LONGEST_WAIT) from None

    # -- channels --------------------------------------------------------------------------------------------------

    async def _make(self, story: Story, number: int, holder: str) -> Kept:
        """Find the channel that was asked for before, or make one.

        The list of all channels is written down before one is asked for. If the answer is lost, or the node dies before
        the id is written down, the channel is the one that is new in the list. Where several are, nobody knows which
        one it is: they are left alone, and another is made.
        """
        card = story.cards[number]
        apple = self._broadcasts(card)
        done = partial(self._did, story.id, holder, card.channel)
        try:
            there = await apple.channels()
            if card.before is not None:
                found = await self._unclaimed(card.place, set(there) - set(card.before))
                if len(found) == 1:
                    return await done(lambda now: with_card(now, number, broadcast=found[0], before=None))
                if found:
                    log.warning("channels of lost answers cannot be told from others", place=card.place, ids=found)
            if story.ended_at is not None:
                return await done(lambda now: with_card(now, number, deleted=True, before=None))
            if len(there) >= apple.limit:
                raise BroadcastRefused(f"{card.place} has {len(there):,} channels, and Apple keeps {apple.limit:,}")
            try:
                await self._held(story.id, holder, lambda now: with_card(now, number, before=there))
            except PlaceBusy:
                raise _PutOff(f"a channel at {card.place} is being made for another story", 0.5) from None
            made = await apple.create(stored=story.stored)
        except BroadcastRefused as error:
            why = str(error)
            return await done(lambda now: with_card(now, number, error=why, before=None))
        return await done(lambda now: with_card(now, number, broadcast=made, before=None))

    async def _unclaimed(self, place: str, ids: set[str]) -> list[str]:
        """Of these channels, those that no story has."""
        return sorted(ids - await self.ours(place)) if ids else []

    async def ours(self, place: str) -> set[str]:
        """The channels at a place that belong to stories."""
        cards = (card for kept in await self._shelf.live() for card in kept.story.cards)
        return {card.broadcast for card in cards if card.place == place and card.broadcast and not card.deleted}

    async def _delete(self, story: Story, number: int, holder: str) -> Kept:
        card = story.cards[number]
        if card.broadcast:
            try:
                await self._broadcasts(card).delete(card.broadcast)
            except BroadcastRefused as error:
                raise _PutOff(str(error), LONGEST_WAIT) from None
        return await self._did(story.id, holder, card.channel, lambda now: with_card(now, number, deleted=True))

    # -- updates ---------------------------------------------------------------------------------------------------

    async def _send(self, story: Story, number: int, holder: str) -> Kept:
        step, card = story.newest, story.cards[number]
        apple, why = self._broadcasts(card), ""
        try:
            await apple.send(
                card.broadcast,
                apple.body(card_state(step)),
                urgent=step.change.loud,
                kept_until=step.timestamp + STORED_FOR if story.stored else 0,
            )
        except BroadcastRefused as error:
            why = str(error)

        def sent(now: Story) -> Story:
            each = next((each for each in now.steps if each.number == step.number), step)
            return with_step(now, step.number, sent={**each.sent, card.channel: why})

        return await self._did(story.id, holder, card.channel, sent)

    async def _fall(self, story: Story, step: Step, holder: str) -> Kept:
        """Fire the update's campaign, once that of the update before has stopped: none of its pushes comes later."""
        for earlier in story.steps[:-1]:
            if not earlier.over:
                await self._stop(story, earlier)
                await self._held(story.id, holder, partial(with_step, number=earlier.number, over=True))
        change, made, refused = step.change, None, ""
        message = msgspec.structs.replace(change.message, thread=change.message.thread or story.text)
        request = FireRequest(
            message=message,
            channels=story.fallback,
            kind=story.kind,
            audience=story.audience or msgspec.UNSET,
            again=True,
            over_budget=change.over_budget,
            unapproved=change.unapproved,
        )
        try:
            fired = await self._fire(request, _key(story, step), OWNER, Asker(*step.by), story=story.id)
            made = parse_campaign(fired.id)
        except FireFailed as error:
            if error.status in (503, 507):
                raise _PutOff(str(error)) from None
            refused = str(error)
        except (RecordError, Conflict) as error:
            refused = str(error)
        fallen = partial(with_step, number=step.number, campaign=made, refused=refused, fallen=True)
        return await self._did(story.id, holder, CAMPAIGN, fallen)

    async def _stop(self, story: Story, step: Step) -> None:
        """Stop the campaign of an earlier update, if one is under way (raises ``_PutOff`` until it has stopped)."""
        id = step.campaign
        if id is None:  # fired, perhaps, and not written down
            keyed = await self._store.campaign_keyed(OWNER, _key(story, step), self._clock())
            if keyed is None:
                return
            id = keyed.campaign
        give_up = trio.current_time() + STOPPED_WITHIN
        while (campaign := await self._store.campaign_get(id)) is not None and not campaign.ended:
            if campaign.state == "draft":
                return  # its Fire was lost, and nobody repeats it
            if campaign.state != "cancelling":
                try:
                    await self._cancel(id)
                except Conflict:
                    continue  # it has just ended
            if trio.current_time() >= give_up:
                raise _PutOff("the pushes of the update before are being stopped", 1.0)
            await trio.sleep(0.1)


def _key(story: Story, step: Step) -> str:
    return f"{story.text} {step.number}"
