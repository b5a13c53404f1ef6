"""What is wrong with a channel that no node serves; the import and the node report it in the same words."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from broadside.errors import Problem, shown


def meant(name: str, known: Collection[str]) -> str:
    """The remedy for a channel that is none: the nearest name, and all there are."""
    near = difflib.get_close_matches(name, sorted(known), 1)
    return (f"did you mean {near[0]}? " if near else "") + f"served: {', '.join(sorted(known)) or 'none'}"


def unserved(name: str, known: Collection[str]) -> Problem:
    """What is wrong with a subscriber of channel ``name``."""
    return Problem("channel", f"no node serves {shown(name, 40)}", meant(name, known), name[:40])


def first_unserved(channels: Sequence[str], known: Collection[str] | None) -> tuple[int, Problem] | None:
    """The first of ``channels`` that is not ``known``, with its position; None: all are, or no node has joined yet."""
    if known is None or not set(channels).difference(known):
        return None
    return next((index, unserved(name, known)) for index, name in enumerate(channels) if name not in known)
