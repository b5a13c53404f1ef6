"""A crash in words: one line about an error, for people who look at the tree and not at the log."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

LONGEST = 200
"""Characters."""
_SECRET = re.compile(r"(?=[^\d\s]*\d)[\w.:+=~-]{32,}")
"""What may be a token or a key: a long run with a digit in it. The log has it in full."""


@dataclass(frozen=True, slots=True)
class Crash:
    """The last crash of an actor."""

    words: str
    at: float
    """Seconds UTC."""

    @classmethod
    def of(cls, error: BaseException) -> Crash:
        """Describe an error that has just been caught."""
        return cls(in_words(error), time.time())


def in_words(error: BaseException) -> str:
    """The first cause in one line (not that a supervisor gave up because of it), without what may be a secret."""
    while (cause := _cause(error)) is not None:
        error = cause
    text = _SECRET.sub("…", str(error).strip().partition("\n")[0][:1000])
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _cause(error: BaseException) -> BaseException | None:
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
