"""A campaign: a message, whom it is for, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from campaigns.message import Message

State = Literal["draft", "firing", "pausing", "paused", "done", "cancelling", "cancelled"]
ENDED: tuple[State, ...] = ("done", "cancelled")
"""Nothing more happens to a campaign in one of these states."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign with the sums of its ledger."""

    id: int
    version: int
    state: State
    message: Message
    audience: list[str] | None
    """Channel names; None: all."""
    policy: dict[str, Any]
    created_at: int
    fired_at: int | None
    finished_at: int | None
    walked: bool
    """Every segment has been walked to its end."""
    tallies: dict[str, dict[str, int]] = field(default_factory=dict)
    """channel -> word -> count: see ``campaigns.tally``."""
    reasons: dict[str, dict[str, int]] = field(default_factory=dict)
    removed_before: dict[str, int] = field(default_factory=dict)
    """channel -> how many subscribers had ever left it when the campaign was fired."""
    unserved: dict[str, int] = field(default_factory=dict)
    """channel -> subscribers that were left out at Fire, because no node served their channel."""

    @property
    def channels(self) -> frozenset[str]:
        """The channels that a fired campaign goes to: those of its audience, fixed by Fire."""
        return frozenset(self.audience or ())

    @property
    def expires_at(self) -> int:
        """Milliseconds UTC after which nobody wants its pushes any more."""
        return (self.fired_at or self.created_at) + int(self.policy["ttl_ms"])
