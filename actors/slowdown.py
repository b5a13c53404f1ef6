"""Slows a channel down while its provider asks for less, or answers nothing. Has no clock of its own."""

from __future__ import annotations

from collections import Counter

from campaigns.batch import Batch
from campaigns.outcome import Outcome
from transports.backoff import Backoff
from transports.contract import LONGEST_PAUSE, Outcomes

PROBE = 30.0
"""Seconds that the others wait for the fate of the batch that goes first after a pause."""
OVERLOADED = 0.1
"""If the provider puts off more than this share of a batch (503, refused streams, 429), the channel slows down. A few
do not slow it: when a quota is really used up, the provider refuses all. A push that was put off waits by itself, as
long as the provider says."""


class Slowdown:
    """Pauses as long as the provider says, five minutes at most; without its word 1, 2, 4 … 60 seconds.

    After a pause one batch goes first. Until its fate is known the others wait. All times are the caller's, in seconds.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        """Since when the provider asks for less; None: it does not."""
        self.until = 0.0
        self.reason = ""
        """A word as in ``ChannelState.reason``."""
        self.sentence = ""
        self._pace = Backoff(first=1.0)
        self._news_after = 0.0
        self._probing = False

    def slow(self, seconds: float, now: float, reason: str, sentence: str) -> None:
        """Let nothing pass for so long, :data:`LONGEST_PAUSE` at most, and then one batch."""
        before = 0.0 if self.since is None or self._probing else self.until
        if self.since is None:
            self.since = now
        self.until = max(before, now + min(seconds, LONGEST_PAUSE))
        self.reason, self.sentence, self._probing = reason, sentence, False

    def retry_in(self, now: float) -> float:
        """Seconds until a batch may be taken. 0 while the provider is content, and whenever a probe is due."""
        return 0.0 if self.since is None else max(0.0, self.until - now)

    def probe(self, now: float) -> None:
        """A batch goes out. After a pause it is the first, and the others wait for its fate."""
        if self.since is not None:
            self.until, self._probing = now + PROBE, True

    def answered(self, batch: Batch, outcomes: Outcomes, judged: bool, now: float) -> float:
        """Judge by a batch's ends. Returns the seconds of the pause that begins now; 0: none does.

        ``judged``: the provider has said of some of its pushes whether it takes them.
        """
        if (unanswered := _unanswered(batch, outcomes)) or self._overloaded(batch, outcomes):
            if pause := self._pause(outcomes.slow, now):
                self.slow(pause, now, *_asked(outcomes, unanswered))
            return pause
        if judged:
            if self._probing:  # what was begun before the pause says nothing about its end
                self.since, self._probing = None, False
            if outcomes.delivered:
                self._pace.reset()
        return 0.0

    def _overloaded(self, batch: Batch, outcomes: Outcomes) -> bool:
        """Whether the provider puts off more than a few. A single push waits by itself, unless it went first."""
        alone = 1 if self.since is None else 0
        return outcomes.put_off > max(alone, OVERLOADED * len(batch.recipients))

    def _pause(self, asked: float, now: float) -> float:
        """Seconds to leave the provider alone: as it says, or 1, 2, 4 … 60 while it goes on putting pushes off."""
        if now < self._news_after:
            return min(LONGEST_PAUSE, asked)  # begun before the pause: no news but what the provider itself says
        pause = min(LONGEST_PAUSE, max(asked, self._pace.next()))
        self._news_after = now + pause
        return pause


def _unanswered(batch: Batch, outcomes: Outcomes) -> bool:
    """Whether none of a batch was answered, and it was more than one push: a phone may be silent by itself."""
    if len(outcomes.exceptions) < max(2, len(batch.recipients)):
        return False
    return all(entry.outcome is Outcome.UNKNOWN for entry in outcomes.exceptions)


def _asked(outcomes: Outcomes, unanswered: bool) -> tuple[str, str]:
    """The reason and the sentence of a pause."""
    if unanswered:
        return "silent", "the provider answers no push"
    words = Counter(entry.reason for entry in outcomes.exceptions if entry.outcome is Outcome.RETRY)
    word = f" ({words.most_common(1)[0][0]})" if words else ""
    return "quota", f"the provider asks for less{word}"
