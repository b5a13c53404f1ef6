"""Reads a platform's own options of a message strictly, for every platform whose options are msgspec Structs.

Names may be written as ``collapse_key`` or ``collapseKey``, as Google takes both; they are sent as the Struct has them.
``null`` removes a default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec
from msgspec import Struct

from transports.errors import PayloadError

_TYPES = {"bool": "true or false", "str": "a text", "object": "an object", "array": "an array", "int": "a whole number"}


class OptionReader:
    """Reads ``message.options.PLATFORM``."""

    def __init__(self, platform: str, kind: type[Struct], advice: Mapping[str, str]) -> None:
        """``kind``: its fields' annotations must be types, not texts. ``advice``: what a field must be, by its name or
        by its path below the options: the end of an error message.
        """
        self.root = f"message.options.{platform}"
        self._kind = kind
        self._advice = advice
        self._fields = dict(_structs(kind))

    def named(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write the options' names as the Struct does. Raises ``PayloadError`` for a name that it does not have."""
        plain: dict[str, Any] = self._canonical(dict(given), self._kind, self.root)
        return plain

    def check(self, plain: dict[str, Any]) -> None:
        """Raise ``PayloadError`` for a value that its field does not take: field, value and remedy."""
        try:
            msgspec.convert(plain, self._kind)
        except msgspec.ValidationError as error:
            raise self._explained(plain, error) from None

    def _canonical(self, value: Any, kind: type[Struct], where: str) -> Any:
        """``value`` with the Struct's own names at every level; the editor's own keys stay as is."""
        if not isinstance(value, dict):
            return value
        fields = self._fields[kind]
        found: dict[str, Any] = {}
        for name, inner in value.items():
            if name not in fields:
                known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
                raise PayloadError(f"{where}.{name}: unknown field; the known ones: {known}")
            plain, nested = fields[name]
            if plain in found:
                raise PayloadError(f"{where}.{plain}: is given twice (as {name} too); keep one")
            found[plain] = inner if nested is None else self._canonical(inner, nested, f"{where}.{plain}")
        return found

    def _explained(self, plain: dict[str, Any], error: msgspec.ValidationError) -> PayloadError:
        """Turn msgspec's error into our own: ``Expected `bool`, got `str` - at `$.android.direct_boot_ok```."""
        text, _, path = str(error).partition(" - at ")
        steps = re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path)
        value: Any = plain
        where, field = self.root, ""
        for name, index in steps:
            if name:
                value, where, field = value.get(name), f"{where}.{name}", name
            elif index == "...":
                # msgspec does not name a map's key: it is one whose value is no text (null may be right: it comes last)
                key = min(value, key=lambda key: (isinstance(value[key], str), value[key] is None))
                value, where, field = value[key], f"{where}.{key}", ""
            else:
                value, where = value[int(index)], f"{where}[{index}]"
        if missing := re.search(r"missing required field `(\w+)`", text):
            return PayloadError(f"{where}.{missing[1]}: is missing; {self._advice.get(missing[1], 'it is required')}")
        whole = where.removeprefix(f"{self.root}.")
        right = self._advice.get(whole) or self._advice.get(field)
        if right is None or isinstance(value, dict | list):
            expected = re.match(r"Expected `(\w+)", text)
            right = _TYPES.get(expected[1], expected[1]) if expected else text[:1].lower() + text[1:]
        return wrong(where, value, right)


def wrong(where: str, value: Any, right: str) -> PayloadError:
    """The error about a field's value. ``right``: what it must be."""
    written = msgspec.json.encode(value).decode()
    return PayloadError(f"{where}: {written if len(written) <= 60 else written[:59] + '…'} is not {right}")


def _structs(kind: type[Struct]) -> Iterator[tuple[type[Struct], dict[str, tuple[str, type[Struct] | None]]]]:
    """Per struct: a field's name in either spelling → the name that is sent, and the struct that it holds, if any."""
    names: dict[str, tuple[str, type[Struct] | None]] = {}
    for field in msgspec.structs.fields(kind):
        inside = (one for one in get_args(field.type) or (field.type,) if isinstance(one, type))
        nested = next((one for one in inside if issubclass(one, Struct)), None)
        camel = re.sub(r"_([a-z])", lambda letter: letter[1].upper(), field.name)
        names[field.name] = names[camel] = field.encode_name, nested
        if nested is not None:
            yield from _structs(nested)
    yield kind, names
