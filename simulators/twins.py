"""Finds a platform's twin by its entry point, so that a new twin is its own files and one line of packaging."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from simulators.errors import TwinError

if TYPE_CHECKING:
    from simulators.provider import BuildTwin

GROUP = "broadside.twins"
"""Its entries have the names of the platforms (groups ``broadside.transports.vN``)."""


def names() -> list[str]:
    """Platforms that have a twin, sorted. Loads none of them."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load(platform: str) -> BuildTwin:
    """Return the function that builds a platform's twin. Raises ``TwinError``, which names the available twins."""
    for point in entry_points(group=GROUP, name=platform):
        found: BuildTwin = point.load()
        return found
    known = ", ".join(names()) or "none: install broadside with its entry points"
    raise TwinError(f'platform "{platform}" has no twin; these have one: {known}')
