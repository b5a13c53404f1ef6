"""The recipients of one task with their message, and whether they may still be sent to."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

from campaigns.lane import Lane
from campaigns.message import Message
from campaigns.presentation import Presentation
from campaigns.recipient import Recipient
from campaigns.windows import MARGIN, Window

RECIPIENTS_A_BATCH = 500
"""Size of a task (`./dev bench choices`): with 100 a push costs a third more CPU; with 1,000 a tenth less, but batches
in hand bound what a crash repeats."""


class Leave(enum.Enum):
    """Whether more of a batch may be begun."""

    GIVEN = "given"
    AWAITED = "awaited"
    """Not known just now: the batch may no longer be ours, so begin nothing until it is known."""
    STOPPED = "stopped"
    """Its campaign is stopped: what is not begun goes back."""
    GONE = "gone"
    """Another worker may have the batch: a push that begins now would be sent twice."""


def unheard(left: set[int]) -> None:
    """For batches that are settled as a whole."""


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
    """On ``trio.current_time()``: pushes not begun by then are POSTPONED, so that no lease runs out on the way."""
    leave: Callable[[], Leave] = always
    """Called each time before the next few requests begin."""
    stragglers: Callable[[set[int]], None] = unheard
    """Called now and then while a few answers are late, with the indexes of ``recipients`` that have no delivery yet:
    all others are delivered, so that they can be settled."""
    validate_only: bool = False
    """A dry run: the provider judges the push and shows it to nobody. If it cannot, nothing is sent (DROPPED)."""
    task_id: int = 0
    """The task's id on its tube. Tubes reuse ids: only ``task_id`` and ``number`` together name this batch."""
    number: int = 0
    """The number of the take, which a queue never gives twice; 0: on no tube (a dry run)."""
    lane: Lane = Lane.MIDDLE
    """A batch of the upper lane goes before the requests of others that wait for a connection."""
    unsure: bool = False
    """Whether these recipients may have the push of an earlier try already, and are counted as such."""
    refusals: int = 0
    """Refusals of these recipients' own so far (``Fault.PHONE``): after too many they are given up."""
    texts: int = 0
    """The version of the message's texts."""
    replaces: int | None = None
    """The campaign whose push it replaces on the phone; None: its own, for a repeat."""
    presentation: Presentation = Presentation.AWAKE
    """How its pushes are shown."""
    window: Window | None = None
    """When its pushes may begin; None: no quiet hours hold for these recipients."""
    opens_at: float = -math.inf
    """Milliseconds UTC at which its window opened. Nothing is begun before: a clock that was fast may be set right."""
    closes_at: float = math.inf
    """Milliseconds UTC at which its window closes: nothing is begun then, and a provider keeps nothing for later."""

    def is_open(self, now: int) -> bool:
        """Whether its window is open. ``now``: milliseconds UTC."""
        return self.opens_at <= now < self.closes_at - MARGIN

    @property
    def collapse(self) -> int:
        """The campaign whose id stands for the place on the screen."""
        return self.campaign if self.replaces is None else self.replaces

    @property
    def kept_until(self) -> int:
        """Milliseconds UTC until which a provider may keep a push that it cannot deliver at once."""
        return int(min(self.expires_at, self.closes_at))
