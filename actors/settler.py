"""The settler: turns a batch's outcomes into one settlement: ack, remainder, outbox line, in one transaction."""

from __future__ import annotations

import math
from collections.abc import Callable

import structlog
import trio

from actors.gate import Gate
from actors.hands import Hands
from actors.messages import Answered, PartAnswered
from actors.poison import why_of
from actors.settlement import SettlementWriter
from campaigns.batch import Batch
from campaigns.clock import Clock
from campaigns.outcome import AGAIN, Death, Fault, Outcome
from campaigns.recipient import Recipient, pack_recipients
from campaigns.tally import RETRIED, UNSURE
from campaigns.windows import QuietRule, Window
from storage.records import KeptAnswer, Left, Remainder, Settlement, attempt
from storage.tubes import Tubes
from transports.contract import Outcomes

log = structlog.get_logger(__name__)

ATTEMPTS = 8
"""A recipient is given up at this many refusals of its own (``Fault.PHONE``). If the fault lies elsewhere, it is
retried until the news expires."""
SETTLEMENTS_A_CALL = 16
LINGER = 0.02
"""Seconds that a settlement waits for others, to share a call, if it is a part of a batch or what a part has left: that
has waited for late answers before, a quarter of a second and more."""
HELD_DELAY = 1.0
"""Seconds until a push that was never judged is tried again; the channel's breaker decides when it really goes."""
LAST_TRY = 1.0
"""Nothing is tried again when the news expires within this many seconds. A wait takes at most half of the time left, so
that a fault which ends before the news expires costs nobody the push."""
LONGEST_REASON = 100
"""Characters of a reason that are kept for whoever asks about one recipient. The same in the store's answers.lua."""
_ANSWERS = 20  # different answers of one batch; more are kept as "other"
_TOLD = (Outcome.RETRY, Outcome.UNKNOWN)
_LONGEST = {Outcome.RETRY: 60.0, Outcome.UNKNOWN: 900.0}
"""Seconds up to which waits double with each try, if the provider asks for less or does not answer. An unanswered push
may have arrived, so it is repeated more and more rarely."""
_WAITS = (10.0, 60.0, 300.0, math.inf)
_OWN_WAITS = (60.0, 900.0, math.inf)
"""Delays are grouped into these classes (upper bounds, seconds), or each recipient might need a task of its own. With
POSTPONED, and with those who were not answered apart, they make 12 remainders at most; a take can number 16."""


def _delay(outcome: Outcome, after: float, tries: int) -> float:
    if outcome is Outcome.POSTPONED:
        return HELD_DELAY
    return max(after, min(2.0 ** (tries - 1), _LONGEST[outcome]))


def _in_window(window: Window, now: int, delay: float) -> float:
    """Lengthen a delay until the window is open; ``math.inf``: it does not open again."""
    if window.rule is not QuietRule.HOLD:
        return delay
    opens = window.next_open(now + math.ceil(delay * 1000))
    return math.inf if opens is None else max(delay, (opens - now) / 1000)


def settle(batch: Batch, outcomes: Outcomes, now: int, settled: frozenset[int] = frozenset()) -> Settlement:
    """Turn one batch's outcomes into its settlement. Pure. ``now``: ms UTC; ``settled``: who was settled in parts."""
    recipients = batch.recipients
    tallies: dict[str, int] = {}
    reasons: dict[str, int] = {}
    dead: list[tuple[int, str, int, str, str]] = []
    again: dict[tuple[int, float], tuple[float, list[Recipient]]] = {}
    unsure = -(len(recipients) - len(settled)) if batch.unsure else 0
    answers: dict[tuple[str, str], list[int]] = {}
    left = (batch.expires_at - now) / 1000
    if delivered := outcomes.delivered - len(settled):
        tallies[Outcome.DELIVERED.value] = delivered
    for index, outcome, reason, after, unregistered_at, death, fault in outcomes.exceptions:
        recipient = recipients[index]
        if outcome in _TOLD:
            _keep(answers, outcome, reason, recipient.id)
        if outcome in AGAIN:
            refusals = batch.refusals + (outcome is not Outcome.POSTPONED and fault is Fault.PHONE)
            delay = min(_delay(outcome, after, batch.attempt), max(LAST_TRY, left / 2))
            if batch.window is not None:
                delay = _in_window(batch.window, now, delay)
            if left <= LAST_TRY or delay >= left:
                outcome = Outcome.EXPIRED
            elif refusals >= ATTEMPTS:
                outcome, reason = Outcome.REJECTED, f"given up after {ATTEMPTS} attempts: {reason}"
            else:
                tries = batch.attempt + (outcome is not Outcome.POSTPONED)
                classes = _WAITS if refusals == batch.refusals else _OWN_WAITS
                maybe = batch.unsure or outcome is Outcome.UNKNOWN
                unsure += maybe
                key = (attempt(tries, refusals, maybe), next(end for end in classes if delay <= end))
                longest, group = again.get(key, (0.0, []))
                group.append(recipient)
                again[key] = (max(longest, delay), group)
                if outcome is not Outcome.POSTPONED:
                    tallies[RETRIED] = tallies.get(RETRIED, 0) + 1
                    reasons[reason] = reasons.get(reason, 0) + 1
                continue
        if death is not None:
            dead.append(_refused(recipient, death, reason, unregistered_at))
        tallies[outcome.value] = tallies.get(outcome.value, 0) + 1
        if outcome is not Outcome.DELIVERED:
            reasons[reason] = reasons.get(reason, 0) + 1
            _keep(answers, outcome, reason, recipient.id)
    if unsure:
        tallies[UNSURE] = unsure
    back = {recipient.id for _, group in again.values() for recipient in group}
    ended = [recipient.id for recipient in recipients]
    if back or settled:
        ended = [id for index, id in enumerate(ended) if id not in back and index not in settled]
    return Settlement(
        task_id=batch.task_id,
        number=batch.number,
        tallies=tallies,
        reasons=reasons,
        dead=dead,
        ended=ended,
        remainders=[
            Remainder(delay, encoded, len(group), pack_recipients(group))
            for (encoded, _), (delay, group) in again.items()
        ],
        answers=[KeptAnswer(*key, batch.attempt, ids) for key, ids in answers.items()],
        texts=batch.texts,
    )


