"""The conditions of an audience, as a campaign keeps them and the store's page loop asks them of each row.

A row must keep all of them. An attribute that a row does not have keeps none, except ``tags_none``. The store compiles
them once for each campaign: ``storage/lua/roles/audience/predicate.lua``.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

OPERATORS = ("<=", ">=", "!=", "<", ">", "=")
MOST_NUMBERS, MOST_DIGITS = 8, 15
"""Numbers of a version that are compared, and digits of one: a double holds them exactly."""
_BOUND = re.compile(r"(<=|>=|!=|==|<|>|=)?\s*[vV]?(\d{1,15}(?:\.\d{1,15}){0,7})")


class Share(msgspec.Struct, frozen=True, omit_defaults=True):
    """A share of the base, drawn by a hash of the subscriber's id and a salt."""

    share: float
    """Above 0, up to 1."""
    salt: str
    """The same salt draws the same people: a larger share of it has all those of a smaller one, and others."""
    rest: bool = False
    """Everybody else."""


AppVersions = list[tuple[str, list[int]]]
"""Conditions that an app's version must all meet: for each an operator, and the numbers of a version."""


class Where(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The conditions; an empty one is none."""

    locales: list[str] = []
    """Language ranges: ``pt`` takes ``pt`` and ``pt-BR``."""
    zones: list[str] = []
    """IANA names."""
    countries: list[str] = []
    """ISO 3166 alpha-2."""
    app_version: AppVersions = []
    """Bounds that a version must all keep, compared number by number: 4.10 is above 4.9, and 4.2 equals 4.2.0."""
    screens: list[str] = []
    tags_any: list[str] = []
    """A row has one of them, or more,"""
    tags_all: list[str] = []
    """all of these,"""
    tags_none: list[str] = []
    """and none of these."""
    share: Share | None = None

    def plain(self) -> dict[str, Any]:
        """As the store keeps it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def version_bounds(text: str) -> AppVersions:
    """Read ``>=4.2,<5`` (raises ``ValueError`` for anything else). A version alone is that version."""
    bounds = []
    for part in text.split(","):
        found = _BOUND.fullmatch(part.strip())
        if found is None:
            raise ValueError(f'"{part.strip()}" is no bound of a version')
        operator = {None: "=", "==": "="}.get(found[1], found[1])
        bounds.append((operator, [int(number) for number in found[2].split(".")]))
    return bounds
