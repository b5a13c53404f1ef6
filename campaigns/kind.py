"""The kinds of news: how a campaign is sent unless its request says otherwise."""

from __future__ import annotations

import msgspec

from campaigns.lane import Lane
from campaigns.message import Urgency
from campaigns.windows import QuietRule


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of news. Fire copies it into the campaign: a later change of the configuration changes none."""

    lane: Lane = Lane.MIDDLE
    quiet: QuietRule = QuietRule.HOLD
    quiet_hours: str | None = None
    """Its own quiet hours, as ``quiet_hours.read_hours`` reads them; None: the newsroom's."""
    urgency: Urgency = "normal"
    ttl: int = 4 * 3600
    """Seconds after which the news expires."""
    rate: float | None = None
    """People a second (``campaigns.herd``); 0: no limit; None: the newsroom's rate."""
    ramp: float | None = None
    """Seconds over which the rate rises; None: the newsroom's."""
    budget: int | None = None
    """Campaigns of this kind a day from which on a phone had enough; None: nobody counts."""


USUAL = "news"
"""The kind of a campaign that names none."""
BUILT_IN = {
    "breaking": Kind(lane=Lane.UPPER, quiet=QuietRule.BREAK_THROUGH, urgency="high"),
    USUAL: Kind(),
    "digest": Kind(lane=Lane.LOWER, urgency="low", ttl=12 * 3600),
}
