"""Time zones, offsets and Windows names → IANA time zones."""

from __future__ import annotations

import functools
import re

from broadside.api.attributes.cldr import table
from campaigns.quiet_hours import zones_known

_QUARTER, _WEST, _EAST = 900, -12 * 3600, 14 * 3600
_PLACES = {
    -34_200: "Pacific/Marquesas",
    -12_600: "America/St_Johns",
    12_600: "Asia/Tehran",
    16_200: "Asia/Kabul",
    19_800: "Asia/Kolkata",
    20_700: "Asia/Kathmandu",
    23_400: "Asia/Yangon",
    31_500: "Australia/Eucla",
    34_200: "Australia/Darwin",
    45_900: "Pacific/Chatham",
}
"""Seconds east → the zone that has this standard time: there is no ``Etc/GMT`` zone between full hours."""
_OFFSET = re.compile(r"([+-])(\d{1,2})(?::?([0-5]\d))?")
_SECONDS = re.compile(r"[+-]?\d{1,5}")


@functools.cache
def _folded() -> dict[str, str]:
    return {name.lower(): name for name in zones_known()}


def zone(text: str) -> str | None:
    """Return ``text`` as an IANA zone, as in ``GMT+3`` → ``Etc/GMT-3``, ``19800`` → ``Asia/Kolkata``; None: it is none.

    A number is seconds east of Greenwich, unless it can be read as ``+hhmm``.
    """
    if text in zones_known():
        return text
    if found := _folded().get(text.lower().replace(" ", "_")):
        return found
    if text.upper() == "Z":
        return "UTC"
    bare = re.sub(r"^(?:GMT|UTC)\s*", "", text, flags=re.IGNORECASE)
    if parts := _OFFSET.fullmatch(bare):
        seconds = int(parts[2]) * 3600 + int(parts[3] or 0) * 60
        if found := _of_offset(-seconds if parts[1] == "-" else seconds):
            return found
    if _SECONDS.fullmatch(text):
        return _of_offset(int(text))
    place: str | None = table("windows_zone_mapping").get(text)
    return place if place in zones_known() else None


def _of_offset(seconds: int) -> str | None:
    """The zone that is always ``seconds`` east of Greenwich. The signs of ``Etc/GMT`` zones point west (POSIX)."""
    if not _WEST <= seconds <= _EAST or seconds % _QUARTER:
        return None
    if seconds % 3600:
        return _PLACES.get(seconds)
    return f"Etc/GMT{-seconds // 3600:+d}" if seconds else "UTC"
