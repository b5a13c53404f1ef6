"""Cursors of the API's lists: where the next part of a list begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from broadside.api.bounds import LARGEST_NUMBER
from broadside.errors import Problem, RecordError

T = TypeVar("T")
Place = TypeVar("Place")


def page(found: Sequence[T], limit: int, key: Callable[[int], tuple[int | str, ...]]) -> tuple[list[T], str | None]:
    """Return up to ``limit`` of what was ``found``, and the cursor of the rest, if one more was found.

    ``key``: an index → the parts of the cursor behind it.
    """
    more = len(found) > limit
    return list(found[:limit]), ".".join(map(str, key(limit - 1))) if more else None


def read_cursor(text: str, read: Callable[..., Place]) -> Place | None:
    """Read a cursor by its parts; None: it is empty. Raises ``RecordError``."""
    if not text:
        return None
    try:
        return read(*text.split(".", 1))
    except (ValueError, TypeError):
        what = "is no cursor of this list"
        raise RecordError(Problem("cursor", what, "leave it out, or send the `next` of the answer before")) from None


def number(text: str) -> int:
    """Read a part that is a number; raises ``ValueError``."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST_NUMBER):
        raise ValueError(text[:40])
    return int(text)
