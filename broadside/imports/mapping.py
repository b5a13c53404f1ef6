"""Which column of a foreign file is which field of a subscriber: a map file (TOML), or one of the presets.

A preset is a map file that comes with Broadside (the folder ``presets``).
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import msgspec

from broadside.api import strict_json
from broadside.api.attributes.reading import BLANKS
from broadside.api.subscriber import FIELDS
from broadside.errors import UsageError, shown

PRESETS = ("onesignal", "pinpoint", "airship", "gorush", "tokens")
TARGETS = (*FIELDS, "platform")
"""``platform`` chooses the row's channel: the one of that platform."""


UNKNOWN = 100
"""Columns that mean nothing to us whose names are kept."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of one column."""

    field: str = ""
    """Empty: nothing is stored, the column only decides which rows are left out."""
    values: dict[str, str] = {}
    """Value in the file → value of the field. A row whose platform or channel is not among them is left out."""
    split: str = ""
    """The text between the tags in one cell."""
    skip: list[str] = []
    """Rows with one of these values are left out."""


class MapFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A map file."""

    columns: dict[str, str | Column] = {}
    each: str = ""
    """A column that holds an array; every entry becomes a row."""
    header: bool = True
    """False: the file has one token a line, and no header."""


class Skipped(Exception):
    """A row is left out, as the map says. The text is the reason."""


class Named(NamedTuple):
    """Columns by the fields that they become, each with a value for each row."""

    fields: dict[str, Sequence[object]]
    own: dict[str, Sequence[object]]
    """The columns of ``fields``, by the names of a subscriber's own fields."""
    odd: set[int]
    """Rows that must be read one by one: they are left out, or hold what no column can."""


class Mapping:
    """Names the values of a record after the fields of a subscriber."""

    def __init__(self, map_file: MapFile | None = None, source: str = "") -> None:
        """Use ``map_file``, called ``source`` in errors, beside the names of Broadside itself."""
        self.map_file = map_file or MapFile()
        self.mapped = map_file is not None
        self.unknown: dict[str, None] = {}
        """The first columns that mean nothing to us."""
        self._columns: dict[str, Column] = {}
        for name, given in self.map_file.columns.items():
            column = Column(given) if isinstance(given, str) else given
            if column.field and column.field not in TARGETS and not _own(column.field):
                problem = strict_json.unknown(f"columns.{name}", column.field, TARGETS)
                raise UsageError(f"{source}: {problem}, or fields.NAME")
            self._columns[_folded(name)] = Column(
                column.field,
                {_folded(value): to for value, to in column.values.items()},
                column.split,
                [_folded(value) for value in column.skip],
            )
        self._found: dict[str, Column | None] = {}
        self._renamed: dict[tuple[str, ...], tuple[list[tuple[str, str]] | None, list[str]]] = {}

    def has(self, names: list[str], field: str) -> bool:
        """Whether one of the columns ``names`` becomes ``field``."""
        return any((column := self.column(name)) is not None and column.field == field for name in names)

    def column(self, name: str) -> Column | None:
        """Return what becomes of the column ``name``; None: it is unknown."""
        try:
            column = self._found[name]
        except KeyError:
            column = self._find(name)
            if len(self._found) < 10_000:
                self._found[name] = column
        if column is None and len(self.unknown) < UNKNOWN and name.strip(BLANKS):
            self.unknown[name] = None
        return column

    def _find(self, name: str) -> Column | None:
        folded = _folded(name)
        if (column := self._columns.get(folded)) is not None:
            return column
        if _own(folded):
            return Column("fields." + name.strip(BLANKS)[7:])
        return Column(folded) if folded in FIELDS else None

    def apply(self, record: AnyMapping[str, object]) -> dict[str, object]:
        """Return the record by the fields' names. Raises ``Skipped``."""
        if not self.mapped and (pairs := self._pairs(tuple(record))) is not None:
            return {field: record[name] for name, field in pairs}
        named: dict[str, object] = {}
        own: dict[str, object] = {}
        flat = self.flat(record) if self.mapped else record
        for (name, value), column in zip(flat.items(), list(map(self.column, flat)), strict=True):
            if column is None or (not column.field and not column.skip):
                continue
            if column.values or column.skip:
                value = _chosen(name, column, value)
            if column.split and isinstance(value, str):
                value = value.split(column.split)
            field = column.field
            if field.startswith("fields."):
                if value != "":
                    own[field[7:]] = value
            elif field and (field not in named or named[field] in (None, "")):
                named[field] = value
        if own:
            whole = named.get("fields")
            named["fields"] = {**whole, **own} if isinstance(whole, dict) else own
        return named

    def _pairs(self, names: tuple[str, ...]) -> list[tuple[str, str]] | None:
        """Name and field of each column that means something, if a record of these columns only needs renaming.

        Found once for all records with the same columns: of most files that is every row.
        """
        try:
            pairs, unknown = self._renamed[names]
        except KeyError:
            columns = [(name, self.column(name)) for name in names]
            found = [(name, column.field) for name, column in columns if column is not None]
            fields = {field for _, field in found}
            pairs = found if fields <= set(FIELDS) and len(fields) == len(found) else None
            unknown = [name for name, column in columns if column is None]
            if len(self._renamed) < 1000:
                self._renamed[names] = pairs, unknown
        for name in unknown:
            self.column(name)
        return pairs

    def by_columns(self, columns: AnyMapping[str, Sequence[object]]) -> Named | None:
        """Do for all rows at once what ``apply`` does for one. ``columns``: name → a value for each row.

        None: the columns must be read row by row, as two of them become the same field.
        """
        found = [(name, column) for name in columns if (column := self.column(name)) is not None]
        fields = [column.field for _, column in found if column.field]
        if len(set(fields)) < len(fields) or ("fields" in fields and any(_own(field) for field in fields)):
            return None
        named = Named({}, {}, set())
        for name, column in found:
            values = columns[name]
            if column.values or column.skip or column.split:
                values = _converted(name, column, values, named.odd)
            if _own(column.field):
                named.own[column.field[7:]] = values
            elif column.field:
                named.fields[column.field] = values
        return named

    def flat(self, record: AnyMapping[str, object], within: str = "", depth: int = 0) -> dict[str, object]:
        """Name what lies in objects by its path, as in ``Location.Country``, unless the object itself is wanted."""
        flat: dict[str, object] = {}
        for name, value in record.items():
            path = within + name
            if (
                isinstance(value, dict)
                and depth < 4
                and self._columns.get(_folded(path)) is None
                and path not in FIELDS
            ):
                flat.update(self.flat(value, path + ".", depth + 1))
            else:
                flat[path] = value
        return flat


