"""Sends the rows of a file to the node, a few requests at a time, and settles them in the order of the file."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from broadside.api.base_records import ImportedLines
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


class Upsert(Protocol):
    """Sends the body of one request (``Client.upsert``)."""

    def __call__(self, body: bytes) -> ImportedLines:
        """Raise ``ApiError`` or ``NodeUnreachable``."""


@dataclass(slots=True)
class _Share:
    """What a request has of one fragment."""

    part: Part
    fragment: int
    rows: int


@dataclass(slots=True)
class _Request:
    shares: list[_Share] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, part: Part, number: int) -> None:
        fragment = part.read.fragments[number]
        self.shares.append(_Share(part, number, fragment.rows))
        self.bodies.append(fragment.body)
        self.rows += fragment.rows
        self.size += len(fragment.body)

    def body(self) -> bytes:
        """Return the body; it is not kept."""
        body, self.bodies = b"".join(self.bodies), []
        return body

    @property
    def end(self) -> int:
        """Every row before this place of the file is in this request or an earlier one."""
        last = self.shares[-1]
        return last.part.offset + last.part.read.fragments[last.fragment].end

    def share_of(self, index: int) -> tuple[_Share, int]:
        """Return a row's fragment and its place there."""
        for share in self.shares:
            if index < share.rows:
                return share, index
            index -= share.rows
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
        self._waiting: deque[tuple[_Request, Future[ImportedLines]]] = deque()
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
            raise
        except NodeUnreachable as error:
            hint = "import the file again once the node runs: existing rows are updated, not doubled"
            stored = f"at least {self.rows:,} rows of {self._name} were stored"
            raise NodeUnreachable(f"{error}; {stored} ({hint})") from error
        self.inserted += answer.inserted
        self.updated += answer.updated
        self.replaces.update(answer.replaces)
        self._reject(request, answer)
        if not self._refused:  # a resumed import must reject those again
            self._resume.reached(request.end)
        return True

    def _reject(self, request: _Request, answer: ImportedLines) -> None:
        """Reject the rows that the node refused."""
        self._refused += answer.refused
        for fault in answer.faults:
            problem = Problem(fault.field, fault.detail, fault.remedy, fault.value)
            if self._refused > _REFUSALS:
                raise ApiError(400, str(problem), fault.field, fault.value, fault.remedy)
            share, index = request.share_of(fault.line - 1)
            self._rejects.reject(share.part.origin(share.fragment, index), problem)
