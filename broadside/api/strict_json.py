"""Decodes JSON from outside strictly into msgspec Structs: an unknown key at any depth is an error.

So is a text with a control character, a number that the store cannot keep, and deep nesting.

Stored records are read leniently, because another version may have written them; so the Structs themselves do not
forbid unknown fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, TypeVar, get_args

import msgspec

from broadside.api.bounds import DEEPEST, plain_problem
from broadside.errors import Problem, RecordError, shown

T = TypeVar("T", bound=msgspec.Struct)


def decode(body: bytes, cls: type[T], noun: str) -> T:
    """Decode ``body`` as a ``cls``, called ``noun`` in errors (raises ``RecordError``)."""
    try:
        plain = msgspec.json.decode(body)
        if problem := plain_problem(plain) or unknown_field(plain, cls):
            raise RecordError(problem)
        return msgspec.convert(plain, cls)
    except RecursionError:
        raise RecordError(Problem("body", "is nested too deeply", f"at most {DEEPEST} levels")) from None
    except UnicodeDecodeError as error:
        raise RecordError(Problem("body", f"is not UTF-8 (byte {error.start} of a text)", "send UTF-8")) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise RecordError(Problem("body", f"is not {noun}: {error}", "docs/operating.md shows one")) from None


def unknown_field(plain: object, cls: type[msgspec.Struct], where: str = "") -> Problem | None:
    """Find the first key of ``plain`` that ``cls``, or a Struct inside it, does not have."""
    if not isinstance(plain, dict):
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    for name, value in plain.items():
        path = f"{where}.{name}" if where else name
        if name not in fields:
            return unknown(path[:200], name, fields)
        for inner in _structs(fields[name].type):
            parts = enumerate(value) if isinstance(value, list) else [(None, value)]
            for number, part in parts:
                place = path if number is None else f"{path}[{number}]"
                if problem := unknown_field(part, inner, place):
                    return problem
    return None


def unknown(where: str, name: str, known: Collection[str], noun: str = "field") -> Problem:
    """The problem of an unknown ``name`` at ``where``, with the nearest known name, and all of them."""
    near = difflib.get_close_matches(name[:64], list(known), 1)
    guess = f'did you mean "{near[0]}"? ' if near else ""
    return Problem(where, f"unknown {noun}", f"{guess}known: {', '.join(known) or 'none'}", shown(name, 40))


def _structs(kind: Any) -> list[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for part in get_args(kind) for found in _structs(part)]
