"""Problems with channels that no node serves; the import and the node report them in the same words."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from broadside.errors import Problem, shown


def meant(name: str, known: Collection[str]) -> str:
    """The remedy for an unknown channel: the nearest name, and all served channels."""
    near = difflib.get_close_matches(name[:64], sorted(known), 1)
    return (f"did you mean {near[0]}? " if near else "") + f"served: {', '.join(sorted(known)) or 'none'}"


def unserved(name: str, known: Collection[str]) -> Problem:
    """The problem of a subscriber on the unserved channel ``name``."""
    return Problem("channel", f"no node serves {shown(name, 40)}", meant(name, known), name[:40])
