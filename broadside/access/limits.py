"""What a key may fire: its channels, its kinds, and the largest audience."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from broadside.errors import Problem, RecordError, shown


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """None: no limit."""

    channels: AbstractSet[str] | None = None
    kinds: AbstractSet[str] | None = None
    most: int | None = None
    """Phones of an audience."""

    def check_channels(self, channels: AbstractSet[str] | None) -> None:
        """Raise ``RecordError`` for channels that the key is not for. None: all."""
        if self.channels is None:
            return
        known = f"it is for {', '.join(sorted(self.channels))}"
        if channels is None:
            raise RecordError(Problem("channels", "your key is not for all channels: name them", known))
        if others := sorted(channels - self.channels):
            raise RecordError(Problem("channels", f"your key is not for {shown(others[0])}", known, others[0][:40]))

    def check_kind(self, kind: str) -> None:
        """Raise ``RecordError`` for a kind that the key is not for."""
        if self.kinds is not None and kind not in self.kinds:
            known = f"it is for {', '.join(sorted(self.kinds))}"
            raise RecordError(Problem("kind", f"your key is not for the kind {shown(kind)}", known, kind[:40]))

    def check_size(self, phones: int) -> None:
        """Raise ``RecordError`` for an audience that is too large."""
        if self.most is not None and phones > self.most:
            what = f"goes to {phones:,} phones, and your key is for {self.most:,} at most"
            raise RecordError(Problem("audience", what, "choose fewer, or ask somebody whose key is for more"))


NO_LIMITS = KeyLimits()
