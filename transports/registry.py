"""Finds a platform's transport by its entry point, so that a new platform is a folder and one line of packaging."""

from __future__ import annotations

from importlib.metadata import entry_points

from transports.contract import Build
from transports.errors import TransportError

GROUP = "broadside.transports"


class UnknownPlatform(TransportError):
    """No installed package offers this platform."""


def platforms() -> list[str]:
    """Names of the platforms that are installed, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load(platform: str) -> Build:
    """The ``build`` function of a platform. Raises :class:`UnknownPlatform`, naming those that are known."""
    for point in entry_points(group=GROUP, name=platform):
        build: Build = point.load()
        return build
    known = ", ".join(platforms()) or "none: install broadside with its entry points"
    raise UnknownPlatform(f'platform: "{platform}" is not known; known are {known}')
