"""What a mailbox tells about itself: its figures, and the messages it had to give up."""

from __future__ import annotations

from dataclasses import dataclass

from supervision.events import log


@dataclass(frozen=True, slots=True)
class MailboxStatistics:
    """The figures of a mailbox.

    `depth` messages wait, `peak` is the most that ever did, `oldest` the age in seconds of the one that waits
    longest; `in_hand` were received and are not acknowledged yet, `senders` wait for room; `received` and
    `dead_letters` count since the mailbox was made.
    """

    capacity: int
    depth: int
    peak: int
    oldest: float
    in_hand: int
    senders: int
    received: int
    dead_letters: int
    closed: bool
    served: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message which a mailbox had accepted and nobody will have handled."""

    mailbox: str
    message: object
    why: str


def log_dead_letter(letter: DeadLetter) -> None:
    """Write a dead letter to the logger `supervision`, by its type only: a message may hold tokens."""
    log.warning("mailbox %s: dead letter (%s): %s", letter.mailbox, type(letter.message).__name__, letter.why)
