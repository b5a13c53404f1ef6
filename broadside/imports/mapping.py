"""Which column of a foreign file is which field of a subscriber: a map file (TOML), or one of the presets.

A preset is a map file that comes with Broadside (the folder ``presets``).
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from importlib.resources import files
from pathlib import Path

import msgspec

from broadside.api import strict_json
from broadside.api.attributes.reading import BLANKS
from broadside.api.subscriber import FIELDS
from broadside.errors import UsageError, shown

PRESETS = ("onesignal", "pinpoint", "airship", "gorush", "tokens")
TARGETS = (*FIELDS, "platform")
"""``platform`` chooses the row's channel: the one of that platform."""


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
        self._renamed: dict[tuple[str, ...], list[tuple[str, str]] | None] = {}

    def has(self, names: list[str], field: str) -> bool:
        """Whether one of the columns ``names`` becomes ``field``."""
        return any((column := self.column(name)) is not None and column.field == field for name in names)

    def column(self, name: str) -> Column | None:
        """Return what becomes of the column ``name``; None: it is unknown."""
        try:
            return self._found[name]
        except KeyError:
            pass
        folded = _folded(name)
        column = self._columns.get(folded)
        if column is None:
            own = name.strip(BLANKS) if _own(folded) else folded
            column = Column("fields." + own[7:] if _own(folded) else own) if folded in FIELDS or _own(folded) else None
        if len(self._found) < 10_000:
            self._found[name] = column
        if column is None and folded and len(self.unknown) < 100:
            self.unknown[name] = None
        return column

    def apply(self, record: AnyMapping[str, object]) -> dict[str, object]:
        """Return the record by the fields' names. Raises ``Skipped``."""
        if not self.mapped and (pairs := self._pairs(tuple(record))) is not None:
            return {field: record[name] for name, field in pairs}
        named: dict[str, object] = {}
        own: dict[str, object] = {}
        for name, value in (self._flat(record) if self.mapped else record).items():
            if (column := self.column(name)) is None or (not column.field and not column.skip):
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
            return self._renamed[names]
        except KeyError:
            pass
        found = [(name, column) for name in names if (column := self.column(name)) is not None]
        fields = {column.field for _, column in found}
        plain = fields <= set(FIELDS) and len(fields) == len(found)
        pairs = [(name, column.field) for name, column in found] if plain else None
        if len(self._renamed) < 1000:
            self._renamed[names] = pairs
        return pairs

    def _flat(self, record: AnyMapping[str, object], within: str = "", depth: int = 0) -> dict[str, object]:
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
                flat.update(self._flat(value, path + ".", depth + 1))
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
