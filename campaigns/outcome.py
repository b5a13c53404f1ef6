"""What becomes of one recipient's push: the outcomes, which of them are terminal, and where a fault lies."""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """What became of one recipient's push, in the order in which reports name them."""

    DELIVERED = "delivered"
    DEAD = "dead"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DROPPED = "dropped"
    CANCELLED = "cancelled"
    RETRY = "retry"
    """Not accepted for now: try again after ``Exceptional.after`` seconds."""
    UNKNOWN = "unknown"
    """Sent, never answered: tried again under the same collapse id, so that a repeat replaces the first."""
    POSTPONED = "postponed"
    """Not judged: never sent, or hit by a fault of the whole channel. Does not count as a try."""


AGAIN = frozenset({Outcome.RETRY, Outcome.UNKNOWN, Outcome.POSTPONED})
"""These come back as a later attempt. All other outcomes are terminal: a push has exactly one of them in its life."""
TERMINAL = tuple(outcome for outcome in Outcome if outcome not in AGAIN)
"""All terminal outcomes. ``storage/lua/roles/store/campaigns.lua`` has the same list, and a test compares them."""


class Fault(enum.Enum):
    """Where the fault lies when a push is not accepted. Only a phone's own refusals count towards giving it up."""

    PHONE = "phone"
    """This token, or this message to it. The others of the batch are judged by themselves."""
    CHANNEL = "channel"
    """The credential, the app, the project, its quota: every recipient of the channel would get the same answer."""
    MOMENT = "moment"
    """The provider or the connection to it, just now: busy, silent, restarting."""


class Death(enum.Enum):
    """How surely a provider's refusal means that a phone is gone. Broadside's own refusals are none of these."""

    CERTAIN = "certain"
    """No wrong key can cause it: deleted with the report."""
    LIKELY = "likely"
    """Kept with the campaign, and judged over the whole ring when it ends."""
    DOUBTFUL = "doubtful"
    """Kept as well; in practice nearly always a wrong environment, app or project."""
