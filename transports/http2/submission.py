"""What the pool drives: requests that were submitted together, and how many of them are still open."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from transports.http2.messages import Answer, Request, Row, Template

_REFUSALS_PER_REQUEST = 8


class Submission:
    """Requests that share a template. One waiter (:attr:`done`) for all of them.

    The pool calls its methods. A subclass says when the requests may be begun, what an answer means, and what becomes
    of requests that nobody begins.
    """

    def __init__(self, rows: list[Row], template: Callable[[], Template], begin_until: float = math.inf) -> None:
        """``template`` gives the constant part at the moment of sending: credentials change while requests wait.

        ``begin_until``: ``trio.current_time()`` after which nothing more is begun.
        """
        self.template = template
        self.begin_until = begin_until
        self.queued = False
        """Whether the pool has it in its queue."""
        self.accepted = 0
        """How many requests were answered with 200–299."""
        self.load(rows)

    def load(self, rows: list[Row]) -> None:
        """Start with these requests. Nothing of earlier ones may be open any more."""
        self.rows = rows
        self.cursor = 0
        """Index of the first request that no connection has taken."""
        self.open = len(rows)
        """How many requests have not ended yet."""
        self.patience = _REFUSALS_PER_REQUEST * len(rows)
        """How many more refusals are answered by sending again at once."""
        self.done = trio.Event()

    @property
    def unsent(self) -> int:
        """How many requests wait for a connection."""
        return len(self.rows) - self.cursor

    def may_begin(self) -> bool:
        """Whether more may be begun now. False: neither these requests nor those behind them in the queue."""
        return True

    def accept(self, n: int) -> None:
        """``n`` requests were answered with 200–299."""
        self.accepted += n
        self.close(n)

    def answer(self, answer: Answer) -> str | None:
        """End one request with an answer that is not a plain success.

        Returns why the connection that the answer came over should take no new requests; None: it may.
        """
        self.close(1)
        return None

    def withdraw(self, reason: str) -> None:
        """End every unsent request; what is in flight goes on."""
        self.take_unsent()

    def refused(self, request: Request) -> bool:
        """Take back a request that was not processed. False: that happened too often to send it again at once."""
        self.patience -= 1
        if self.patience < 0:
            return False
        self.rows.append(request)
        return True

    def abandon(self) -> None:
        """Nobody waits any more: send nothing further."""
        self.cursor = len(self.rows)

    def take_unsent(self) -> list[Row]:
        """Take the unsent requests out. They have ended."""
        rest = self.rows[self.cursor :]
        self.cursor = len(self.rows)
        self.close(len(rest))
        return rest

    def close(self, n: int) -> None:
        """``n`` more requests have ended."""
        self.open -= n
        if self.open <= 0:
            self.done.set()
