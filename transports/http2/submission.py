"""A batch on its way through the pool: what is still to be sent, what is settled, and who waits for it."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from campaigns.batch import Leave, always
from campaigns.outcome import Outcome
from transports.contract import Exceptional
from transports.http2.messages import Answer, Request, Row, Template

_REFUSALS_PER_REQUEST = 8


class Job:
    """Requests that share a template, and their fates. One waiter (:attr:`done`) for all of them."""

    __slots__ = (
        "begin_until",
        "cursor",
        "delivered",
        "done",
        "exceptions",
        "expires_at",
        "judge",
        "leave",
        "open",
        "patience",
        "queued",
        "requests",
        "template",
    )

    def __init__(
        self,
        requests: list[Row],
        template: Callable[[], Template],
        judge: Callable[[Answer], Exceptional | None],
        expires_at: int,
        begin_until: float = math.inf,
        leave: Callable[[], Leave] = always,
    ) -> None:
        """``template`` gives the constant part at the moment of sending (credentials change while a batch waits).

        ``judge`` turns an answer into the recipient's fate, or None if the caller takes care of it in another way.
        ``expires_at``: ms UTC after which nobody wants it; ``begin_until``: ``trio.current_time()`` after which nothing
        more is begun; ``leave``: whether more may be begun now.
        """
        self.requests = requests
        self.template = template
        self.judge = judge
        self.expires_at = expires_at
        self.begin_until = begin_until
        self.leave = leave
        self.cursor = 0
        """Index of the first request that no connection has taken."""
        self.open = len(requests)
        """How many have no fate yet."""
        self.delivered = 0
        self.exceptions: list[Exceptional] = []
        self.patience = _REFUSALS_PER_REQUEST * len(requests)
        """How many more refusals are answered by sending again at once."""
        self.queued = False
        """Whether the pool has it in its line."""
        self.done = trio.Event()

    @property
    def unsent(self) -> int:
        """How many requests wait for a connection."""
        return len(self.requests) - self.cursor

    def accept(self, n: int) -> None:
        """``n`` requests were accepted by the provider."""
        self.delivered += n
        self._close(n)

    def answer(self, answer: Answer) -> None:
        """One request has its fate."""
        exceptional = self.judge(answer)
        if exceptional is not None:
            self.exceptions.append(exceptional)
        self._close(1)

    def refused(self, request: Request) -> bool:
        """Take back a request that was not processed; False if that has happened too often to go on at once."""
        self.patience -= 1
        if self.patience < 0:
            return False
        self.requests.append(request)
        return True

    def withdraw(self, outcome: Outcome, reason: str) -> None:
        """Give every unsent request this fate; what is in flight goes on."""
        rest = self.requests[self.cursor :]
        self.cursor = len(self.requests)
        self.exceptions += [Exceptional(row[0], outcome, reason) for row in rest]
        self._close(len(rest))

    def abandon(self) -> None:
        """Nobody waits any more: send nothing further."""
        self.cursor = len(self.requests)

    def _close(self, n: int) -> None:
        self.open -= n
        if self.open <= 0:
            self.done.set()
