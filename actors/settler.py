"""The settler: turns a batch's outcomes into one settlement: ack, remainder, outbox line, in one transaction."""

from __future__ import annotations

import math
from collections.abc import Callable

import structlog
import trio

from actors.gate import Gate
from actors.messages import Answered, Clock
from actors.poison import why_of
from actors.settlement import SettlementWriter
from campaigns.batch import Batch
from campaigns.outcome import AGAIN, Death, Fault, Outcome
from campaigns.recipient import Recipient, pack_recipients
from campaigns.tally import RETRIED
from storage.records import Remainder, Settlement, attempt
from storage.tubes import Tubes
from transports.contract import Outcomes

log = structlog.get_logger(__name__)

ATTEMPTS = 8
"""Own refusals (``Fault.PHONE``) at which a recipient is given up. Whoever waits for another's fault waits until the
news expires."""
SETTLEMENTS_A_CALL = 16
HELD_DELAY = 1.0
"""Seconds until what was never judged is tried again; the channel's breaker decides when it really goes."""
LAST_TRY = 1.0
"""Seconds of the news' life below which nothing is tried again. No wait takes more than half of what is left of it, so
that a fault which ends before the news does ends nobody."""
_LONGEST = {Outcome.RETRY: 60.0, Outcome.UNKNOWN: 900.0}
"""Seconds that waits double up to, with each try, where the provider asks for less. What was sent and not answered may
have arrived: it is repeated ever more rarely."""
_WAITS = (10.0, 60.0, 300.0, math.inf)
_OWN_WAITS = (60.0, 900.0, math.inf)
"""Delays are gathered into these classes (upper ends, seconds), or each recipient might need a task of its own. They
are eight at most, as the numbers of a batch's remainders want it (``tubes.settle``)."""


def _delay(outcome: Outcome, after: float, tries: int) -> float:
    if outcome is Outcome.HELD:
        return HELD_DELAY
    return max(after, min(2.0 ** (tries - 1), _LONGEST[outcome]))


def settle(batch: Batch, outcomes: Outcomes, now: int) -> Settlement:
    """What one batch's outcomes come to. Pure. ``now``: ms UTC."""
    recipients = batch.recipients
    tallies: dict[str, int] = {}
    reasons: dict[str, int] = {}
    dead: list[tuple[int, str, int, str, str]] = []
    again: dict[tuple[int, float], tuple[float, list[Recipient]]] = {}
    left = (batch.expires_at - now) / 1000
    if outcomes.delivered:
        tallies[Outcome.DELIVERED.value] = outcomes.delivered
    for index, outcome, reason, after, unregistered_at, death, fault in outcomes.exceptions:
        recipient = recipients[index]
        if outcome in AGAIN:
            refusals = batch.refusals + (outcome is not Outcome.HELD and fault is Fault.PHONE)
            if left <= LAST_TRY:
                outcome = Outcome.EXPIRED
            elif refusals >= ATTEMPTS:
                outcome, reason = Outcome.REJECTED, f"given up after {ATTEMPTS} attempts: {reason}"
            else:
                delay = min(_delay(outcome, after, batch.attempt), max(LAST_TRY, left / 2))
                tries = batch.attempt + (outcome is not Outcome.HELD)
                classes = _WAITS if refusals == batch.refusals else _OWN_WAITS
                key = (attempt(tries, refusals), next(end for end in classes if delay <= end))
                longest, group = again.get(key, (0.0, []))
                group.append(recipient)
                again[key] = (max(longest, delay), group)
                if outcome is not Outcome.HELD:
                    tallies[RETRIED] = tallies.get(RETRIED, 0) + 1
                    reasons[reason] = reasons.get(reason, 0) + 1
                continue
        if death is not None:
            dead.append(_refused(recipient, death, reason, unregistered_at))
        tallies[outcome.value] = tallies.get(outcome.value, 0) + 1
        if outcome is not Outcome.DELIVERED:
            reasons[reason] = reasons.get(reason, 0) + 1
    ids = [recipient.id for recipient in recipients] if batch.remainder else None
    ends = ids or [recipient.id for recipient in (*recipients[:1], *recipients[-1:])]  # by rising id
    return Settlement(
        task_id=batch.task_id,
        number=batch.number,
        tallies=tallies,
        reasons=reasons,
        dead=dead,
        first=min(ends, default=0),
        last=max(ends, default=0),
        left=[recipient.id for _, group in again.values() for recipient in group],
        remainders=[
            Remainder(delay, encoded, len(group), pack_recipients(group))
            for (encoded, _), (delay, group) in again.items()
        ],
        ids=ids,
    )


def _refused(
    recipient: Recipient, death: Death, reason: str, unregistered_at: int | None
) -> tuple[int, str, int, str, str]:
    """An entry of the dead ledger. A registration later than ``bound`` keeps its token: the later one wins."""
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
        done: trio.MemoryReceiveChannel[Answered],
        intake: trio.MemorySendChannel[Answered],
        hands: trio.Semaphore,
        gate: Gate,
        clock: Clock,
    ) -> None:
        self._channel = channel
        self._gate = gate
        self._writer = SettlementWriter(tubes, channel, gate)
        self._done = done
        self._intake = intake
        self._hands = hands
        self._clock = clock

    async def run(self, ready: Callable[[], None]) -> None:
        """Settle until the transport actors have closed their end."""
        ready()
        async with self._done:
            async for first in self._done:
                answered = [first]
                while len(answered) < SETTLEMENTS_A_CALL:
                    try:
                        answered.append(self._done.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                await self._settle(answered)

    def stop(self) -> None:
        """End when the transport actors have, with everything in hand settled."""
        self._intake.close()

    async def _settle(self, answered: list[Answered]) -> None:
        now = self._clock()
        settlements: list[Settlement] = []
        for batch, outcomes in answered:
            try:
                settlements.append(settle(batch, outcomes, now))
            except Exception as error:  # its pushes are out: they are not sent again because we cannot count them
                log.exception("a batch cannot be settled", channel=self._channel, task=batch.task_id)
                await self._writer.bury(batch.task_id, batch.number, why_of(error))
        answers = await self._writer.write(settlements) if settlements else []
        for batch, _ in answered:
            self._hands.release()
            self._gate.settled(batch)
        for settlement, ours in zip(settlements, answers, strict=True):
            if not ours:
                # its lease ended before us: the batch is, or was, in other hands, and what we sent is sent again
                log.warning(
                    "settlement of a batch that is not ours any more", channel=self._channel, task=settlement.task_id
                )
