"""A submission to the pool: requests that belong together, and how many of them are still open."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import trio

from transports.http2.messages import Answer, Request, Row, Template

_REFUSALS_PER_REQUEST = 8
_ANSWERED: Row = (-1, b"", b"", b"", ())
"""Stands where a request stood that is answered."""


class Submission:
    """Requests that share a template, with one event (:attr:`done`) for all of them.

    The pool calls its methods. A subclass says when the requests may be begun, what an answer means, and what becomes
    of requests that are never begun.
    """

    def __init__(
        self, rows: list[Row], template: Callable[[], Template], begin_until: float = math.inf, *, first: bool = False
    ) -> None:
        """``template`` returns the constant part at the moment of sending: credentials change while requests wait.

        ``begin_until``: ``trio.current_time()`` after which nothing more is begun. ``first``: it goes before the
        submissions that are not first, also before those that wait already.
        """
        self.first = first
        self.template = template
        self.begin_until = begin_until
        self.queued = False
        """Whether the pool has it in its queue."""
        self.accepted = 0
        """How many requests were answered with 200–299."""
        self.begun_at = -math.inf
        """When the last of its requests was begun, on ``trio.current_time()``."""
        self.load(rows)

    def load(self, rows: list[Row]) -> None:
        """Start over with these requests. None of the earlier ones may still be open."""
        self.rows = rows
        self.cursor = 0
        """Index of the first request that no connection has taken."""
        self.open = len(rows)
        """How many requests have not ended yet."""
        self.patience = _REFUSALS_PER_REQUEST * len(rows)
        """How many more refused requests may be sent again at once."""
        self.done = trio.Event()

    @property
    def unsent(self) -> int:
        """How many requests wait for a connection."""
        return len(self.rows) - self.cursor

    def may_begin(self) -> bool:
        """Whether more may be begun now. False also blocks the submissions behind it in the queue."""
        return True

    def accept(self, n: int) -> None:
        """Count ``n`` requests that were answered with 200–299."""
        self.accepted += n
        self.close(n)

    def answer(self, answer: Answer) -> str | None:
        """End one request with an answer that is not a plain success.

        Returns why the connection that the answer came over should take no new requests; None: it may.
        """
        self.close(1)
        return None

    def withdraw(self, reason: str) -> None:
        """End every unsent request; requests in flight continue."""
        self.take_unsent()

    def lags(self, now: float) -> bool:
        """Whether all of its requests are begun, and most are answered, for a while: then ``stragglers`` is called."""
        return False

    def stragglers(self, unanswered: list[int]) -> None:
        """Take note of the keys of all requests that are begun and not answered."""

    def let_go(self, unanswered: Collection[int]) -> None:
        """Keep only the requests with these keys: all others are answered, and a late one keeps a batch for seconds."""
        rows, kept = self.rows, set(unanswered)
        rows[:] = [row if row[0] in kept else _ANSWERED for row in rows]

    def refused(self, request: Request) -> bool:
        """Take back an unprocessed request, to send it again. False: that happened too often to do it at once."""
        self.patience -= 1
        if self.patience < 0:
            return False
        self.rows.append(request)
        return True

    def abandon(self) -> None:
        """Send nothing more: nobody waits for the outcome."""
        self.cursor = len(self.rows)

    def take_unsent(self) -> list[Row]:
        """Remove and return the unsent requests, and count them as ended."""
        rest = self.rows[self.cursor :]
        self.cursor = len(self.rows)
        self.close(len(rest))
        return rest

    def close(self, n: int) -> None:
        """Count ``n`` more requests as ended."""
        self.open -= n
        if self.open <= 0:
            self.done.set()
