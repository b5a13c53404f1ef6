"""Reads a record's attributes, as a file or a request gives them, into the form that is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from broadside.api.attributes import texts, times
from broadside.api.attributes.changes import Change
from broadside.api.attributes.countries import country
from broadside.api.attributes.locales import locale
from broadside.api.attributes.zones import zone

BLANKS = " \t\r\n\v\f\0\xa0\ufeff\u200b\u2060"
NOTHING = frozenset({"", "null", "none", "nil", "undefined", "nan", "\\n", "n/a", "(null)", "-", "--", "[]", "{}"})
"""Words for "not given", in lower case."""

_WORDS: dict[str, Callable[[str], str | None]] = {
    "locale": locale,
    "tz": zone,
    "country": country,
    "app_version": texts.short,
    "screen": texts.short,
}
# Caches of what each value becomes: a base has few different ones. Cleared at `_MOST`, so that a strange file cannot
# make them a leak.
_known: dict[str, dict[object, str | None]] = {name: {} for name in _WORDS}
_MOST = 20_000


def read(record: Mapping[str, object], latest: int) -> tuple[dict[str, Any], list[Change]]:
    """Return the attributes in ``record`` in their stored form (blank ones left out), and each change on the way.

    Other keys are left out. ``latest``: milliseconds after which a registration lies in the future.
    """
    stored: dict[str, Any] = {}
    changes: list[Change] = []
    for name, value in record.items():
        if value is None or value == "" or name not in ATTRIBUTES:
            continue
        normal, changed = one(name, value, latest)
        if normal not in (None, "", [], {}):
            stored[name] = normal
        changes += changed
    return stored, changes


def one(name: str, value: object, latest: int) -> tuple[Any, Sequence[Change]]:
    """Return the stored form of the attribute ``name``, and each change on the way. ``value`` is not blank."""
    if (known := _known.get(name)) is not None:
        try:
            normal = known[value]
        except (KeyError, TypeError):
            normal = _learn(name, value)
        return normal, () if normal == value else (Change(name, value, normal),)
    normal_, dropped = _other(name, value, latest)
    if dropped:
        return normal_, [Change(name, part, None) for part in dropped]
    return normal_, () if normal_ in (None, [], {}) or normal_ == value else (Change(name, value, normal_),)


def is_stored_form(name: str, value: str) -> bool:
    """Whether ``value`` is what ``read`` makes of itself."""
    known = _known[name]
    return not value or (known[value] if value in known else _learn(name, value)) == value


def _other(name: str, value: object, latest: int) -> tuple[Any, list[object]]:
    """Return the stored form of a time, of tags or fields, and what was dropped of it."""
    if not isinstance(value, str):
        return _OTHERS[name](value, latest)
    if name == "registered_at" and (at := times.registration(value, latest)) is not None:
        return at, []  # too many different ones to be cached
    known = _others_known[name]
    if (found := known.get(value)) is None:
        tidy = tidied(value)
        found = _OTHERS[name](tidy, latest) if tidy else (None, [])
        if len(known) >= _MOST:
            known.clear()
        if len(value) <= 256 and not found[1]:  # what lies in the future today does not for ever
            known[value] = found
    return found


def _learn(name: str, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    tidy = str(tidied(str(value)))
    normal = _WORDS[name](tidy) if tidy else ""
    known = _known[name]
    if len(known) >= _MOST:
        known.clear()
    if isinstance(value, str) and len(value) <= 256:  # 1, 1.0 and True would be one key
        known[value] = normal
    return normal


def tidied(value: object) -> object:
    """``value`` without blanks around it; empty if it is a word for nothing."""
    if not isinstance(value, str):
        return value
    plain = value.strip(BLANKS)
    return "" if plain.lower() in NOTHING else plain


def _time(value: object, latest: int) -> tuple[object, list[object]]:
    at = times.registration(value, latest)
    return at, [] if at is not None else [value]


def _minute(value: object, _: int) -> tuple[object, list[object]]:
    at = times.minute(value)
    return at, [] if at is not None else [value]


_OTHERS: dict[str, Callable[[object, int], tuple[object, list[object]]]] = {
    "registered_at": _time,
    "best_minute": _minute,
    "tags": lambda value, _: texts.tags(value),
    "fields": lambda value, _: texts.fields(value),
}
_others_known: dict[str, dict[str, tuple[Any, list[object]]]] = {name: {} for name in _OTHERS}

ATTRIBUTES = frozenset({*_WORDS, *_OTHERS})
