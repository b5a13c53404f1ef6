"""Turns many records into subscribers at once, column by column.

Files have few different locales, zones and the like. So a column costs one reading for each different value in it, and
all rows take part in that. A row with anything unusual in it is read by itself, by ``Rules.read``: there the rules are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress, islice, repeat
from typing import Any, NamedTuple, cast

import msgspec

from broadside.api.attributes import reading, times
from broadside.api.attributes.changes import TRIED, Change
from broadside.api.subscriber import MAX_TOKEN, Subscriber
from broadside.errors import Problem, RecordError
from broadside.imports.formats.rows import Columns, FileRow, Slice, columns_of
from broadside.imports.mapping import Named
from broadside.imports.rules import Rules
from broadside.imports.values import DEFAULTS, KnownValues, ReadColumn, keys_of

_FIELDS = sorted(msgspec.structs.fields(Subscriber), key=lambda field: not field.required)
_Row: Any = msgspec.defstruct(
    "_Row",
    [(f.name, Any) if f.required else (f.name, Any, msgspec.field(default=DEFAULTS[f.name])) for f in _FIELDS],
    omit_defaults=True,
    gc=False,
)
"""A subscriber whose values are known to be right: made from columns, it costs a quarter."""
_IDENTITY = frozenset({"id", "channel", "token", "kind", "platform"})
_NOT_GIVEN = (None, "")


class Judged(NamedTuple):
    """What became of the records of a slice, in their order."""

    rows: list[Any]
    """Subscribers, to be encoded."""
    origins: list[int]
    """The index of each one's record among the columns' rows."""
    rejected: list[tuple[FileRow, Problem]]


def judge(records: Slice, rules: Rules, known: KnownValues) -> Judged:
    """Judge ``records`` by ``rules``, and add up there what was changed or left out."""
    columns = records.columns
    batch = _Batch(columns, rules, known)
    rejected: list[tuple[tuple[int, int], FileRow, Problem]] = [
        ((place, 0), row, row.problem) for place, row in records.bad if row.problem is not None
    ]
    slow: dict[int, Subscriber] = {}
    noted = batch.noted
    for index in sorted(batch.odd):
        row = columns.row(index)
        changes: list[Change] = []
        try:
            subscriber = rules.read(row.record, changes)
        except RecordError as error:
            rejected.append(((index, 1), row, error.problem))
            continue
        noted += [(index, change) for change in changes]
        if subscriber is None:
            continue
        if problem := rules.token_problem(subscriber):
            rejected.append(((index, 1), row, problem))
        else:
            slow[index] = subscriber
    noted.sort(key=lambda change: change[0])
    rules.changes.add(change for _, change in noted)
    for name, dropped, count in batch.counted:
        rules.changes.count(name, dropped=dropped, times=count)
    rows, origins = batch.rows(), batch.even
    if slow:
        merged = sorted([*zip(origins, rows, strict=True), *slow.items()], key=lambda row: row[0])
        origins, rows = [index for index, _ in merged], [row for _, row in merged]
    rejected.sort(key=lambda one: one[0])
    return Judged(rows, origins, [(row, problem) for _, row, problem in rejected])


class _Batch:
    """The rows of a slice that can be read by columns; the others are in ``odd``."""

    def __init__(self, columns: Columns, rules: Rules, known: KnownValues) -> None:
        self.odd: set[int] = set()
        self.even: list[int] = []
        self.noted: list[tuple[int, Change]] = []
        """Row and change, of kinds that still want examples."""
        self.counted: list[tuple[str, bool, int]] = []
        """Field, whether dropped → how many more changes of the kind there are."""
        self._timed = False
        self._size = len(columns)
        self._rules = rules
        self._stored: dict[str, Sequence[object]] = {}
        self._known = known
        self._columns: dict[str, ReadColumn] = {}
        named = _named(columns, rules)
        if named is None:
            self.odd.update(range(self._size))
            return
        self.odd |= named.odd
        self._identify(named)
        for name, values in named.fields.items():
            if name in reading.ATTRIBUTES:
                self._read(name, values, texts_only=columns.records is None and not rules.mapping.mapped)
            elif name not in _IDENTITY:
                self._set_aside(index for index, value in enumerate(values) if value not in _NOT_GIVEN)
        if named.own:
            self._read("fields", self._own(named.own), texts_only=False)
        self._check_tokens()
        self._count()
        self.even = [index for index in range(self._size) if index not in self.odd]

    def rows(self) -> list[Any]:
        """Return the subscribers of the even rows."""
        if not self.even:
            return []
        columns: list[Iterable[object]] = []
        for field in _FIELDS:
            values = self._stored.get(field.name)
            if values is None:
                columns.append(repeat(DEFAULTS[field.name]))
            else:
                columns.append(compress(values, self._even()) if self.odd else values)
        return list(map(_Row, *columns))

    def _even(self) -> list[bool]:
        return [index not in self.odd for index in range(self._size)]

    def _set_aside(self, rows: Iterable[int]) -> None:
        self.odd.update(rows)

    def _identify(self, named: Named) -> None:
        """Read channel, kind and token, and set aside the rows where one is missing or cannot be right."""
        nothing: Sequence[object] = [None] * self._size
        given = named.fields.get("channel", nothing)
        platforms = named.fields.get("platform", nothing)
        whose: dict[tuple[object, object], str | None] = {}
        pairs = list(zip(self._texts(given), self._texts(platforms), strict=True))
        for channel, platform in set(pairs):
            name = channel.strip(reading.BLANKS) if channel else self._rules.only_channel(platform)
            whose[channel, platform] = name if name and self._rules.channel_good(name) else None
        channels = [whose[pair] for pair in pairs]
        kinds = self._texts(named.fields.get("kind", nothing))
        kind_of = {kind: (kind or "").strip(reading.BLANKS) for kind in set(kinds)}
        tokens = [token and token.strip(reading.BLANKS) for token in self._texts(named.fields.get("token", nothing))]
        self._stored["channel"], self._stored["token"] = channels, tokens
        # the default itself: only that is left out of a request
        default = DEFAULTS["kind"]
        self._stored["kind"] = [default if kind_of[kind] in ("", default) else kind_of[kind] for kind in kinds]
        if None in whose.values():
            self._set_aside(index for index, channel in enumerate(channels) if channel is None)
        if not all(tokens) or max(map(len, tokens), default=0) > MAX_TOKEN:
            self._set_aside(index for index, token in enumerate(tokens) if not token or len(token) > MAX_TOKEN)

    def _texts(self, values: Sequence[object]) -> list[Any]:
        """``values`` that are texts or None; other rows are set aside."""
        if set(map(type, values)) <= {str, type(None)}:
            return list(values)
        self._set_aside(index for index, value in enumerate(values) if not isinstance(value, str | None))
        return [value if isinstance(value, str) else None for value in values]

    def _read(self, name: str, values: Sequence[object], *, texts_only: bool) -> None:
        """Read a column."""
        if name == "registered_at" and self._read_times(values):
            return
        keys = values if texts_only else keys_of(values)
        if keys is None:
            self.odd.update(range(self._size))
            return
        column = self._columns[name] = self._known.column(name, keys, self._rules.latest)
        self._stored[name] = column.stored
        if column.changed and self._rules.strict:
            self._set_aside(index for index, key in enumerate(keys) if column.table.dropped.get(key))

    def _read_times(self, values: Sequence[object]) -> bool:
        """Read times of registration of which no examples are wanted any more: nearly every row has another one."""
        if self._rules.changes.wanted("registered_at", dropped=False):
            return False
        given = [value for value in values if value not in _NOT_GIVEN]
        if not set(map(type, given)) <= {str}:
            return False
        found = times.registrations(cast(list[str], given), self._rules.latest)
        if found is None:
            return False
        if len(found) == len(values):
            self._stored["registered_at"] = found
        else:
            each = iter(found)
            self._stored["registered_at"] = [None if value in _NOT_GIVEN else next(each) for value in values]
        self._timed = True
        return True

    def _own(self, own: dict[str, Sequence[object]]) -> list[object]:
        """Return each row's own fields from the columns that have one each."""
        rows: list[object] = []
        for index, values in enumerate(zip(*own.values(), strict=True)):
            if not set(map(type, values)) <= {str}:
                self.odd.add(index)
            rows.append({name: value for name, value in zip(own, values, strict=True) if value != ""} or None)
        return rows

    def _check_tokens(self) -> None:
        """Set the rows aside whose tokens are none of their channel's platform."""
        tokens, kinds, channels = (self._stored[name] for name in ("token", "kind", "channel"))
        groups: dict[tuple[Any, Any], list[int]] = {}
        if not self.odd and len(pairs := set(zip(channels, kinds, strict=True))) == 1:
            groups[pairs.pop()] = list(range(self._size))
        else:
            for index in range(self._size):
                if index not in self.odd:
                    groups.setdefault((channels[index], kinds[index]), []).append(index)
        for (channel, kind), indices in groups.items():
            self._check(channel, kind, tokens, indices)

    def _check(self, channel: Any, kind: Any, tokens: Sequence[Any], indices: list[int]) -> None:
        """Find the bad tokens by halves: there are few, and one at a time costs ten times as much."""
        if self._rules.device_tokens.all_good(channel, kind, [tokens[index] for index in indices]):
            return
        if len(indices) > 1:
            half = len(indices) // 2
            self._check(channel, kind, tokens, indices[:half])
            self._check(channel, kind, tokens, indices[half:])
        elif isinstance(self._rules.device_tokens.one(channel, kind, tokens[indices[0]]), Problem):
            self.odd.add(indices[0])

    def _count(self) -> None:
        """Count the changes of the even rows, and note those that may become examples."""
        sums = self._rules.changes
        even = self._even() if self.odd else None
        if self._timed:
            stored = self._stored["registered_at"]
            kept = stored if even is None else list(compress(stored, even))
            self.counted.append(("registered_at", False, len(kept) - kept.count(None)))
        for name, column in self._columns.items():
            if not column.changed:
                continue
            keys = column.keys if even is None else list(compress(column.keys, even))
            table = column.table
            for lost, counts in ((False, table.converted), (True, table.dropped)):
                count = sum(map(counts.get, keys, repeat(0))) if counts else 0
                if count and sums.wanted(name, dropped=lost):
                    listed = self._list(column, lost)
                    self.noted += listed
                    count -= len(listed)
                self.counted.append((name, lost, count))

    def _list(self, column: ReadColumn, lost: bool) -> list[tuple[int, Change]]:
        """The first changes of a kind in the even rows, as many as may become examples."""
        changes = column.table.changes
        found = (
            (index, change)
            for index, key in enumerate(column.keys)
            if key in changes and index not in self.odd
            for change in changes[key]
            if change.dropped is lost
        )
        return list(islice(found, TRIED))


def _named(columns: Columns, rules: Rules) -> Named | None:
    """The columns by the fields that they become; None: the rows must be read one by one."""
    mapping = rules.mapping
    values = columns.values
    if mapping.mapped and columns.records is not None:
        values = columns_of([mapping.flat(record) for record in columns.records])
    if rules.strict and any(mapping.column(name) is None for name in values):
        return None
    return mapping.by_columns(values)
