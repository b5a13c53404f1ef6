"""Watches what a provider refuses. Holds back the bad batch, not the channel, until deliveries prove the key.

A key of the other environment, a wrong app or project: then every token is refused. Nobody is deleted for that, since
the store judges over the whole ring; but the phones should get their news once the key is mended. So while hardly
anything of a campaign is delivered, what is refused is HELD. Only when it comes back and is refused again, and the
ledger knows of no deliveries either, the channel stops with a question to a person.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import trio

from actors.breaker import Breaker
from campaigns.batch import Batch
from campaigns.outcome import Death, Outcome
from transports.contract import Exceptional, Outcomes

LIMIT = 0.2
"""The usual share of refused tokens stays far below this one."""
ENOUGH = 20
"""Deliveries that prove a key, and refusals about which a person may be asked. As in the store's dead_rows.lua."""
HARDLY = 0.1
"""Of a sound campaign's answers at least this share is delivered. As there."""
PATIENCE = 0.9
"""Seconds from a campaign's first suspicious batch to the question. What is held comes back after one."""
_CAMPAIGNS = 8  # those under way at once; the oldest is forgotten
_REMEMBERED = 50_000  # recipients of a campaign that were refused and are held
_EXAMPLES = 5
_JUDGED = (Death.LIKELY, Death.DOUBTFUL)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What one worker asks the ledger: nearly all of a campaign is refused; is the key wrong?"""

    campaign: int
    reasons: dict[str, int]
    """Reason → phones whose pushes are held."""
    examples: list[int]
    """Some of their subscribers' ids."""
    limit: float


Ask = Callable[[Doubt], Awaitable[str]]
"""Answers ``sound``, ``few``, ``stopped``, ``confirmed`` or ``denied`` (``Store.dead_doubt``); ``""``: no answer."""


@dataclass(slots=True)
class _Watch:
    """What this worker knows of one campaign."""

    delivered: int = 0
    settled: int = 0
    """Refused, and settled."""
    held: dict[int, str] = field(default_factory=dict)
    """Refused and held: subscriber → reason."""
    since: float | None = None
    """When the first of them was held."""
    proved: float | None = None
    """When deliveries had proved the key; None: not yet."""
    state: str = ""
    """``sound``, as the ledger says; ``stopped``, a question; ``confirmed`` or ``denied``, a person's answer to it."""

    def sound(self, refused: int = 0) -> bool:
        """Whether deliveries prove the key. ``refused``: those of the batch that is looked at."""
        answers = self.delivered + self.settled + len(self.held) + refused
        return self.delivered >= ENOUGH and self.delivered >= HARDLY * answers

    def may_settle(self, began: float, delivered: int, refused: int, limit: float) -> bool:
        """Whether what was refused of a batch that was sent at ``began`` may end, for what is known by now."""
        if self.state == "confirmed":
            return True
        if self.since is None:
            return refused <= limit * (delivered + refused) or self.proved is not None
        return self.proved is not None and began >= self.proved


