"""Sends the rows of a file to the node, a few requests at a time, and settles them in the order of the file."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from broadside.api.api_client import Imported
from broadside.errors import ApiError, NodeUnreachable, Problem
from broadside.imports.formats.rows import SLICE
from broadside.imports.readers.parts import Part
from broadside.imports.rejects import Rejects
from broadside.imports.resume import Resume

_IN_FLIGHT = 3
_REQUEST_ROWS = 2_500
_REQUEST_BYTES = 1024 * 1024
_REFUSALS = 100
"""Rows that the node may refuse although they passed here; if it refuses more, the rows are not the cause."""
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])


class Upsert(Protocol):
    """Sends the body of one request (``Client.upsert``)."""

    def __call__(self, body: bytes) -> Imported:
        """Raise ``ApiError`` or ``NodeUnreachable``."""


@dataclass(slots=True)
class _Share:
    """What a request has of one fragment."""

    part: Part
    fragment: int
    body: bytes
    indices: list[int]
    """Which rows of the fragment."""


@dataclass(slots=True)
class _Request:
    shares: list[_Share] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, part: Part, number: int) -> None:
        fragment = part.read.fragments[number]
        self.shares.append(_Share(part, number, fragment.body, list(range(fragment.rows))))
        self.rows += fragment.rows
        self.size += len(fragment.body)

    def body(self) -> bytes:
        return b"[" + b",".join([share.body for share in self.shares if share.indices]) + b"]"

    @property
    def end(self) -> int:
        """Every row before this place of the file is in this request or an earlier one."""
        last = self.shares[-1]
        return last.part.offset + last.part.read.fragments[last.fragment].end

    def take_out(self, index: int) -> tuple[_Share, int]:
        """Remove a row; returns its fragment and its place there."""
        for share in self.shares:
            if index < len(share.indices):
                rows = _ROWS.decode(b"[" + share.body + b"]")
                del rows[index]
                share.body = b",".join(rows)
                self.rows -= 1
                return share, share.indices.pop(index)
            index -= len(share.indices)
        raise IndexError(index)


class Sender:
    """Sends fragments of the file, gathered into requests that are large enough for a round trip."""

    def __init__(self, name: str, upsert: Upsert | None, rejects: Rejects, resume: Resume) -> None:
        """Send by ``upsert`` (None: only count) what ``resume`` has not stored. ``name``: the file's, for messages."""
        self.inserted = self.updated = self.sent_before = 0
        self.replaces: Counter[str] = Counter()
        self._name, self._upsert, self._rejects, self._resume = name, upsert, rejects, resume
        self._refused = 0
        self._request = _Request()
        self._waiting: deque[tuple[_Request, Future[Imported]]] = deque()
        self._pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="import")

    @property
    def rows(self) -> int:
        """Rows stored so far."""
        return self.inserted + self.updated + self.sent_before

    @property
    def resumable(self) -> bool:
        """Whether the import can be gone on with if it ends now."""
        return self._resume.kept

    def __enter__(self) -> Sender:
        """Nothing is in flight yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Keep how far the import has come."""
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)
        self._resume.close(finished=kind is None)

    def send(self, part: Part) -> None:
        """Send the rows of ``part``, or keep them for the next request."""
        for number, fragment in enumerate(part.read.fragments):
            if self._upsert is None:
                self.inserted += fragment.rows
            elif part.offset + fragment.end <= self._resume.offset:
                self.sent_before += fragment.rows
            else:
                self._request.add(part, number)
                if self._request.rows > _REQUEST_ROWS - SLICE or self._request.size >= _REQUEST_BYTES:
                    self.flush()

    def flush(self) -> None:
        """Send what was kept."""
        if self._request.rows and self._upsert is not None:
            self._waiting.append((self._request, self._pool.submit(self._upsert, self._request.body())))
            self._request = _Request()
            while len(self._waiting) >= _IN_FLIGHT:
                self.settle()

    def settle(self) -> bool:
        """Wait for the oldest request; returns whether there was one."""
        if not self._waiting:
            return False
        request, future = self._waiting.popleft()
        try:
            answer = future.result()
        except ApiError as error:
            if error.status == 507:
                again = "then import the file again: existing rows are updated, not doubled"
                text = f"{error.message}; at least {self.rows:,} rows of {self._name} were stored, and stay"
                raise ApiError(507, text, remedy=f"{error.remedy}, {again}") from error
            self._reject(request, error)
            return True
        except NodeUnreachable as error:
            hint = "import the file again once the node runs: existing rows are updated, not doubled"
            stored = f"at least {self.rows:,} rows of {self._name} were stored"
            raise NodeUnreachable(f"{error}; {stored} ({hint})") from error
        self.inserted += answer.inserted
        self.updated += answer.updated
        self.replaces.update(answer.replaces)
        if not self._refused:  # a resumed import must reject those again
            self._resume.reached(request.end)
        return True

    def _reject(self, request: _Request, error: ApiError) -> None:
        """Reject the row that the node refused, and send the others again."""
        if error.index is None or not 0 <= error.index < request.rows or self._refused >= _REFUSALS:
            raise error
        self._refused += 1
        share, index = request.take_out(error.index)
        problem = Problem(error.field or "line", error.message, error.remedy, error.value)
        self._rejects.reject(share.part.origin(share.fragment, index), problem)
        if request.rows and self._upsert is not None:
            self._waiting.appendleft((request, self._pool.submit(self._upsert, request.body())))