def _keep(answers: dict[tuple[str, str], list[int]], outcome: Outcome, reason: str, id: int) -> None:
    """Add a recipient to those with an answer that is kept. A batch has a bounded number of different ones."""
    key = (outcome.value, reason[:LONGEST_REASON])
    if key not in answers and len(answers) >= _ANSWERS:
        key = (outcome.value, "other")
    answers.setdefault(key, []).append(id)


def settle_part(part: PartAnswered) -> Settlement:
    """Settle what is delivered of a batch, and leave the others in it. Pure."""
    batch = part.batch
    gone = part.settled.union(part.delivered)
    left = [recipient for index, recipient in enumerate(batch.recipients) if index not in gone]
    return Settlement(
        task_id=batch.task_id,
        number=batch.number,
        tallies={Outcome.DELIVERED.value: len(part.delivered)} | _less_unsure(batch, len(part.delivered)),
        reasons={},
        dead=[],
        ended=[batch.recipients[index].id for index in part.delivered],
        remainders=[],
        texts=batch.texts,
        left=Left(len(batch.recipients) - len(part.settled), len(left), pack_recipients(left)),
    )


def _less_unsure(batch: Batch, settled: int) -> dict[str, int]:
    return {UNSURE: -settled} if batch.unsure else {}


def _refused(
    recipient: Recipient, death: Death, reason: str, unregistered_at: int | None
) -> tuple[int, str, int, str, str]:
    """An entry of the dead ledger. A registration later than ``bound`` keeps its token: the later registration wins."""
    bound = recipient.registered_at
    if unregistered_at is not None:
        if unregistered_at > bound:
            bound = unregistered_at - 1
        else:  # a base imported as registered today, or a wrong clock: this time proves nothing
            death = Death.LIKELY
    return recipient.id, recipient.token, bound, death.value, reason


def _is_late(each: Answered | PartAnswered) -> bool:
    return isinstance(each, PartAnswered) or bool(each.settled)


class Settler:
    """Settles one channel's batches, several in one call if several are waiting.

    ``intake``: the sending end of ``done``. Each transport actor has a clone; the settler closes its own to stop.
    """

    def __init__(
        self,
        *,
        channel: str,
        tubes: Tubes,
        done: trio.MemoryReceiveChannel[Answered | PartAnswered],
        intake: trio.MemorySendChannel[Answered | PartAnswered],
        hands: Hands,
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
                answered: list[Answered | PartAnswered] = [first]
                if _is_late(first):
                    await trio.sleep(LINGER)
                while len(answered) < SETTLEMENTS_A_CALL:
                    try:
                        answered.append(self._done.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                await self._settle(answered)

    def stop(self) -> None:
        """Stop once the transport actors have ended and everything in hand is settled."""
        self._intake.close()

    async def _settle(self, answered: list[Answered | PartAnswered]) -> None:
        now = self._clock()
        settlements: list[Settlement] = []
        for each in answered:
            batch = each.batch
            try:
                if isinstance(each, PartAnswered):
                    settlements.append(settle_part(each))
                else:
                    settlements.append(settle(batch, each.outcomes, now, each.settled))
            except Exception as error:  # its pushes are out: failing to count them must not repeat them
                log.exception("a batch cannot be settled", channel=self._channel, task=batch.task_id)
                await self._writer.bury(batch.task_id, batch.number, why_of(error))
        answers = await self._writer.write(settlements) if settlements else []
        for each in answered:
            if isinstance(each, PartAnswered):
                self._hands.release(len(each.delivered))
            else:
                self._hands.release_rest(len(each.settled))
                self._gate.settled(each.batch)
        for settlement, ours in zip(settlements, answers, strict=True):
            if ours:
                self._gate.count(settlement.tallies)
            else:
                # its lease ended first: another worker has, or had, the batch, and sends these pushes again
                log.warning(
                    "settlement of a batch that is not ours any more", channel=self._channel, task=settlement.task_id
                )
