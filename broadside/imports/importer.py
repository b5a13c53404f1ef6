"""Imports a file into the node: reads and checks chunks while a few requests are in flight."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from broadside.api.api_client import Imported
from broadside.errors import ApiError, NodeUnreachable, Problem, UsageError
from broadside.imports.chunks import Chunk, Format, Rules, read_chunks
from broadside.imports.lines import Lines, Rejects

_IN_FLIGHT = 3
_REFUSALS = 100
"""Rows that the node may refuse although they passed here; if it refuses more, the rows are not the cause."""


class Upsert(Protocol):
    """Sends the body of one chunk (``Client.upsert``)."""

    def __call__(self, body: bytes) -> Imported:
        """Raise ``ApiError`` or ``NodeUnreachable``."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of an import."""

    file: str
    format: Format
    inserted: int
    updated: int
    rejected: int
    rejected_file: str | None
    seconds: float

    @property
    def rate(self) -> float:
        """Rows a second, good and bad together."""
        return (self.inserted + self.updated + self.rejected) / max(self.seconds, 1e-9)


def import_file(
    file: BinaryIO,
    name: str,
    rejected: Path,
    upsert: Upsert,
    rules: Rules,
    *,
    tell: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, rows: None,
) -> Summary:
    """Send every row of ``file`` that keeps ``rules`` to ``upsert``; write every other row to ``rejected``.

    ``tell`` gets one line per bad row (the first 20); ``progress`` the bytes read and rows sent so far. Raises
    ``UsageError`` if the file is unusable, ``ApiError`` or ``NodeUnreachable`` if the node refuses or is gone.
    """
    started = time.perf_counter()
    rejects = Rejects(name, rejected, tell)
    totals = [0, 0]
    refused = 0
    waiting: deque[tuple[Chunk, Future[Imported]]] = deque()

    def settle(pool: ThreadPoolExecutor) -> None:
        nonlocal refused
        chunk, future = waiting.popleft()
        try:
            answer = future.result()
        except ApiError as error:
            if error.status == 507:
                again = "then import the file again: existing rows are updated, not doubled"
                text = f"{error.message}; at least {sum(totals):,} rows of {name} were stored, and stay"
                raise ApiError(507, text, remedy=f"{error.remedy}, {again}") from error
            if error.index is None or not error.index < len(chunk.raw) or refused >= _REFUSALS:
                raise
            refused += 1
            problem = Problem(error.field or "line", error.message, error.remedy, error.value)
            rejects.reject(chunk.numbers[error.index], problem, [chunk.raw[error.index]])
            rest = chunk.without(error.index)
            if rest.raw:
                waiting.appendleft((rest, pool.submit(upsert, rest.body)))
            return
        except NodeUnreachable as error:
            sent = sum(totals)
            hint = "import the file again once the node runs: existing rows are updated, not doubled"
            raise NodeUnreachable(f"{error}; at least {sent:,} rows of {name} were stored ({hint})") from error
        totals[0] += answer.inserted
        totals[1] += answer.updated

    try:
        lines = Lines(file, name, rejects)
        format_, chunks = read_chunks(lines, name, rules, rejects)
        with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="import") as pool:
            try:
                for chunk in chunks:
                    waiting.append((chunk, pool.submit(upsert, chunk.body)))
                    while len(waiting) >= _IN_FLIGHT:
                        settle(pool)
                    progress(lines.bytes_read, sum(totals) + rejects.count)
                while waiting:
                    settle(pool)
                    progress(lines.bytes_read, sum(totals) + rejects.count)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        rejects.close()
    if not sum(totals) and not rejects.count:
        raise UsageError(f"{name}: has no subscribers, only {'a header' if format_ == 'csv' else 'blank lines'}")
    kept = str(rejected) if rejects.count else None
    return Summary(name, format_, totals[0], totals[1], rejects.count, kept, time.perf_counter() - started)
