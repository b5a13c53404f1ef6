"""Checks of a JSON body field by field, in the words of Google's APIs, which others took over."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from simulators.answers import Rejection

_DURATION = re.compile(r"(\d+)(?:\.\d{1,9})?s")

#: A check returns what is wrong with a value, or None.
Check = Callable[[Any, str], "Rejection | None"]


def invalid(message: str, field: str) -> Rejection:
    """A 400 whose details name a field."""
    return Rejection(400, "INVALID_ARGUMENT", message, field)


def is_a(kind: type | tuple[type, ...], name: str) -> Check:
    """A value of this type; ``name``: Google's name for it."""

    def check(value: Any, at: str) -> Rejection | None:
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return None
        return invalid(f"Invalid value at '{at}' ({name}), {value!r}", at)

    return check


text = is_a(str, "TYPE_STRING")
flag = is_a(bool, "TYPE_BOOL")
an_object = is_a(dict, "TYPE_MESSAGE")


def texts(value: Any, at: str) -> Rejection | None:
    """A list of texts."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return None
    return invalid(f"Invalid value at '{at}' (repeated TYPE_STRING)", at)


def text_map(value: Any, at: str) -> Rejection | None:
    """A string→string map."""
    if not isinstance(value, dict):
        return invalid(f"Invalid value at '{at}' (map)", at)
    for number, item in enumerate(value.values()):
        if not isinstance(item, str):
            where = f"{at}[{number}].value"
            return invalid(f"Invalid value at '{where}' (TYPE_STRING), {item!r}", where)
    return None


def choice(*names: str) -> Check:
    """One of these names, or its number."""

    def check(value: Any, at: str) -> Rejection | None:
        if isinstance(value, str) and value in names:
            return None
        # proto3's JSON takes an enum's number as well.
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
            return None
        return invalid(f"Invalid value at '{at}' (enum), {value!r}", at)

    return check


def matching(pattern: re.Pattern[str]) -> Check:
    """A text of this form."""

    def check(value: Any, at: str) -> Rejection | None:
        if isinstance(value, str) and pattern.fullmatch(value):
            return None
        if not isinstance(value, str):
            return invalid(f"Invalid value at '{at}' (TYPE_STRING), {value!r}", at)
        return invalid(f"{at} is {value!r}; it must match {pattern.pattern}", at)

    return check


def duration(value: Any, at: str) -> Rejection | None:
    """Seconds, as in ``3.5s``."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return None
    return invalid(f"Invalid value at '{at}' (Duration), Illegal duration format; duration must end with 's'", at)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda letter: letter[1].upper(), name)


def fields(known: Mapping[str, Check], *, exact: bool = False) -> Check:
    """An object of known fields, each under its snake_case or its camelCase name, never both; ``exact``: as given."""
    names = dict(known)
    canonical = {name: name for name in known}
    for name, inner_check in () if exact else known.items():
        camel = _camel(name)
        names[camel] = inner_check
        canonical[camel] = name

    def check(value: Any, at: str) -> Rejection | None:
        if not isinstance(value, dict):
            return invalid(f"Invalid value at '{at}' (TYPE_MESSAGE)", at)
        seen = set()
        for key, item in value.items():
            inner = names.get(key)
            if inner is None:
                where = at or "request"
                return invalid(
                    f"Invalid JSON payload received. Unknown name \"{key}\" at '{where}': Cannot find field.", at
                )
            name = canonical[key]
            path = f"{at}.{name}" if at else name
            if name in seen:
                return invalid(f"Invalid JSON payload received. '{path}' is set twice.", path)
            seen.add(name)
            if item is None:
                continue
            wrong = inner(item, path)
            if wrong is not None:
                return wrong
        return None

    return check
