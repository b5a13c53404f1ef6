"""Answers the API's routes about subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broadside.api.attributes.changes import Changes
from broadside.api.base_records import BaseCount, Imported, ImportedLines, LineFault, Removed, SubscriberPage
from broadside.api.bounds import LARGEST_LINE
from broadside.api.subscriber import Subscriber, decode_lines
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.errors import Problem, RecordError
from broadside.newsroom.newsroom import Newsroom
from storage.records import Stored

FAULTS = 100
"""Refused lines that an answer names."""
AT_ONCE = 2_500
"""Lines that are stored by one call."""


def subscriber_routes(newsroom: Newsroom) -> list[Bound]:
    """Bind the routes."""

    async def register(call: Call) -> Imported:
        changes, strict = Changes(), call.query(table.RegisterQuery).strict
        (row,) = decode_lines([call.raw], changes, strict=strict)
        if isinstance(row, Problem):
            raise RecordError(row)
        stored, faults = await newsroom.put([row])
        if faults:
            raise RecordError(faults[0])
        return Imported(**_counts(stored, replacing=row.replaces is not None), **changes.report())

    async def bulk(call: Call) -> ImportedLines:
        load = _Load(newsroom, strict=call.query(table.RegisterQuery).strict)
        await call.lines(load.store, AT_ONCE)
        return load.answer()

    async def unregister(call: Call) -> Removed:
        query = call.query(table.UnregisterQuery)
        return Removed(await newsroom.remove(query.channel, query.token))

    async def page(call: Call) -> SubscriberPage:
        query = call.query(table.SubscribersQuery)
        return await newsroom.page(query.limit, query.cursor)

    async def count(call: Call) -> BaseCount:
        channels = await newsroom.count()
        return BaseCount(sum(channels.values()), channels)

    return [
        bind(table.REGISTER, register),
        bind(table.UNREGISTER, unregister),
        bind(table.BULK, bulk),
        bind(table.SUBSCRIBERS, page),
        bind(table.COUNT, count),
    ]


class _Load:
    """Stores the lines of one request, and counts what becomes of them."""

    def __init__(self, newsroom: Newsroom, *, strict: bool) -> None:
        self._newsroom, self._strict = newsroom, strict
        self._changes = Changes()
        self._stored, self._replacing = Stored(0, 0), False
        self._faults: list[LineFault] = []
        self._refused = 0

    async def store(self, lines: list[tuple[int, bytes]]) -> None:
        """Store the lines that are subscribers."""
        bad: list[tuple[int, Problem]] = []
        numbers, rows = [], []
        for (number, _), row in zip(lines, self._decoded([line for _, line in lines]), strict=True):
            if isinstance(row, Problem):
                bad.append((number, row))
            else:
                numbers.append(number)
                rows.append(row)
                self._replacing = self._replacing or row.replaces is not None
        stored, faults = await self._newsroom.put(rows)
        self._stored = Stored(*map(sum, zip(self._stored, stored, strict=True)))
        bad += [(numbers[index], problem) for index, problem in faults.items()]
        self._refused += len(bad)
        for number, problem in sorted(bad, key=lambda one: one[0])[: FAULTS - len(self._faults)]:
            self._faults.append(
                LineFault(
                    line=number,
                    field=problem.where,
                    value=problem.value,
                    detail=problem.what,
                    remedy=problem.remedy,
                )
            )

    def _decoded(self, lines: list[bytes]) -> Sequence[Subscriber | Problem]:
        if max(map(len, lines)) <= LARGEST_LINE:
            return decode_lines(lines, self._changes, strict=self._strict)
        return [_TOO_LONG if len(line) > LARGEST_LINE else self._decoded([line])[0] for line in lines]

    def answer(self) -> ImportedLines:
        """Return the sums."""
        counts = _counts(self._stored, replacing=self._replacing)
        return ImportedLines(**counts, **self._changes.report(), refused=self._refused, faults=self._faults)


_TOO_LONG = Problem("line", f"is larger than {LARGEST_LINE:,} bytes", "send only what the field list names")


def _counts(stored: Stored, *, replacing: bool) -> dict[str, Any]:
    replaces = {"moved": stored.moved, "merged": stored.merged, "unknown": stored.unknown} if replacing else {}
    return {"inserted": stored.inserted, "updated": stored.updated, "replaces": replaces}
