"""Stores the lines of one request: the next ones are read and decoded while the store writes those before them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from broadside.api.attributes.changes import Changes
from broadside.api.base_records import ImportedLines, LineFault
from broadside.api.bounds import LARGEST_LINE
from broadside.api.subscriber import Subscriber, decode_lines, decode_stored_form
from broadside.console.calls import Call
from broadside.errors import Problem
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.subscriber_desk import Prepared
from storage.records import Stored

FAULTS = 100
"""Refused lines that an answer names."""
AT_ONCE = 250
"""Lines that are stored together, in one call as a rule, unless they are …"""
AT_ONCE_BYTES = 1 << 20
"""… larger than this. So a body of any length takes a few megabytes of memory."""
ON_THE_WAY = 2
"""Batches that are under way to the store: it works on one while the other's answer and log are written. With one the
store waited for the node half of the time; a third brings nothing, and other callers' small calls wait for all."""
AT_A_STEP = 100
"""Lines that are decoded one by one before others have their turn: 6 ms, if all of them must be converted."""

_TOO_LONG = Problem("line", f"is larger than {LARGEST_LINE:,} bytes", "send only what the field list names")


@dataclass(slots=True)
class _Batch:
    """Lines that are stored together."""

    numbers: list[int] = field(default_factory=list)
    rows: list[Subscriber] = field(default_factory=list)
    """The subscriber of each of ``numbers``."""
    bad: list[tuple[int, Problem]] = field(default_factory=list)
    """The other lines."""
    size: int = 0


class BulkLoad:
    """One request's lines. Those of one subscriber are stored in their order, so the last of them holds."""

    def __init__(self, newsroom: Newsroom, *, strict: bool) -> None:
        """``strict``: refuse a line rather than store it without what cannot be read."""
        self._newsroom, self._strict = newsroom, strict
        self._changes = Changes()
        self._stored, self._replacing = Stored(0, 0), False
        self._bad: list[tuple[int, Problem]] = []
        """The first refused lines."""
        self._lines = self._refused = 0
        self._batch = _Batch()
        self._failed: Exception | None = None
        self._places = trio.Semaphore(ON_THE_WAY)

    async def run(self, call: Call) -> ImportedLines:
        """Store the body's lines. If the body breaks off, those that were read stay stored.

        Raises ``ApiFailure`` for a broken body, ``StorageError`` if the store is away or refuses.
        """
        send, receive = trio.open_memory_channel[tuple[_Batch, Prepared]](0)
        async with receive, trio.open_nursery() as nursery:
            nursery.start_soon(self._read, call, send)
            async for batch, prepared in receive:
                # what stands in the base decides about rows that replace tokens: so nothing is under way beside them
                places = ON_THE_WAY if prepared.replaced else 1
                for _ in range(places):
                    await self._places.acquire()
                sent = trio.Event()
                nursery.start_soon(self._store, batch, prepared, places, sent, nursery.cancel_scope)
                await sent.wait()
        faults = [_fault(*each) for each in self._bad]
        self._newsroom.refused_lines.add(self._refused, self._lines, faults[0] if faults else None)
        if self._failed is not None:
            raise self._failed
        return ImportedLines(
            **counts(self._stored, replacing=self._replacing),
            **self._changes.report(),
            refused=self._refused,
            faults=faults,
        )

    async def _read(self, call: Call, send: trio.MemorySendChannel[tuple[_Batch, Prepared]]) -> None:
        async def flush() -> None:
            batch, self._batch = self._batch, _Batch()
            if batch.numbers or batch.bad:
                await send.send((batch, await self._newsroom.subscribers.prepare(batch.rows)))

        async def take(first: int, lines: bytes) -> None:
            await self._decode(first, lines)
            if len(self._batch.numbers) >= AT_ONCE or self._batch.size >= AT_ONCE_BYTES:
                await flush()

        async with send:
            try:
                await call.lines(take)
                await flush()
            except Exception as error:  # what was read before is stored
                self._failed = error

    async def _decode(self, first: int, lines: bytes) -> None:
        """Add the lines to the batch, the blank ones left out."""
        batch = self._batch
        batch.size += len(lines)
        rows = decode_stored_form(lines)
        if rows is not None:
            batch.numbers += range(first, first + len(rows))
            batch.rows += rows
            return
        numbered = [(n, line) for n, each in enumerate(lines.split(b"\n"), first) if (line := each.strip())]
        for start in range(0, len(numbered), AT_A_STEP):
            self._decode_each(numbered[start : start + AT_A_STEP])
            await trio.lowlevel.checkpoint()

    def _decode_each(self, numbered: list[tuple[int, bytes]]) -> None:
        batch = self._batch
        batch.bad += [(number, _TOO_LONG) for number, line in numbered if len(line) > LARGEST_LINE]
        short = [(number, line) for number, line in numbered if len(line) <= LARGEST_LINE]
        rows = decode_lines([line for _, line in short], self._changes, strict=self._strict)
        for (number, _), row in zip(short, rows, strict=True):
            if isinstance(row, Problem):
                batch.bad.append((number, row))
            else:
                batch.numbers.append(number)
                batch.rows.append(row)
                self._replacing = self._replacing or row.replaces is not None

    async def _store(
        self, batch: _Batch, prepared: Prepared, places: int, sent: trio.Event, whole: trio.CancelScope
    ) -> None:
        """Store a batch. ``sent`` is set once it is under way: what is sent after it, is stored after it."""
        try:
            stored, faults = await self._newsroom.subscribers.store(prepared, sent.set)
            self._count(batch, stored, faults)
        except Exception as error:  # not in a group, so that it is answered like any other route's
            self._failed = error
            whole.cancel()
        finally:
            sent.set()
            for _ in range(places):
                self._places.release()

    def _count(self, batch: _Batch, stored: Stored, faults: dict[int, Problem]) -> None:
        self._stored = Stored(*map(sum, zip(self._stored, stored, strict=True)))
        bad = batch.bad + [(batch.numbers[index], problem) for index, problem in faults.items()]
        self._lines += len(batch.numbers) + len(batch.bad)
        self._refused += len(bad)
        self._bad = sorted(self._bad + bad, key=lambda one: one[0])[:FAULTS]


def _fault(line: int, problem: Problem) -> LineFault:
    return LineFault(line=line, field=problem.where, value=problem.value, detail=problem.what, remedy=problem.remedy)


def counts(stored: Stored, *, replacing: bool) -> dict[str, Any]:
    """Return an answer's counts. ``replacing``: some subscribers name a token that theirs replaces.

    Others may replace one all the same: a Firebase installation id that of its phone.
    """
    known = replacing or stored.moved or stored.merged
    replaces = {"moved": stored.moved, "merged": stored.merged, "unknown": stored.unknown} if known else {}
    return {"inserted": stored.inserted, "updated": stored.updated, "replaces": replaces}
