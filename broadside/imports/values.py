"""What the values of an attribute become: each different value of a column is read once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from broadside.api.attributes import reading
from broadside.api.attributes.changes import Change
from broadside.api.subscriber import Subscriber

DEFAULTS: dict[str, Any] = {
    field.name: field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    for field in msgspec.structs.fields(Subscriber)
}
_ALL_DIFFERENT = frozenset({"registered_at", "fields"})
"""Nearly every row has another value: remembering them would only cost memory."""
_SIMPLE = frozenset({str, int, type(None)})
"""Not bool and float: 1, 1.0 and True would be one key."""
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
_NO_JSON = (msgspec.EncodeError, ValueError, ArithmeticError, RecursionError)


def keys_of(values: Sequence[object]) -> Sequence[Hashable] | None:
    """Return a key for each value, equal only for values that are read equally: texts and integers, or JSON.

    None: one of the values is no JSON.
    """
    if set(map(type, values)) <= _SIMPLE:
        return values
    try:
        return [value if type(value) in _SIMPLE else _encode(value) for value in values]
    except _NO_JSON:
        return None


class Table:
    """What the values of one attribute become, by the keys of the values."""

    def __init__(self, name: str, latest: int) -> None:
        self._name, self._latest = name, latest
        self.stored: dict[Hashable, object] = {}
        self.converted: dict[Hashable, int] = {}
        """How many conversions a value costs, if any."""
        self.dropped: dict[Hashable, int] = {}
        self.changes: dict[Hashable, Sequence[Change]] = {}

    def learn(self, keys: Iterable[Hashable]) -> None:
        default = DEFAULTS[self._name]
        for key in keys:
            if key is None or key == "":
                self.stored[key] = default
                continue
            value = _decode(key) if isinstance(key, bytes) else key
            stored, changes = reading.one(self._name, value, self._latest)
            self.stored[key] = default if stored in (None, "", [], {}) else stored
            if changes:
                self.changes[key] = changes
                dropped = sum([change.dropped for change in changes])
                if dropped:
                    self.dropped[key] = dropped
                if dropped < len(changes):
                    self.converted[key] = len(changes) - dropped


class ReadColumn(NamedTuple):
    """An attribute's values and what they become; whether any of them is changed."""

    keys: Sequence[Hashable]
    stored: list[object]
    table: Table
    changed: bool


class KnownValues:
    """What the values of each attribute become. It grows with the text that was read: begin again now and then."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._tables: dict[str, Table] = {}

    def column(self, name: str, keys: Sequence[Hashable], latest: int) -> ReadColumn:
        """Return what each of ``keys`` becomes."""
        if name in _ALL_DIFFERENT or name not in self._tables:
            self._tables[name] = Table(name, latest)
        table = self._tables[name]
        different = set(keys)
        table.learn(different - table.stored.keys())
        changed = not table.changes.keys().isdisjoint(different)
        return ReadColumn(keys, list(map(table.stored.__getitem__, keys)), table, changed)
