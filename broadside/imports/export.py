"""Exports the base from the node, page by page, as CSV or NDJSON that :mod:`broadside.imports.importer` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from broadside.api.subscriber import EXPORTED, MAX_SUBSCRIBERS
from broadside.imports.formats.csv_rows import FORMULA

Format: TypeAlias = Literal["csv", "ndjson"]


class _Part(msgspec.Struct):
    """A ``SubscriberPage``; rows that an older version took may break a rule of today, and must come out too."""

    items: list[dict[str, Any]]
    next: str | None


_DECODER = msgspec.json.Decoder(_Part)


class Fetch(Protocol):
    """Fetches a part of the base (``Client.base``)."""

    def __call__(self, limit: int, cursor: str) -> bytes:
        """Return up to ``limit`` subscribers behind ``cursor``, in the order of ids."""


class ExportOut(Protocol):
    """Takes the file's bytes, each time whole lines."""

    def write(self, data: bytes, /) -> int:
        """Return how many it took: all."""


def export(fetch: Fetch, out: ExportOut, format_: Format, progress: Callable[[int], None] = lambda rows: None) -> int:
    """Write the whole base to ``out``; returns the number of rows. ``progress`` gets the rows written so far."""
    written = 0
    if format_ == "csv":
        out.write((",".join(EXPORTED) + "\n").encode())
    for page in _pages(fetch):
        if format_ == "csv":
            out.write(_csv(page))
        else:
            out.write(b"".join(msgspec.json.encode(row) + b"\n" for row in page))
        written += len(page)
        progress(written)
    return written


def _pages(fetch: Fetch) -> Iterator[list[dict[str, Any]]]:
    cursor = ""
    while True:
        part = _DECODER.decode(fetch(MAX_SUBSCRIBERS, cursor))
        if part.items:
            yield part.items
        if part.next is None:
            return
        if part.next == cursor:
            raise RuntimeError(f"the node's answers do not advance behind {cursor}")
        cursor = part.next


def _csv(page: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in page:
        record = {**row, "tags": "|".join(row.get("tags", []))}
        record["fields"] = msgspec.json.encode(row["fields"]).decode() if row.get("fields") else ""
        record.setdefault("kind", "token")
        writer.writerow([_harmless(record.get(name)) for name in EXPORTED])
    return text.getvalue().encode()


def _harmless(cell: object) -> object:
    """Keep a spreadsheet from running ``cell`` as a formula. The import takes the apostrophe off again."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell
