"""How a push is shown: awake, or asleep."""

from __future__ import annotations

import enum


class Presentation(enum.Enum):
    """How a phone shows a push."""

    AWAKE = "awake"
    """As it is written: with its sound, and with the urgency of its platform."""
    ASLEEP = "asleep"
    """It wakes nobody: no sound, no vibration, no lit screen. It waits on the phone until it is looked at."""
