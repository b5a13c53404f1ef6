"""Finds a platform by its entry point, so that a new platform is a folder and one line of packaging.

The group of the entry point names the version of the contract that the platform was written for. So another version is
known without running any code of the platform, which may not even import.
"""

from __future__ import annotations

import functools
import re
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import NamedTuple

from transports.contract import CONTRACT, Platform
from transports.errors import TransportError

_GROUP = re.compile(r"broadside\.transports(?:\.v(\d{1,9}))?")
"""Without a version: written before the contract had one."""
GROUP = f"broadside.transports.v{CONTRACT}"


class UnknownPlatform(TransportError):
    """No installed package offers this platform."""


class OtherContract(NamedTuple):
    """Why a platform that is installed cannot be used."""

    what: str
    """Reads on after the platform's name."""
    remedy: str


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
    if (other := other_contract(platform)) is not None:
        raise UnknownPlatform(f'platform: "{platform}" {other.what} ({other.remedy})')
    known = ", ".join(platforms()) or "none: install broadside with its entry points"
    raise UnknownPlatform(f'platform: "{platform}" is not known; the known platforms: {known}')


def weight_of(platform: str) -> float:
    """``Platform.weight``; of a platform that is not installed here 1."""
    return load(platform).weight if platform in platforms() else 1.0


def other_contract(platform: str) -> OtherContract | None:
    """Why a platform cannot be used that is installed for another version of the contract; None: none of that name is.

    Loads nothing of it.
    """
    for point in entry_points(name=platform):
        group = _GROUP.fullmatch(point.group)
        if group is None or point.group == GROUP:
            continue
        package = _package(point)
        theirs = f"version {group[1]}" if group[1] else "a time before its versions"
        what = f"is written for {theirs} of the platform contract, and this Broadside has version {CONTRACT}"
        remedy = f"install a {package} for version {CONTRACT}"
        if group[1] and int(group[1]) > CONTRACT:
            remedy += f", or a newer Broadside, which has version {group[1]}"
        return OtherContract(f"of {package} {what}", remedy)
    return None


def load_transport(platform: str) -> None:
    """Import a platform's code for sending, too, which ``load`` leaves out: the module ``transport`` of its folder.

    Raises ``ImportError`` if there is none. A platform in one module has been imported already.
    """
    for point in _installed().select(name=platform):
        if package := point.module.rpartition(".")[0]:
            import_module(f"{package}.transport")


def _package(point: EntryPoint) -> str:
    """The installed package that an entry point is from."""
    return point.dist.name if point.dist is not None else point.module.partition(".")[0]


@functools.cache
def _installed() -> EntryPoints:
    """Looked up once: each look reads the metadata of every installed package."""
    return entry_points(group=GROUP)
