"""Decodes JSON from outside strictly into msgspec Structs: an unknown key at any depth is an error.

So is a text with a control character, a number that the store cannot keep, and deep nesting.

Stored records are read leniently, because another version may have written them; so the Structs themselves do not
forbid unknown fields.
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Collection, Iterable
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from broadside.api.bounds import DEEPEST, plain_problem
from broadside.errors import Problem, RecordError, shown

T = TypeVar("T", bound=msgspec.Struct)


def decode(body: bytes, cls: type[T], noun: str) -> T:
    """Decode ``body`` as a ``cls``, called ``noun`` in errors (raises ``RecordError``)."""
    plain = read(body, noun)
    try:
        if problem := plain_problem(plain) or unknown_field(plain, cls):
            raise RecordError(problem)
        return msgspec.convert(plain, cls)
    except RecursionError:
        raise RecordError(_too_deep()) from None
    except msgspec.ValidationError as error:
        raise RecordError(_misfit(plain, cls, noun, str(error))) from None


def parameters(given: list[tuple[str, str]], cls: type[T]) -> T:
    """Read the parameters of a request as a ``cls`` (raises ``RecordError``)."""
    names = [name for name, _ in given]
    known = [field.encode_name for field in msgspec.structs.fields(cls)]
    for name in names:
        if name not in known:
            raise RecordError(unknown(name[:64], name, known, "parameter"))
        if names.count(name) > 1:
            raise RecordError(Problem(name, f"is given {names.count(name)} times", "give it once"))
    plain = dict(given)
    if problem := plain_problem(plain):
        raise RecordError(problem)
    try:
        return msgspec.convert(plain, cls, strict=False)
    except msgspec.ValidationError as error:
        raise RecordError(_misfit(plain, cls, "a parameter", str(error))) from None


def read(body: bytes, noun: str) -> object:
    """Decode ``body`` as any JSON in UTF-8, with or without a byte order mark (raises ``RecordError``)."""
    try:
        decoded: object = msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except RecursionError:
        raise RecordError(_too_deep()) from None
    except UnicodeDecodeError as error:
        raise RecordError(Problem("body", f"is not UTF-8 (byte {error.start} of a text)", "send UTF-8")) from None
    except (msgspec.MsgspecError, ValueError) as error:
        if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in body[:2]:
            raise RecordError(Problem("body", "is UTF-16", "send UTF-8")) from None
        raise RecordError(Problem("body", f"is not {noun}: {error}", _EXAMPLE)) from None
    return decoded


def _too_deep() -> Problem:
    return Problem("body", "is nested too deeply", f"at most {DEEPEST} levels")


def _misfit(plain: object, cls: type[T], noun: str, said: str) -> Problem:
    """Explain msgspec's error about a field: ``Expected `str`, got `int` - at `$.message.data[...]```."""
    text, _, path = said.partition(" - at `")
    if missing := re.search(r"missing required field `(\w+)`", text):
        steps = [name for name, _ in _STEPS.findall(path)]
        return Problem(".".join([*steps, missing[1]]), "is missing", _EXAMPLE)
    where, value = _found(plain, cls, path)
    if words := _words(cls, [name for name, _ in _STEPS.findall(path)]):
        return Problem(where, f"{shown(value)} is none of the known words", f"one of {', '.join(words)}", shown(value))
    expected = re.match(r"Expected `(\w+)[^`]*`(?: ([<>]=?) (-?\d+))?", text)
    if not where or expected is None:
        what = f"is not {noun}: {text}" if not where else f"{shown(value)} is wrong: {text[:1].lower()}{text[1:]}"
        return Problem(where or "body", what, _EXAMPLE)
    kind, sign, number = expected.groups()
    right = f"a number {_BOUNDS[sign]} {number}" if number and sign in _BOUNDS else _TYPES.get(kind, kind)
    if kind == "str" and isinstance(value, bool | int | float):
        remedy = f'write "{shown(value)}"'
    else:
        remedy = "leave it out, or give it a value" if value is None else _EXAMPLE
    return Problem(where[:200], f"{'null' if value is None else shown(value)} is not {right}", remedy, shown(value, 40))


def _words(kind: Any, steps: list[str]) -> list[str]:
    """The words that the field at the end of ``steps`` takes; empty if it takes others, too."""
    for name in steps:
        fields = {field.encode_name: field for inner in _structs(kind) for field in msgspec.structs.fields(inner)}
        kind = fields[name].type if name in fields else None
    inside = [kind, *get_args(kind)]
    return [word for one in inside if get_origin(one) is Literal for word in get_args(one)]


def _found(plain: Any, cls: type[T], path: str) -> tuple[str, Any]:
    """The place of a misfit, and its value. msgspec does not name a map's key: it is found by halves."""
    where, value = "", plain
    for name, index in _STEPS.findall(path):
        if name:
            value, where = value[name], f"{where}.{name}" if where else name
        elif index != "...":
            value, where = value[int(index)], f"{where}[{index}]"
        else:
            left = list(value.items())
            while len(left) > 1:
                half = left[: len(left) // 2]
                value.clear()
                value.update(half)
                try:
                    msgspec.convert(plain, cls)
                except msgspec.ValidationError:
                    left = half
                else:
                    left = left[len(half) :]
            ((key, inner),) = left
            value.clear()
            value[key] = inner
            value, where = inner, f"{where}.{key[:64]}"
    return where, value


_STEPS = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_TYPES = {"bool": "true or false", "str": "a text", "object": "an object", "array": "an array", "int": "a whole number"}
_BOUNDS = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}
_EXAMPLE = "docs/operating.md shows one"


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
            for place, part in _parts(fields[name].type, value, path):
                if problem := unknown_field(part, inner, place):
                    return problem
    return None


def _parts(kind: Any, value: object, path: str) -> Iterable[tuple[str, object]]:
    """Where the Structs of a field lie: one in the field itself, or several in its list or map."""
    if isinstance(value, list):
        return [(f"{path}[{number}]", part) for number, part in enumerate(value)]
    if isinstance(value, dict) and get_origin(kind) is dict:
        return [(f"{path}.{key[:64]}", part) for key, part in value.items()]
    return [(path, value)]


def unknown(where: str, name: str, known: Collection[str], noun: str = "field") -> Problem:
    """The problem of an unknown ``name`` at ``where``, with the nearest known name, and all of them."""
    near = difflib.get_close_matches(name[:64], list(known), 1)
    guess = f'did you mean "{near[0]}"? ' if near else ""
    return Problem(where, f"unknown {noun}", f"{guess}known: {', '.join(known) or 'none'}", shown(name, 40))


def _structs(kind: Any) -> list[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for part in get_args(kind) for found in _structs(part)]
