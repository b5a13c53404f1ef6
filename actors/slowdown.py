"""Slows a channel down while its provider asks for less or does not answer. Has no clock of its own."""

from __future__ import annotations

from collections import Counter

from campaigns.batch import Batch
from campaigns.outcome import Outcome
from transports.backoff import Backoff
from transports.contract import LONGEST_PAUSE, Outcomes

PROBE = 30.0
"""Seconds that other batches wait for the result of the first batch after a pause."""
OVERLOADED = 0.1
"""If the provider puts off more than this share of a batch (503, refused streams, 429), the channel slows down. A
smaller share is no sign of a used-up quota, where the provider refuses all: its pushes wait by themselves."""


class Slowdown:
    """Pauses for as long as the provider says, at most five minutes; if it does not say, for 1, 2, 4 … 60 seconds.

    After a pause one batch goes first, and the others wait for its result. All times are the caller's, in seconds.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        """Since when the provider has asked for less; None: it does not."""
        self.until = 0.0
        self.reason = ""
        """A word as in ``ChannelState.reason``."""
        self.sentence = ""
        self._pace = Backoff(first=1.0)
        self._news_after = 0.0
        self._probing = False

    def slow(self, seconds: float, now: float, reason: str, sentence: str) -> None:
        """Let nothing pass for ``seconds`` (at most :data:`LONGEST_PAUSE`), and then one batch."""
        before = 0.0 if self.since is None or self._probing else self.until
        if self.since is None:
            self.since = now
        self.until = max(before, now + min(seconds, LONGEST_PAUSE))
        self.reason, self.sentence, self._probing = reason, sentence, False

    def retry_in(self, now: float) -> float:
        """Seconds until a batch may be taken. 0 while there is no slowdown, and whenever a probe is due."""
        return 0.0 if self.since is None else max(0.0, self.until - now)

    def probe(self, now: float) -> None:
        """A batch goes out. The first after a pause is the probe, and the others wait for its result."""
        if self.since is not None:
            self.until, self._probing = now + PROBE, True

    def answered(self, batch: Batch, outcomes: Outcomes, judged: bool, now: float) -> float:
        """Judge the provider by a batch's outcomes. Returns the seconds of the pause that begins now; 0: no pause.

        ``judged``: the provider has accepted or refused at least one of the pushes.
        """
        if (unanswered := _unanswered(batch, outcomes)) or self._overloaded(batch, outcomes):
            if pause := self._pause(outcomes.slow, now):
                self.slow(pause, now, *_asked(outcomes, unanswered))
            return pause
        if judged:
            if self._probing:  # a batch from before the pause says nothing about its end
                self.since, self._probing = None, False
            if outcomes.delivered:
                self._pace.reset()
        return 0.0

    def _overloaded(self, batch: Batch, outcomes: Outcomes) -> bool:
        """Whether the provider puts off too many. A single push waits by itself, unless it is the probe."""
        alone = 1 if self.since is None else 0
        return outcomes.put_off > max(alone, OVERLOADED * len(batch.recipients))

    def _pause(self, asked: float, now: float) -> float:
        """Seconds to leave the provider alone: as it says, or 1, 2, 4 … 60 while it keeps putting pushes off."""
        if now < self._news_after:
            return min(LONGEST_PAUSE, asked)  # sent before the pause: only what the provider itself says counts
        pause = min(LONGEST_PAUSE, max(asked, self._pace.next()))
        self._news_after = now + pause
        return pause


def _unanswered(batch: Batch, outcomes: Outcomes) -> bool:
    """Whether no push of a batch was answered. A single push does not count: one phone alone may be silent."""
    if len(outcomes.exceptions) < max(2, len(batch.recipients)):
        return False
    return all(entry.outcome is Outcome.UNKNOWN for entry in outcomes.exceptions)


def _asked(outcomes: Outcomes, unanswered: bool) -> tuple[str, str]:
    """The reason and the sentence of a pause."""
    if unanswered:
        return "silent", "the provider does not answer"
    words = Counter(entry.reason for entry in outcomes.exceptions if entry.outcome is Outcome.RETRY)
    word = f" ({words.most_common(1)[0][0]})" if words else ""
    return "quota", f"the provider asks for less{word}"
