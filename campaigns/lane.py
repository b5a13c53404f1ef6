"""The lane of a campaign: which of two campaigns goes first where both have something to send."""

from __future__ import annotations

import enum


class Lane(enum.IntEnum):
    """A campaign's lane, as batches carry it. ``storage/lua/roles/tubes/lanes.lua`` has the same numbers."""

    MIDDLE = 0
    UPPER = 1
    LOWER = 2

    @classmethod
    def named(cls, word: object) -> Lane:
        """Read a lane's name, as a campaign's policy has it. A name that a later version made is the middle lane."""
        return _NAMES.get(word, cls.MIDDLE) if isinstance(word, str) else cls.MIDDLE

    @property
    def word(self) -> str:
        """The lane's name in the configuration and in a campaign's policy."""
        return self.name.lower()


_NAMES = {lane.word: lane for lane in Lane}
