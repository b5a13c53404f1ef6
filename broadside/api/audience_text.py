"""An audience's conditions in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST = 6
"""Values that are named; of more, how many there are."""


def audience_words(conditions: Mapping[str, Any]) -> str:
    """Say whom a campaign is for. ``conditions``: as the store keeps them (``campaigns.where``).

    ``in DE or FR; any of sport, weather; not politics; a drawn 5 %``. Empty: everybody on its channels.
    """
    parts = [words for name, say in _PARTS.items() if (words := say(conditions.get(name) or []))]
    if bounds := conditions.get("app_version"):
        parts.append("app " + " and ".join(f"{operator} {_version(numbers)}" for operator, numbers in bounds))
    if share := conditions.get("share"):
        percent = f"{100 * share['share']:g} %"
        parts.append(f"everybody but a drawn {percent}" if share.get("rest") else f"a drawn {percent}")
    return "; ".join(parts)


def _version(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))


def _listed(values: Sequence[str], joint: str) -> str:
    named = [str(each) for each in values[:MOST]]
    more = len(values) - MOST
    if more > 0:
        return f"{', '.join(named)} {joint} {more} more"
    return f"{', '.join(named[:-1])} {joint} {named[-1]}" if len(named) > 1 else "".join(named)


def _in(noun: str, joint: str = "or") -> Any:
    return lambda values: f"{noun} {_listed(values, joint)}" if values else ""


_PARTS: Mapping[str, Any] = {
    "locales": _in("reads"),
    "countries": _in("in"),
    "zones": _in("in the time zone"),
    "screens": _in("screen"),
    "tags_any": _in("with the tag"),
    "tags_all": _in("with all of", "and"),
    "tags_none": _in("without"),
}
