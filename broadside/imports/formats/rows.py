"""Records of a file, in whatever format it came: one, or many of them by columns."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter

import msgspec

from broadside.errors import Problem

SLICE = 250
"""Records that are read at once. So few that their objects stay in the processor's cache."""


class FileRow(msgspec.Struct, gc=False):
    """One record: its values by their names in the file, or the problem that it has none."""

    number: int
    """The line on which it begins."""
    raw: bytes
    """Its bytes, for the file of rejected lines."""
    record: dict[str, object]
    problem: Problem | None = None
    more: bool = False
    """The rest of a record that is too long, and was rejected."""
    complete: bool = True
    """False: more rows of the same record follow."""


class Columns:
    """Records as columns: name in the file → a value for each record, None where it has none."""

    def __init__(
        self,
        raws: Sequence[bytes],
        numbers: Sequence[int],
        values: dict[str, Sequence[object]],
        records: Sequence[dict[str, object]] | None = None,
    ) -> None:
        """Keep each record's bytes, its line, and the columns; ``records``: the same as they were written."""
        self.raws, self.numbers, self.values, self.records = raws, numbers, values, records

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.raws)

    def row(self, index: int) -> FileRow:
        """Return one record."""
        if self.records is not None:
            record = self.records[index]
        else:
            record = {name: values[index] for name, values in self.values.items()}
        return FileRow(self.numbers[index], self.raws[index], record)


class Slice:
    """Some records that follow each other. ``end``: where in the text they end."""

    def __init__(self, end: int, rows: Sequence[FileRow] = (), columns: Columns | None = None) -> None:
        """Keep ``rows``, or instead of them ``columns``."""
        self.end = end
        good: list[FileRow] = []
        self.bad: list[tuple[int, FileRow]] = []
        """Those without values, each with the number of good ones before it."""
        for row in rows:
            if row.problem is None:
                good.append(row)
            else:
                self.bad.append((len(good), row))
        records = [row.record for row in good]
        self.columns = columns or Columns(
            [row.raw for row in good], [row.number for row in good], columns_of(records), records
        )


def columns_of(records: Sequence[dict[str, object]]) -> dict[str, Sequence[object]]:
    """Return the columns of ``records``."""
    first = list(records[0]) if records else []
    if len(first) > 1 and set(map(len, records)) == {len(first)}:
        with contextlib.suppress(KeyError):  # others have other names
            return dict(zip(first, zip(*map(itemgetter(*first), records), strict=True), strict=True))
    names = dict.fromkeys(chain.from_iterable(records))
    return {name: [record.get(name) for record in records] for name in names}
