"""The API's records about refused tokens: questions, answers, and the undo."""

from __future__ import annotations

import msgspec

QUESTIONS = ("stopped", "asked")
"""States in which a person is asked."""


class DeadEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that a provider refused in one campaign on one channel. Times are milliseconds UTC."""

    channel: str
    campaign: str
    state: str
    """``stopped`` and ``asked``: a question is open; ``collecting``: not yet judged; ``few``: too few to judge;
    ``deleting``; ``confirmed``, ``denied`` and ``forgetting``: a person has answered; ``closed``."""
    since: int
    delivered: int
    likely: int
    """Refused as if the phone were gone (UNREGISTERED, 410 without a usable timestamp)."""
    doubtful: int
    """Refused in a way that a wrong key causes too (BadDeviceToken, SENDER_ID_MISMATCH)."""
    postponed: int
    """Phones whose pushes wait for the answer, as far as one worker knows."""
    kept: int
    """Refused tokens that wait for a verdict or an answer."""
    removed: int
    """Tokens deleted within the last day; `restore` brings them back."""
    share: float
    """Refused ÷ (delivered + refused)."""
    limit: float
    reasons: dict[str, int] = {}
    examples: list[int] = []
    """Some subscribers' ids."""
    text: str = ""
    """The question in plain words."""

    @property
    def open(self) -> bool:
        """Whether a person is asked."""
        return self.state in QUESTIONS


class DeadPage(msgspec.Struct, frozen=True):
    """Open questions, refusals that wait for a verdict, and deletions of the last day; the newest campaign first."""

    items: list[DeadEntry]
    next: str | None
    """The ``cursor`` of the entries after these; null: these were the last."""


class DeadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which questions about refused tokens are answered."""

    channel: str
    campaign: str | None = None
    """None: all of the channel's questions."""


class DeadRestore(msgspec.Struct, frozen=True, kw_only=True):
    """Which deletions are undone: of a channel, of a campaign, or of a campaign on a channel."""

    channel: str | None = None
    campaign: str | None = None


class DeadAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """The questions that an answer has settled."""

    channel: str
    campaigns: list[str]
    kept: int
    """Refused tokens that were kept: deleted after `confirm`, forgotten after `keep`."""


class DeadRestored(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an undo."""

    restored: int
    registered_again: int
    """Phones that had registered again, so there was nothing to restore."""
