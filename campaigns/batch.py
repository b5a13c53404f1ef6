"""The recipients of one task with their message, and whether they may still be sent to."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

from campaigns.message import Message
from campaigns.recipient import Recipient

RECIPIENTS_A_BATCH = 500
"""Size of a task (`./dev bench choices`): with 100 a push costs a third more CPU, with 250 as much, with 1,000
11 % less; but batches in hand bound what a crash repeats, and double with it."""


class Leave(enum.Enum):
    """Whether more of a batch may be begun."""

    GIVEN = "given"
    AWAITED = "awaited"
    """It cannot be known just now whether the batch is still ours: begin nothing until it is."""
    GONE = "gone"
    """It is in other hands: what we would send now would be sent twice."""


def always() -> Leave:
    """For batches that nobody can take from us."""
    return Leave.GIVEN


@dataclass(frozen=True, slots=True)
class Batch:
    """The recipients of one task, with the message they get: from the take of the task to its settlement."""

    campaign: int
    """64-bit campaign id."""
    message: Message
    attempt: int
    """1 for the first try; waits grow with it."""
    expires_at: int
    """Milliseconds UTC after which nobody wants this push any more."""
    recipients: list[Recipient]
    """By rising id, unless they came back from an earlier attempt."""
    begin_until: float = math.inf
    """On ``trio.current_time()``: what is not begun by then comes back HELD, so that no lease runs out under way."""
    leave: Callable[[], Leave] = always
    """Asked before requests are begun, some at a time."""
    validate_only: bool = False
    """A dry run: the provider judges, and shows nothing to anybody. Where it cannot, nothing is sent (DROPPED)."""
    task_id: int = 0
    """The task's id on its tube. Tubes use ids again: only ``task_id`` and ``number`` together name this batch."""
    number: int = 0
    """The number of the take, which a queue never gives twice; 0: on no tube (a dry run)."""
    refusals: int = 0
    """How often these recipients themselves have refused: in the end they are given up for it."""
    remainder: bool = False
    """Came back from an earlier attempt: the recipients are some of those between the lowest and the highest id."""
