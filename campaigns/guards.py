"""What stands between an editor and a Fire by mistake, as a newsroom has set it."""

from __future__ import annotations

import msgspec

LONGEST_REPEAT = 7 * 86400
"""Seconds for which the store remembers texts (``repeats.lua``)."""


class Guards(msgspec.Struct, frozen=True, kw_only=True):
    """``[guards]``, read."""

    repeat: int = 30 * 60
    """Seconds within which the same text may not go to the same channels again; 0: it may."""
    approval_above: int | None = None
    """Phones of an audience above which another person approves; None: nobody need."""
    approval_for: int = 12 * 3600
    """Seconds for which an approval holds."""


NO_GUARDS = Guards(repeat=0)
