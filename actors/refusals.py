"""Watches a provider's refusals. Holds back the refused pushes, not the channel, until deliveries prove the key.

With a key of the wrong environment, app or project every token is refused. No subscriber is deleted for that, since the
store judges over the whole ring; but the phones should get their news once the key is fixed. So while hardly any push
of a campaign is delivered, refused pushes are POSTPONED. Only if they come back and are refused again, and the ledger
knows of no deliveries either, does the channel stop with a question to a person.
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
"""Share of refused tokens above which a batch is suspicious; the usual share is far lower."""
ENOUGH = 20
"""Deliveries that prove a key, and refusals before a person is asked. The same in the store's dead_rows.lua."""
HARDLY = 0.1
"""At least this share of a sound campaign's answers are deliveries. The same in dead_rows.lua."""
PATIENCE = 0.9
"""Seconds from a campaign's first suspicious batch to the question. A postponed push comes back after one second."""
_CAMPAIGNS = 8  # watched at once; the oldest is forgotten
_REMEMBERED = 50_000  # refused and postponed recipients remembered of a campaign
_EXAMPLES = 5
_JUDGED = (Death.LIKELY, Death.DOUBTFUL)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A worker's question to the ledger: nearly all of a campaign is refused; is the key wrong?"""

    campaign: int
    reasons: dict[str, int]
    """Reason → phones whose pushes are postponed."""
    examples: list[int]
    """Ids of some of these subscribers."""
    limit: float


Ask = Callable[[Doubt], Awaitable[str]]
"""Returns ``sound``, ``few``, ``stopped``, ``confirmed`` or ``denied`` (``Store.dead_doubt``); ``""``: no answer."""


@dataclass(slots=True)
class _Watch:
    """What this worker knows of one campaign."""

    delivered: int = 0
    settled: int = 0
    """Refused, and settled."""
    postponed: dict[int, str] = field(default_factory=dict)
    """Refused and postponed: subscriber → reason."""
    since: float | None = None
    """When the first push was postponed."""
    proved: float | None = None
    """When deliveries proved the key; None: not yet."""
    state: str = ""
    """``sound``: the ledger says so; ``stopped``: a question; ``confirmed`` or ``denied``: a person's answer to it."""

    def sound(self, refused: int = 0) -> bool:
        """Whether deliveries prove the key. ``refused``: refusals of the batch at hand."""
        answers = self.delivered + self.settled + len(self.postponed) + refused
        return self.delivered >= ENOUGH and self.delivered >= HARDLY * answers

    def may_settle(self, began: float, delivered: int, refused: int, limit: float) -> bool:
        """Whether the refusals of a batch that was sent at ``began`` may be settled, by what is known now."""
        if self.state == "confirmed":
            return True
        if self.since is None:
            return refused <= limit * (delivered + refused) or self.proved is not None
        return self.proved is not None and began >= self.proved


class Refusals:
    """Watches one channel's refusals. Lives as long as the channel's breaker."""

    __slots__ = ("_asked", "_breaker", "_campaigns", "_channel", "_sentence", "limit")

    def __init__(self, channel: str, breaker: Breaker, limit: float = LIMIT) -> None:
        """``limit``: a share between 0 and 1 (1: never postpone)."""
        self.limit = limit
        self._channel = channel
        self._breaker = breaker
        self._campaigns: dict[int, _Watch] = {}
        self._sentence: str | None = None  # with which the channel was stopped
        self._asked = False

    @property
    def asking(self) -> bool:
        """Whether the channel is stopped until a person has answered a question."""
        return self._asked and self._sentence is not None and self._breaker.reason == self._sentence

    def spares(self, batch: Batch) -> bool:
        """Whether a stopped channel should not send this batch: a probe must have no token that was refused before."""
        if self._sentence is None or self._breaker.reason != self._sentence:
            return False
        watch = self._campaigns.get(batch.campaign)
        if watch is None or not any(recipient.id in watch.postponed for recipient in batch.recipients):
            return False
        self._breaker.spared(trio.current_time())
        return True

    async def weigh(self, batch: Batch, outcomes: Outcomes, ask: Ask, began: float = math.inf) -> Outcomes:
        """Return the outcomes to settle. Refusals that may only mean a wrong key are POSTPONED, with a STOP if needed.

        ``began``: when the batch was sent, on ``trio.current_time()``. Once a campaign has looked wrong, a refusal from
        before the key was proved says nothing about the phone, however small its share of the batch: it is POSTPONED
        too.
        """
        watch = self._watch(batch.campaign)
        watch.delivered += outcomes.delivered
        refused = [entry for entry in outcomes.exceptions if entry.death in _JUDGED]
        now = trio.current_time()
        if watch.sound(len(refused)):
            if watch.proved is None:
                watch.proved = now
        elif refused and watch.state != "sound":
            watch.proved = None  # it was proved once, and is not now
        if not refused:
            return outcomes
        if watch.may_settle(began, outcomes.delivered, len(refused), self.limit):
            return self._settled(watch, batch, refused, outcomes)
        if len(watch.postponed) < _REMEMBERED and watch.state != "denied":
            watch.postponed.update((batch.recipients[entry.index].id, entry.reason) for entry in refused)
        if watch.since is None:
            watch.since = now
        if watch.proved is not None or (watch.state == "" and now - watch.since < PATIENCE):
            return _postponed(outcomes, refused)
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
            return _postponed(outcomes, refused, self._sentence)
        return _postponed(outcomes, refused)

    def hear(self, states: Mapping[int, str]) -> None:
        """Adopt the state of this channel over the whole ring: other workers' questions, and a person's answers.

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
                watch.postponed.clear()  # from now on any batch may be the probe, even one that was refused
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
        for entry in refused if watch.postponed else ():
            watch.postponed.pop(batch.recipients[entry.index].id, None)
        return outcomes

    def _doubt(self, batch: Batch, watch: _Watch, refused: Sequence[Exceptional]) -> Doubt:
        reasons = Counter(watch.postponed.values()) or Counter(entry.reason for entry in refused)
        examples = list(watch.postponed)[:_EXAMPLES] or [
            batch.recipients[entry.index].id for entry in refused[:_EXAMPLES]
        ]
        return Doubt(batch.campaign, dict(reasons), examples, self.limit)

    def _why(self, state: str, reason: str) -> str:
        self._asked = state == "stopped"
        words = f" ({reason})" if reason else ""
        if state == "denied":
            return (
                f"the provider still refuses nearly every token{words}: fix the channel's key, app or environment and"
                " restart the node; postponed pushes then go out"
            )
        return (
            f"the provider refuses nearly every token{words}: check the channel's key, app and environment. Nothing is"
            " deleted, and the refused pushes wait for an answer (broadside dead list; then dead confirm or dead keep"
            f" {self._channel})"
        )


def _postponed(outcomes: Outcomes, refused: Sequence[Exceptional], stop: str | None = None) -> Outcomes:
    indices = {entry.index for entry in refused}
    exceptions = [
        Exceptional(entry.index, Outcome.POSTPONED, entry.reason) if entry.index in indices else entry
        for entry in outcomes.exceptions
    ]
    return replace(outcomes, exceptions=exceptions, stop=outcomes.stop or stop)
