"""The settler: turns a batch's outcomes into one settlement: ack, remainder, outbox line, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog
import trio

from actors.blame import Blame
from actors.gate import Gate
from actors.messages import Clock, Done
from storage.errors import LinkLost, OutOfMemory
from storage.records import Remainder, Settlement
from storage.tubes import Tubes
from transports.contract import Death, Outcome, Recipient, pack_recipients

log = structlog.get_logger(__name__)

ATTEMPTS = 8
"""A recipient that is still refused or unanswered at this attempt is given up, so that remainders end."""
SETTLEMENTS_A_CALL = 16
FULL_PAUSE = 1.0
"""Seconds before the next try when the queue has no memory even for a settlement."""
HELD_DELAY = 1.0
"""Seconds until what was never judged is tried again; the channel's breaker decides when it really goes."""
_CLASSES = (1.0, 10.0, 60.0, 300.0, 900.0, 86400.0)
"""Delays are gathered into these classes (upper ends, seconds), or each recipient might need a task of its own."""


def settle(done: Done, now: int) -> Settlement:
    """What one batch's outcomes come to. Pure. ``now``: ms UTC."""
    task, batch = done.work.task, done.work.batch
    recipients = batch.recipients
    tallies: dict[str, int] = {}
    reasons: dict[str, int] = {}
    dead: list[tuple[int, str, int, str, str]] = []
    again: dict[tuple[int, float], tuple[float, list[Recipient]]] = {}
    if done.outcomes.delivered:
        tallies["delivered"] = done.outcomes.delivered
    for index, outcome, reason, after, unregistered_at, death in done.outcomes.exceptions:
        recipient = recipients[index]
        if outcome in (Outcome.RETRY, Outcome.UNKNOWN, Outcome.HELD):
            held = outcome is Outcome.HELD
            delay = HELD_DELAY if held else max(after, min(2.0 ** (task.attempt - 1), 60.0))
            if now + delay * 1000 >= batch.expires_at:
                outcome = Outcome.EXPIRED
            elif not held and task.attempt >= ATTEMPTS:
                outcome, reason = Outcome.REJECTED, f"given up after {ATTEMPTS} attempts: {reason}"
            else:
                key = (task.attempt + (0 if held else 1), next(c for c in _CLASSES if delay <= c or c == _CLASSES[-1]))
                longest, group = again.get(key, (0.0, []))
                group.append(recipient)
                again[key] = (max(longest, delay), group)
                if not held:
                    tallies["retried"] = tallies.get("retried", 0) + 1
                    reasons[reason] = reasons.get(reason, 0) + 1
                continue
        if death is not None:
            dead.append(_refused(recipient, death, reason, unregistered_at))
        tallies[outcome.value] = tallies.get(outcome.value, 0) + 1
        if outcome is not Outcome.DELIVERED:
            reasons[reason] = reasons.get(reason, 0) + 1
    ids = [recipient.id for recipient in recipients] if task.n < 0 else None  # a remainder: see `tubes.settle`
    ends = ids or [recipient.id for recipient in (*recipients[:1], *recipients[-1:])]  # by rising id
    return Settlement(
        task_id=task.id,
        number=task.number,
        tallies=tallies,
        reasons=reasons,
        dead=dead,
        first=min(ends, default=0),
        last=max(ends, default=0),
        left=[recipient.id for _, group in again.values() for recipient in group],
        remainders=[
            Remainder(delay, attempt, len(group), pack_recipients(group))
            for (attempt, _), (delay, group) in again.items()
        ],
        ids=ids,
    )


def _refused(
    recipient: Recipient, death: Death, reason: str, unregistered_at: int | None
) -> tuple[int, str, int, str, str]:
    """An entry of the dead ledger: the token goes only as it was when we sent, for a later registration wins."""
    bound = recipient.registered_at
    if unregistered_at is not None:
        if unregistered_at > bound:
            bound = unregistered_at - 1
        else:  # a base imported as registered today, or a clock that is wrong: this moment proves nothing
            death = Death.LIKELY
    return recipient.id, recipient.token, bound, death.value, reason


class Settler:
    """Settles one channel's batches, several in a call when they are there.

    ``intake``: the transport actors' end of ``done``, of which each has a clone; the settler closes it to end.
    """

    def __init__(
        self,
        *,
        channel: str,
        tubes: Tubes,
        done: trio.MemoryReceiveChannel[Done],
        intake: trio.MemorySendChannel[Done],
        hands: trio.Semaphore,
        gate: Gate,
        in_hand: Counter[int],
        clock: Clock,
    ) -> None:
        self._channel = channel
        self._tubes = tubes
        self._done = done
        self._intake = intake
        self._hands = hands
        self._gate = gate
        self._in_hand = in_hand
        self._clock = clock

    async def run(self, ready: Callable[[], None]) -> None:
        """Settle until the transport actors have closed their end."""
        ready()
        async with self._done:
            async for first in self._done:
                batch = [first]
                while len(batch) < SETTLEMENTS_A_CALL:
                    try:
                        batch.append(self._done.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                await self._settle(batch)

    def stop(self) -> None:
        """End when the transport actors have, with everything in hand settled."""
        self._intake.close()

    async def _settlement(self, done: Done, now: int) -> Settlement:
        async with Blame(self._tubes, self._channel, done.work.task.id, done.work.task.number):
            return settle(done, now)

    async def _settle(self, batch: list[Done]) -> None:
        now = self._clock()
        settlements = [await self._settlement(done, now) for done in batch]
        while True:
            try:
                answers = await self._tubes.settle(self._channel, settlements)
                break
            except LinkLost as error:
                self._gate.shut()
                log.warning("settlement failed, tried again", channel=self._channel, error=str(error))
            except OutOfMemory as error:
                self._gate.shut()
                log.warning("no memory for a settlement, tried again", channel=self._channel, error=error.text)
                await trio.sleep(FULL_PAUSE)
        self._gate.open()
        for done, ours in zip(batch, answers, strict=True):
            self._hands.release()
            self._in_hand[done.work.task.campaign] -= 1
            if not ours:
                # its lease ended before us: the batch is, or was, in other hands, and what we sent is sent again
                log.warning(
                    "settlement of a batch that is not ours any more",
                    channel=self._channel,
                    recipients=len(done.work.batch.recipients),
                )
