"""Finds a platform by its entry point, so that a new platform is a folder and one line of packaging."""

from __future__ import annotations

import functools
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points

from transports.contract import Platform
from transports.errors import TransportError

GROUP = "broadside.transports"


class UnknownPlatform(TransportError):
    """No installed package offers this platform."""


def platforms() -> list[str]:
    """Names of the installed platforms, sorted."""
    return sorted({point.name for point in _installed()})


def kinds() -> tuple[str, ...]:
    """The installed platforms' kinds of token, each once."""
    return tuple(dict.fromkeys(kind for name in platforms() for kind in load(name).kinds))


def load(platform: str) -> Platform:
    """Return a platform's description. Raises :class:`UnknownPlatform`, which names the known platforms."""
    for point in _installed().select(name=platform):
        found: Platform = point.load()
        return found
    known = ", ".join(platforms()) or "none: install broadside with its entry points"
    raise UnknownPlatform(f'platform: "{platform}" is not known; the known platforms: {known}')


def weight_of(platform: str) -> float:
    """``Platform.weight``; of a platform that is not installed here 1."""
    return load(platform).weight if platform in platforms() else 1.0


def load_transport(platform: str) -> None:
    """Import a platform's code for sending, too, which ``load`` leaves out: the module ``transport`` of its folder.

    Raises ``ImportError`` if there is none.
    """
    for point in _installed().select(name=platform):
        import_module(f"{point.module.rpartition('.')[0]}.transport")


@functools.cache
def _installed() -> EntryPoints:
    """Looked up once: each look reads the metadata of every installed package."""
    return entry_points(group=GROUP)