class Refusals:
    """One channel's watch. Lives as long as its breaker."""

    __slots__ = ("_asked", "_breaker", "_campaigns", "_channel", "_sentence", "limit")

    def __init__(self, channel: str, breaker: Breaker, limit: float = LIMIT) -> None:
        """``limit``: a share between 0 and 1 (1: never hold)."""
        self.limit = limit
        self._channel = channel
        self._breaker = breaker
        self._campaigns: dict[int, _Watch] = {}
        self._sentence: str | None = None  # with which we have stopped the channel
        self._asked = False

    @property
    def asking(self) -> bool:
        """Whether the channel is stopped until a person has answered a question."""
        return self._asked and self._sentence is not None and self._breaker.reason == self._sentence

    def spares(self, batch: Batch) -> bool:
        """Whether a stopped channel should leave this batch alone: a probe's tokens were never refused before."""
        if self._sentence is None or self._breaker.reason != self._sentence:
            return False
        watch = self._campaigns.get(batch.campaign)
        if watch is None or not any(recipient.id in watch.held for recipient in batch.recipients):
            return False
        self._breaker.spared(trio.current_time())
        return True

    async def weigh(self, batch: Batch, outcomes: Outcomes, ask: Ask, began: float = math.inf) -> Outcomes:
        """The outcomes as they may be settled. What proves nothing but a wrong key is HELD, if need be with a STOP.

        ``began``: when the batch was sent, on ``trio.current_time()``. Once a campaign has looked wrong, a refusal from
        before its key was proved says nothing about the phone, however small its share of the batch is: it is HELD too.
        """
        watch = self._watch(batch.campaign)
        watch.delivered += outcomes.delivered
        refused = [entry for entry in outcomes.exceptions if entry.death in _JUDGED]
        now = trio.current_time()
        if watch.sound(len(refused)):
            if watch.proved is None:
                watch.proved = now
        elif refused and watch.state != "sound":
            watch.proved = None  # it was good once
        if not refused:
            return outcomes
        if watch.may_settle(began, outcomes.delivered, len(refused), self.limit):
            return self._settled(watch, batch, refused, outcomes)
        if len(watch.held) < _REMEMBERED and watch.state != "denied":
            watch.held.update((batch.recipients[entry.index].id, entry.reason) for entry in refused)
        if watch.since is None:
            watch.since = now
        if watch.proved is not None or (watch.state == "" and now - watch.since < PATIENCE):
            return _held(outcomes, refused)
        word = await ask(self._doubt(batch, watch, refused))
        if word in ("sound", "confirmed"):
            watch.state = word
        if word == "sound" and watch.proved is None:
            watch.proved = trio.current_time()
        if word == "few" or watch.may_settle(began, outcomes.delivered, len(refused), self.limit):
            return self._settled(watch, batch, refused, outcomes)
        if word in ("stopped", "denied"):
            watch.state = word
            self._sentence = self._why(word, refused[0].reason)
            return _held(outcomes, refused, self._sentence)
        return _held(outcomes, refused)

    def hear(self, states: Mapping[int, str]) -> None:
        """Take up what stands for this channel over the whole ring: others' questions, and a person's answers.

        ``states``: campaign → ``stopped``, ``confirmed`` or ``denied``.
        """
        now = trio.current_time()
        known = dict(states)
        for campaign, watch in self._campaigns.items():
            if campaign not in known and watch.state in ("stopped", "denied"):
                known[campaign] = ""  # withdrawn, or the campaign has ended
        for campaign, state in known.items():
            watch = self._watch(campaign)
            if watch.state == state:
                continue
            watch.state = state
            if state == "stopped" and not watch.sound():
                if self._breaker.reason is None:
                    self._sentence = self._why(state, "")
                    self._breaker.open(self._sentence, now)
            else:
                watch.held.clear()  # from now on any batch may be the probe, those that were refused too
                if self._sentence is not None and self._breaker.reason == self._sentence:
                    self._breaker.retry(now)

    def _watch(self, campaign: int) -> _Watch:
        watch = self._campaigns.get(campaign)
        if watch is None:
            if len(self._campaigns) >= _CAMPAIGNS:
                del self._campaigns[next(iter(self._campaigns))]
            watch = self._campaigns[campaign] = _Watch()
        return watch

    @staticmethod
    def _settled(watch: _Watch, batch: Batch, refused: Sequence[Exceptional], outcomes: Outcomes) -> Outcomes:
        watch.settled += len(refused)
        for entry in refused if watch.held else ():
            watch.held.pop(batch.recipients[entry.index].id, None)
        return outcomes

    def _doubt(self, batch: Batch, watch: _Watch, refused: Sequence[Exceptional]) -> Doubt:
        reasons = Counter(watch.held.values()) or Counter(entry.reason for entry in refused)
        examples = list(watch.held)[:_EXAMPLES] or [batch.recipients[entry.index].id for entry in refused[:_EXAMPLES]]
        return Doubt(batch.campaign, dict(reasons), examples, self.limit)

    def _why(self, state: str, reason: str) -> str:
        self._asked = state == "stopped"
        words = f" ({reason})" if reason else ""
        if state == "denied":
            return (
                f"the provider still refuses nearly every token{words}: mend the channel's key, app or environment and"
                " restart the node; what is held goes out then"
            )
        return (
            f"the provider refuses nearly every token{words}: check the channel's key, app and environment. Nothing is"
            " deleted, and what was refused waits for an answer (broadside dead list; then dead confirm or dead keep"
            f" {self._channel})"
        )


def _held(outcomes: Outcomes, refused: Sequence[Exceptional], stop: str | None = None) -> Outcomes:
    indices = {entry.index for entry in refused}
    exceptions = [
        Exceptional(entry.index, Outcome.HELD, entry.reason) if entry.index in indices else entry
        for entry in outcomes.exceptions
    ]
    return replace(outcomes, exceptions=exceptions, stop=outcomes.stop or stop)
