"""Exports the base from the node, page by page, as CSV or NDJSON that :mod:`broadside.imports.importer` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

import msgspec

from broadside.api.subscriber import FIELDS, MAX_SUBSCRIBERS, Subscriber
from broadside.imports.chunks import Format

_DECODER = msgspec.json.Decoder(Subscriber)


class Fetch(Protocol):
    """Fetches a page of the base (``Client.subscribers``)."""

    def __call__(self, after: int, limit: int) -> bytes:
        """Return up to ``limit`` subscribers with id > ``after``, as NDJSON in the order of ids."""


def export(fetch: Fetch, out: BinaryIO, format_: Format, progress: Callable[[int], None] = lambda rows: None) -> int:
    """Write the whole base to ``out``; returns the number of rows. ``progress`` gets the rows written so far."""
    written = 0
    if format_ == "csv":
        out.write((",".join(FIELDS) + "\n").encode())
    for page in _pages(fetch):
        if format_ == "csv":
            out.write(_csv(page))
        else:
            out.write(b"".join(msgspec.json.encode(row) + b"\n" for row in page))
        written += len(page)
        progress(written)
    return written


def _pages(fetch: Fetch) -> Iterator[list[Subscriber]]:
    after = 0
    while page := _DECODER.decode_lines(fetch(after, MAX_SUBSCRIBERS)):
        yield page
        last = page[-1].id
        if last is None or last <= after:
            raise RuntimeError(f"the node's pages do not advance: asked for ids above {after}, got {last}")
        after = last


def _csv(page: list[Subscriber]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in page:
        record = msgspec.structs.asdict(row)
        record["tags"] = "|".join(row.tags)
        record["fields"] = msgspec.json.encode(row.fields).decode() if row.fields else ""
        writer.writerow(["" if record[name] is None else record[name] for name in FIELDS])
    return text.getvalue().encode()
