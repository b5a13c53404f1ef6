"""The recipients of one task with their message, and whether they may still be sent to."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

from campaigns.message import Message
from campaigns.recipient import Recipient


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
    """The recipients of one task, with the message they get."""

    campaign: int
    """64-bit campaign id."""
    message: Message
    attempt: int
    """1 for the first try; waits grow with it. How often the phone itself refused is not in it."""
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
