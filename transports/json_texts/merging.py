"""Puts an editor's options over a message's defaults, and finds parts of the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(default: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` over ``default``, objects member by member; None removes a default (RFC 7396)."""
    found = dict(default)
    for name, value in given.items():
        if name == "headers" and value:
            # Header names are case-insensitive.
            wanted = {header.lower() for header in value}
            kept = {header: text for header, text in found.get(name, {}).items() if header.lower() not in wanted}
            found[name] = kept | {header: text for header, text in value.items() if text is not None}
        elif value is None:
            found.pop(name, None)
        elif isinstance(value, dict) and isinstance(found.get(name), dict):
            found[name] = merged(found[name], value)
        else:
            found[name] = value
    return found


def part(given: Mapping[str, Any], *path: str) -> Any:
    """The value at a path of names; None: something on the way is absent or empty."""
    value: Any = given
    for name in path:
        value = (value or {}).get(name)
    return value


def silent(given: Mapping[str, Any]) -> bool:
    """Whether the options ask for a message with only data: ``notification: null``."""
    return "notification" in given and given["notification"] is None