def read_map(path: Path) -> Mapping:
    """Read a map file. Raises ``UsageError``."""
    try:
        return _mapping(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"--map: {path}: {(error.strerror or 'cannot be read').lower()}") from None


def preset(name: str) -> Mapping:
    """Return a preset. Raises ``UsageError`` if there is none of that name."""
    if name not in PRESETS:
        raise UsageError(f"--preset: {strict_json.unknown('preset', name, PRESETS, 'preset')}")
    return _mapping(files("broadside.imports").joinpath("presets", f"{name}.toml").read_bytes(), f"preset {name}")


def preset_of(names: list[str]) -> str:
    """Return the preset whose columns are all among ``names``; empty: none."""
    given = {_folded(name) for name in names}
    for name in PRESETS:
        needed = {_folded(column) for column in preset(name).map_file.columns}
        if len(needed) > 2 and needed <= given:
            return name
    return ""


def _mapping(content: bytes, source: str) -> Mapping:
    try:
        map_file = msgspec.toml.decode(content.removeprefix(b"\xef\xbb\xbf"), type=MapFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{source}: is no map file: {error} (docs/import.md shows one)") from None
    return Mapping(map_file, source)


def _converted(name: str, column: Column, values: Sequence[object], odd: set[int]) -> Sequence[object]:
    """Do to each value what the map says, once for equal ones. Adds the rows to ``odd`` that are left out."""
    if not set(map(type, values)) <= {str}:
        odd.update(index for index, value in enumerate(values) if type(value) is not str)
    becomes: dict[object, object] = {}
    for value in {value for value in values if type(value) is str}:
        try:
            chosen = _chosen(name, column, value)
        except Skipped:
            odd.update(index for index, other in enumerate(values) if other == value)
            continue
        becomes[value] = chosen.split(column.split) if column.split and isinstance(chosen, str) else chosen
    return [becomes.get(value) if type(value) is str else None for value in values]


def _chosen(name: str, column: Column, value: object) -> object:
    plain = _folded("true" if value is True else "false" if value is False else str(value))
    if plain in column.skip:
        raise Skipped(f"{name} is {shown(value, 40)}")
    if not column.values:
        return value
    if plain in column.values:
        return column.values[plain]
    if column.field in ("platform", "channel"):
        raise Skipped(f"{name} is {shown(value, 40)}")
    return value


def _own(name: str) -> bool:
    return name.startswith("fields.") and len(name) > 7


def _folded(name: str) -> str:
    return name.strip(BLANKS).lower()
