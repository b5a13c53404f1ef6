"""Sends a refused push again if the phone has a new token by now: under the new one. Such a refusal is no death."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog
import trio

from campaigns.batch import Batch
from campaigns.outcome import Outcome
from campaigns.recipient import Recipient
from storage.errors import StorageError
from storage.store import Store
from transports.contract import Exceptional, Outcomes

log = structlog.get_logger(__name__)

WAIT = 1.0
"""Seconds for which a settlement waits for the store. No deadline of the call: that would drop the connection."""
LINGER = 0.01
"""Seconds that a question waits for others, to share a call: nearly every batch has a dead phone."""
REPLACED = "the token was replaced"

Find = Callable[[Sequence[tuple[int, str]]], Awaitable[Mapping[int, Recipient]]]
"""Returns who of these refused, (subscriber, token) each, has another token by now: subscriber → the recipient."""


async def follow(batch: Batch, outcomes: Outcomes, find: Find) -> tuple[Batch, Outcomes]:
    """Return the batch with the new tokens of refused phones, whose pushes are POSTPONED: they come back with them.

    Each push goes to a new token at most once for each time that the app has replaced it, and never to two that were
    both accepted: a push that was refused was delivered to nobody.
    """
    refused = [entry.index for entry in outcomes.exceptions if entry.death is not None]
    if not refused:
        return batch, outcomes
    found = await find([(batch.recipients[index].id, batch.recipients[index].token) for index in refused])
    if not found:
        return batch, outcomes
    recipients, exceptions = list(batch.recipients), []
    for entry in outcomes.exceptions:
        successor = None if entry.death is None else found.get(recipients[entry.index].id)
        if successor is not None:
            recipients[entry.index] = successor
            entry = Exceptional(entry.index, Outcome.POSTPONED, REPLACED)
        exceptions.append(entry)
    return replace(batch, recipients=recipients), replace(outcomes, exceptions=exceptions)


class _Question:
    """What is asked in one call to the store, for all batches that end in the same moment."""

    def __init__(self) -> None:
        self.refused: list[tuple[int, str]] = []
        self.found: Mapping[int, Recipient] = {}
        self.answered = trio.Event()


def finding(store: Store, channel: str) -> Find:
    """Make a channel's ``Find``. A store that does not answer holds up no settlement: then nobody has a new token."""
    joinable: _Question | None = None

    async def ask(question: _Question) -> None:
        nonlocal joinable
        try:
            with trio.move_on_after(WAIT):
                await trio.sleep(LINGER)
                joinable = None
                question.found = await store.subscribers_successors(channel, question.refused)
        except StorageError as error:
            log.debug("the store does not say which refused tokens were replaced", channel=channel, error=str(error))
        finally:
            if joinable is question:
                joinable = None
            question.answered.set()

    async def find(refused: Sequence[tuple[int, str]]) -> Mapping[int, Recipient]:
        nonlocal joinable
        if (question := joinable) is not None:
            question.refused += refused
            await question.answered.wait()
        else:
            question = joinable = _Question()
            question.refused += refused
            await ask(question)
        found = question.found
        # another batch may have been sent to the token that is this one's successor
        return {id: found[id] for id, token in refused if id in found and found[id].token != token}

    return find
