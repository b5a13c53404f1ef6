"""Durations as people write them: ``90s``, ``15m``, ``2h``, ``1d``."""

from __future__ import annotations

import re

EXAMPLES = "90s, 15m, 2h or 1d"
_FORM = re.compile(r"(\d{1,9})([smhd]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> int | None:
    """Seconds, at least 1; None if it is no duration. A number alone is seconds."""
    found = _FORM.fullmatch(text.strip())
    return int(found[1]) * _UNITS[found[2]] or None if found else None
